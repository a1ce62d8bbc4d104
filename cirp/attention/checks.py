"""What a UNet and its batch must be for their attention to be controlled."""

import sys

import torch
from diffusers import DiffusionPipeline
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn

from cirp.attention.site import INSTRUCT_BRANCHES, named


def told(sample: Tensor, timestep: Tensor | float | int, branches: tuple[int, ...]) -> dict:
    """Return what a call of the UNet says about all of its sites."""
    times = torch.as_tensor(timestep).flatten()
    if times.unique().numel() != 1:
        raise ValueError(f"the rows of the batch are at different timesteps: {times.tolist()}")
    rows, latent = len(sample), tuple(sample.shape[-2:])
    if rows % len(branches):
        raise ValueError(
            f"a batch of {rows} rows is not made of the branches {named(branches)}, each with"
            " every image; give controlled(..., branches=...) their order, or (TEXT,) if the"
            " sampler does not use guidance"
        )
    images = rows // len(branches)
    return dict(timestep=float(times[0]), latent=latent, branches=branches, images=images)


def guidance_of_caller(unet: nn.Module) -> bool | None:
    """Whether the diffusers pipeline that is calling `unet` guides; None if none is calling.

    Its batch alone does not say: two prompts with equal seeds look like two branches.
    """
    frame = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, DiffusionPipeline) and getattr(caller, "unet", None) is unet:
            said = frame.f_locals.get("do_classifier_free_guidance")
            return getattr(caller, "do_classifier_free_guidance", None) if said is None else said
        frame = frame.f_back
    return None


def check_latents(sample: Tensor, branches: tuple[int, ...], channels: int) -> None:
    """Guidance shows every branch the same noisy latents. Other rows are images, not branches."""
    first, *others = sample[:, :channels].chunk(len(branches))
    if not all(torch.equal(first, other) for other in others):
        raise ValueError(
            f"the rows of the batch are not the branches {named(branches)}: their latents differ, "
            "as without guidance (guidance_scale 1, or image_guidance_scale < 1); give "
            "controlled(..., branches=(TEXT,)), or their order if the sampler has one of its own"
        )


def check_texts(text: Tensor | None) -> None:
    """Of the usual three branches, two see the same text. Three images without guidance do not.

    diffusers' InstructPix2Pix pipeline drops guidance by itself if `image_guidance_scale` < 1.
    """
    if text is None:
        return
    _, image, neither = text.chunk(len(INSTRUCT_BRANCHES))
    if not torch.equal(image, neither):
        raise ValueError(
            "the IMAGE and NEITHER rows of the batch have different texts, so they are no such"
            " branches; give controlled(..., branches=...) their order, or (TEXT,) if the sampler"
            " does not use guidance (as diffusers with image_guidance_scale < 1)"
        )


def check_plain(name: str, layer: nn.Module, ours: type) -> None:
    """Raise `NotImplementedError` unless `layer` computes softmax(q k^T scale) v and no more."""
    processor = layer.get_processor()
    if not isinstance(layer, Attention) or layer.added_kv_proj_dim is not None:
        raise NotImplementedError(
            f"{name} is joint attention ({type(layer).__name__}, {type(processor).__name__});"
            " only the plain attention of Stable Diffusion 1.x UNets can be controlled"
        )
    if type(processor) not in (AttnProcessor, AttnProcessor2_0, ours):
        raise NotImplementedError(
            f"{name} has a {type(processor).__name__}, which computes attention in its own way;"
            " undo what installed it (attention slicing, xformers, an IP-Adapter, ...), or call"
            " unet.set_default_attn_processor(), before controlling attention"
        )
    extras = {
        "a residual connection": layer.residual_connection,
        "a group norm": layer.group_norm is not None,
        "a spatial norm": layer.spatial_norm is not None,
        "query or key norms": layer.norm_q is not None or layer.norm_k is not None,
        "a context norm": bool(layer.norm_cross),
        "an output rescaled": layer.rescale_output_factor != 1,
    }
    for extra, present in extras.items():
        if present:
            raise NotImplementedError(f"{name} has {extra}; only plain attention can be controlled")
