"""Editors that differ from a shipped one by a few steps of training, kept as their difference.

A tensor's difference is kept in four bits a number, with a scale for each row of its first axis;
what has one axis or none (biases, norms) stays float16. Every number of the book about such an
editor is measured on it as it comes out of its file.
"""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cirp.diffusion.pipelines import Models, fingerprint, parts

LEVELS = 7  # steps of a scale to either side of zero
PARTS = ("unet", "text_encoder")  # what the training of an editor moves


def packed(difference: Float[Tensor, "row ..."]) -> tuple[UInt8[Tensor, " byte"], Tensor]:
    """Two numbers a byte, and the scale of each row."""
    flat = difference.flatten(1)
    scale = flat.abs().amax(dim=1).clamp_min(1e-12) / LEVELS
    steps = (flat / scale[:, None]).round().clamp(-LEVELS, LEVELS).to(torch.int8).flatten()
    steps = torch.nn.functional.pad(steps, (0, len(steps) % 2)) + LEVELS + 1
    low, high = steps.to(torch.uint8).view(-1, 2).unbind(1)
    return (low | (high << 4)).contiguous(), scale


def unpacked(
    kept: UInt8[Tensor, " byte"], scale: Float[Tensor, " row"], shape: tuple[int, ...]
) -> Float[Tensor, "row ..."]:
    """Return what `packed` kept, to within half a step."""
    both = torch.stack([kept & 15, kept >> 4], dim=1).flatten()[: int(np.prod(shape))]
    steps = both.to(torch.float32) - (LEVELS + 1)
    return (steps.view(len(scale), -1) * scale[:, None].float()).view(shape)


def save_difference(base: Models, parts: dict[str, nn.Module], path: Path) -> None:
    """Write how these parts ("unet", "text_encoder") differ from those of `base`."""
    found: dict[str, Tensor] = {}
    for part in PARTS:
        ours = parts[part].state_dict()
        for name, value in getattr(base.instruct, part).state_dict().items():
            if not value.is_floating_point():
                continue
            difference = ours[name].float() - value.float().cpu()
            if difference.ndim < 2:
                found[f"{part}/{name}"] = difference.half()
            else:
                kept, scale = packed(difference)
                found[f"{part}/{name}/steps"], found[f"{part}/{name}/scale"] = kept, scale
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(found, path, metadata={"base": _identity(base)})


def _identity(base: Models) -> str:
    return fingerprint(*(getattr(base.instruct, part) for part in PARTS))


def load_variant(base: Models, path: Path) -> Models:
    """The models of `base` with the editor that the difference leads to; `base` stays as it is.

    Raises `ValueError` if the file belongs to another editor. Weights that were rounded when they
    were loaded, to bfloat16, cannot be told apart so finely: of these only the names are compared.
    """
    found = load_file(path)
    with safe_open(path, "pt") as file:
        known = (file.metadata() or {}).get("base")
    if base.instruct.unet.dtype == torch.float32 and known not in (None, _identity(base)):
        raise ValueError(f"{path} is the difference from another editor than {base.name}'s")
    pipe = deepcopy(base.instruct)
    for part in PARTS:
        module = getattr(pipe, part)
        state = module.state_dict()
        for name, value in state.items():
            key = f"{part}/{name}"
            if not value.is_floating_point():
                continue
            if key not in found and f"{key}/steps" not in found:
                raise ValueError(f"{path} has no difference for {key}; it is of another editor")
            if key in found:
                difference = found[key].float()
            else:
                steps, scale = found[f"{key}/steps"], found[f"{key}/scale"]
                difference = unpacked(steps, scale, tuple(value.shape))
            state[name] = value + difference.to(value)
        module.load_state_dict(state)
    every = [part for one in (pipe, base.text) for part in parts(one)]
    return replace(base, name=f"{base.name} {path.stem}", instruct=pipe,
                   fingerprint=fingerprint(*every))  # fmt: skip
