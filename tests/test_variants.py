"""A difference in four bits leads back to the weights, to within half a step of each row."""

from copy import deepcopy

import pytest
import torch

from cirp.diffusion import variants
from cirp.diffusion.pipelines import Models, fingerprint
from cirp.experiments import leak
from tests.tiny import tiny_ip2p, tiny_sd


def test_a_number_comes_back_to_within_half_a_step_of_its_row():
    x = torch.randn(5, 3, 7) * torch.logspace(-4, 2, 5)[:, None, None]
    kept, scale = variants.packed(x)
    assert kept.dtype == torch.uint8 and len(kept) == (x.numel() + 1) // 2
    back = variants.unpacked(kept, scale, tuple(x.shape))
    assert ((back - x).abs() <= 0.5001 * scale[:, None, None]).all()
    assert variants.unpacked(*variants.packed(torch.zeros(2, 3)), (2, 3)).eq(0).all()


@pytest.fixture
def models():
    return Models("tiny", tiny_ip2p(), tiny_sd(), "own")


def moved(models, amount):
    """The editor's parts, every weight moved by its own random amount."""
    found = {}
    for name in variants.PARTS:
        part = deepcopy(getattr(models.instruct, name))
        state = part.state_dict()
        for key, value in state.items():
            if value.is_floating_point():
                state[key] = value + amount * torch.randn_like(value)
        part.load_state_dict(state)
        found[name] = part
    return found


def test_the_variant_is_the_other_editor_and_the_base_stays(models, tmp_path):
    torch.manual_seed(0)
    before = fingerprint(models.instruct.unet)
    other = moved(models, 0.01)
    variants.save_difference(models, other, tmp_path / "v.safetensors")
    found = variants.load_variant(models, tmp_path / "v.safetensors")
    assert fingerprint(models.instruct.unet) == before and found.fingerprint != models.fingerprint
    for name in variants.PARTS:
        theirs, ours = other[name].state_dict(), getattr(found.instruct, name).state_dict()
        base = getattr(models.instruct, name).state_dict()
        for key, value in theirs.items():
            if value.is_floating_point() and value.ndim > 1:
                step = (value - base[key]).flatten(1).abs().amax(dim=1) / variants.LEVELS
                error = (ours[key] - value).flatten(1).abs().amax(dim=1)
                assert (error <= 0.51 * step + 1e-6).all(), key


def test_a_difference_of_another_editor_is_refused(models, tmp_path):
    from safetensors.torch import save_file

    save_file({"unet/none": torch.zeros(1)}, tmp_path / "v.safetensors")
    with pytest.raises(ValueError, match="it is of another editor"):
        variants.load_variant(models, tmp_path / "v.safetensors")


def test_a_difference_from_other_weights_is_refused(models, tmp_path):
    """The same names and shapes, trained on: nothing but the weights tells."""
    variants.save_difference(models, moved(models, 0.01), tmp_path / "v.safetensors")
    for name, part in moved(models, 0.01).items():
        setattr(models.instruct, name, part)
    with pytest.raises(ValueError, match="from another editor than tiny's"):
        variants.load_variant(models, tmp_path / "v.safetensors")


def test_the_shipped_differences_are_from_the_shipped_editor(miniature):
    found = {
        editor.fingerprint
        for _, _, editor in [
            (seed, share, editor)
            for seed in leak.TRAININGS
            for share, editor in leak.editors(miniature, seed).items()
        ]
    }
    assert len(found) == len(leak.LEAKS) * len(leak.TRAININGS)
