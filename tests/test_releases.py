"""What the released codes do differently is a setting each, measured against a closed form."""

import numpy as np
import pandas as pd
import torch

from cirp.diffusion.tasks import Task
from cirp.editing.first_pass import Look
from cirp.editing.method import MethodSettings, added
from cirp.experiments import cache, frontiers, releases
from cirp.methods import METHODS, ledits, locatedit, wys, zone
from tests.conftest import painted


class Looked(Look):
    """What a first look would have seen: maps by token, or of the words and self-attention."""

    def __init__(self, maps=(), words=None, attention=None):
        for name, value in (("maps", maps), ("heat", words), ("self_attention", attention),
                            ("ends", [4])):  # fmt: skip
            object.__setattr__(self, name, value)

    grid = (4, 4)

    def tokens(self, positions, strides=None):
        return self.maps[positions[0][0]][None].float()

    def words(self, strides=None):
        return self.heat


def looked(first, last):
    return Looked({0: torch.tensor(first), 4: torch.tensor(last)})


def test_zones_released_contrast_is_twice_the_difference_of_maps_over_their_maxima():
    first, last = [[1.0, 2.0], [4.0, 4.0]], [[0.1, 0.1], [0.2, 0.05]]
    # begin / 4 - end / .2, from 0 to .5: -.25 -> 0, 0, 0, .75 -> .5
    found = zone.contrast_released(looked(first, last))
    assert found[0].tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert zone.mask(looked(first, last), zone.Settings(released=True))[0].tolist() == [
        [1, 1],
        [1, 0],
    ]


def test_ledits_intersects_only_late_and_does_not_blur_the_guidance():
    torch.manual_seed(0)
    heat, change = torch.rand(1, 8, 8), torch.rand(1, 8, 8)
    early = ledits.mask(heat, None, quantile=0.5)
    late = ledits.mask(heat, change, quantile=0.5, blur_change=False)
    assert (late <= early).all() and late.sum() < early.sum()
    assert late.equal(early * ledits.above(change, 0.5))
    assert not late.equal(ledits.mask(heat, change, quantile=0.5))


def test_attention_as_it_is_is_never_sure_so_neighbours_decide():
    """Probabilities near 0 have all but one weight: the system is then linear in the map."""
    heat = 0.05 * torch.rand(1, 4, 4)
    graph = torch.rand(1, 16, 16).softmax(-1)
    once = locatedit.refined(heat, graph)
    assert torch.allclose(locatedit.refined(0.5 * heat, graph), 0.5 * once, atol=5e-3)
    seen = Looked(words=heat, attention=graph)
    raw = locatedit.mask(seen, locatedit.Settings(stretched=False, threshold=0.5))
    expected = (once - once.amin()) / (once.amax() - once.amin()) >= 0.5
    assert raw[0].bool().equal(expected[0])


def test_a_smooth_map_pastes_by_pixel(models):
    task = Task(painted(), "make it red", None, 0, key="a", words=("red",))
    plain, smooth = (METHODS["wys"](models, [task], steps=2, smooth=s)[0] for s in (False, True))
    assert np.asarray(plain.mask).tolist() == np.asarray(smooth.mask).tolist()
    assert (np.asarray(plain.image) != np.asarray(smooth.image)).any()
    change = torch.tensor([[[0.0, 1.0], [1.0, 1.0]]])
    assert wys.mask(change)[0].tolist() == [[0.0, 1.0], [1.0, 1.0]]


def test_a_field_that_came_later_is_in_no_key_until_it_is_set():
    class Settings(MethodSettings):
        old: int = 3
        new: bool = added(False, "a choice of later")

    assert Settings().recorded_fields() == {"old": 3}
    assert Settings(new=True).recorded_fields() == {"old": 3, "new": True}
    assert "released" not in cache.completed("zone", {})
    assert cache.completed("zone", {"released": True})["released"] is True


def test_each_variant_undoes_one_thing_at_the_point_that_is_shown():
    shown = {c.label: c for c in frontiers.shown() if not c.columns["told"]}
    for cell in releases.cells():
        before = cache.completed(cell.method, shown[cell.label].settings)
        after = cache.completed(cell.method, cell.settings)
        assert (before == after) == (cell.columns["part"] in (releases.OWN_WORDS, releases.ENDS))


def test_words_found_by_itself_are_not_those_that_are_known(items):
    known = [item for item in items if item.record.words]
    bare = releases.without_words(known or items)
    assert all(not item.record.words and not item.record.target_words for item in bare)
    assert all(item.record.words for item in known)  # untouched


def test_a_variant_is_compared_with_the_method_as_it_is_here():
    cells = {c.label: c for c in frontiers.shown() if not c.columns["told"]}
    rows = []
    for n in range(40):
        wobble = 1e-4 * (n % 7 - 3)
        rows.append({"id": f"e{n}", "edit_type": "add", "method": "ZONE mask", "seed": 0,
                     "point": cells["ZONE mask"].columns["point"], "told": False, "pasted": False,
                     "success": 1.0, "l1_source_outside_excess": 0.01 + wobble,
                     "region_iou": 0.4 + wobble})  # fmt: skip
    here = pd.DataFrame(rows)
    other = here.assign(part="contrast as released", region_iou=here["region_iou"] + 0.1)
    found = releases.compared(other, here).iloc[0]
    assert found["IoU"].startswith("0.500")
    assert found["IoU, minus as it is here"].startswith("+0.100")
    assert found["edit success, minus as it is here"].startswith("+0.000")
