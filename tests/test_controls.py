"""Controls are what they say, and no score takes them for the edit."""

import numpy as np
import pandas as pd
import pytest

from cirp.chapters import controls as chapter
from cirp.experiments import controls
from cirp.miniature import gallery
from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.scene import all_labels, region, render

PAIR = draw_pair(3, "validation", kind="swap object")
SOURCE, TARGET = render(PAIR.source), render(PAIR.target)
REGION = region(PAIR.source, PAIR.target)


@pytest.mark.parametrize("fill", controls.FILLS)
def test_a_fill_changes_its_region_and_nothing_else(fill):
    picture = controls.filled(SOURCE, TARGET, REGION, fill, seed=0)
    assert (picture[~REGION] == SOURCE[~REGION]).all()
    changed = (picture[REGION] != SOURCE[REGION]).any(axis=-1)
    assert changed.mean() > 0.3
    assert (picture == controls.filled(SOURCE, TARGET, REGION, fill, seed=0)).all()


def test_half_drawn_is_the_targets_upper_half_over_the_sources_lower():
    picture = controls.filled(SOURCE, TARGET, REGION, "half-drawn", seed=0)
    rows = np.nonzero(REGION.any(axis=1))[0]
    middle = (rows[0] + rows[-1] + 1) / 2
    for row in range(64):
        side = TARGET if row < middle else SOURCE
        assert (picture[row][REGION[row]] == side[row][REGION[row]]).all()


def test_the_borders_colour_is_that_of_what_lies_around():
    flat = np.full((64, 64, 3), 40, np.uint8)
    inside = np.zeros((64, 64), bool)
    inside[20:40, 20:40] = True
    flat[inside] = 200
    picture = controls.filled(flat, flat, inside, "border", seed=0)
    assert (picture == 40).all()


def test_an_unknown_fill_is_refused():
    with pytest.raises(ValueError, match="unknown fill 'foam'; there are noise"):
        controls.filled(SOURCE, TARGET, REGION, "foam", seed=0)


def test_another_edits_target_is_the_same_in_a_slice():
    def targets(count):
        return [controls._other(place, count) for place in range(count)]

    assert targets(32)[:16] == targets(16)
    for count in (1, 3, 8, 19):
        found = targets(count)
        assert all(0 <= other < count for other in found)
        assert count < 2 or all(other != place for place, other in enumerate(found[:8]))


def recorded(passing: dict[str, tuple[int, int]], *, right: int = 0) -> pd.DataFrame:
    """Of each control so many of so many pass, of two kinds of edit alike.

    Of the removed, the first `right` are as good as right answers.
    """
    rows = [
        {"id": f"{kind}-{n}", "edit_type": kind, "method": name, "success": float(n < some),
         "off": 0.1 if kind == "remove" and n < right else 0.9}
        for name, (some, of) in passing.items()
        for kind in ("add", "remove")
        for n in range(of)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_rates_are_shares_with_the_exact_interval_where_none_passes():
    rates = controls.rates(recorded({"blur": (0, 200), "noise": (20, 200)}))
    none = rates[(rates["control"] == "blur") & (rates["kind"] == "add")].iloc[0]["passes"]
    assert none[:4] == (0, 0, none.high, 200)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 200))
    some = rates[(rates["control"] == "noise") & (rates["kind"] == "")].iloc[0]["passes"]
    assert some.mean == pytest.approx(0.1) and some.n == 400


def test_the_chapter_counts_what_keeps_its_bound_and_names_the_worst():
    passing = dict.fromkeys(chapter.NO_EDITS, (0, 200)) | {"blur": (20, 200), "grey": (4, 200)}
    passing |= {controls.TARGET: (199, 200), controls.TARGET_TRIP: (192, 200)}
    answer = chapter.finding(recorded(passing))
    pairs = 2 * len(chapter.NO_EDITS)
    assert f"at most 2% of cases, for {pairs - 4} of {pairs} pairs" in answer.data
    assert "2 pairs lie above 2%, and 2 are open" in answer.data and "*blur*" in answer.data
    assert "0.960" in answer.numbers["value [95 %]"][f"passes: {controls.TARGET_TRIP}"]
    shown = chapter.table(controls.rates(recorded(passing)))
    assert shown.loc["blur", "add"] == "10.0" and shown.loc["noise", "remove"] == "0.0"


def test_a_fill_that_is_a_right_answer_is_no_control_and_is_named():
    passing = dict.fromkeys(chapter.NO_EDITS, (0, 200)) | {"border": (20, 200)}
    passing |= {controls.TARGET: (199, 200), controls.TARGET_TRIP: (192, 200)}
    table = recorded(passing, right=20)
    rates = controls.rates(controls.without_valid_answers(table)).set_index(["control", "kind"])
    assert rates.loc[("border", "remove"), "passes"][::3][:2] == (0, 180)
    assert rates.loc[("border", "add"), "passes"].mean == pytest.approx(0.1)
    assert rates.loc[(controls.OTHER, "remove"), "passes"].n == 200  # of fills alone
    answer = chapter.finding(table)
    assert "5% of the fills are not counted" in answer.data  # 20 of 400 of each fill
    assert "2 of the 10 pairs would lie above 2%" in answer.data
    assert "passes, right ones too: border, add" in answer.numbers.index


def test_the_judge_is_shown_fills_of_all_that_another_state_would_change():
    """A happy face with only its mouth spoilt tells nothing of where an angry one's brows are."""
    drawn = next(
        scene for scene in map(gallery.gallery_scene, range(400))
        if len(scene.things) == 1 and scene.things[0].kind == "pumpkin" and not scene.style
    )  # fmt: skip
    number = {name: i for i, name in enumerate(all_labels())}
    thing = drawn.things[0]
    found = gallery.spots_of(drawn, number)
    assert {number[f"pumpkin:{n}={s}"] for n, s in thing.states} <= {
        label for _, spot in found for label in spot.hidden
    }
    (part, _), (both, _) = found[-2:]
    assert both.sum() > part.sum() and (both & part).any()
