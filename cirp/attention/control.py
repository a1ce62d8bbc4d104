"""Attention maps as values that can be read and changed on their way through the UNet.

Axes are always (row, head, query, key). A row is one row of the UNet's batch. Guidance puts several
branches of every image into one batch, branch by branch: of three images, InstructPix2Pix's nine
rows are text 0, text 1, text 2, image 0, ... `Site.rows` says which rows a branch has.

    with controlled(pipe.unet, Record()):
        pipe(instruction, image=source)
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor, nn

from cirp.attention.checks import (
    check_latents,
    check_plain,
    check_texts,
    guidance_of_caller,
    told,
)
from cirp.attention.site import IMAGE, TEXT, Site, usual_branches

Attn = Float[Tensor, "row head query key"]


class Control:
    """Reads or changes attention. Override a stage; left alone, it changes nothing.

    With `reads_only` what the stages return is not used. Where nothing but such controls want a
    site, the layer's own fused kernel makes the output, bit for bit as without them, and the maps
    are computed beside it, without gradients. So a control whose loss is to be differentiated is
    not one of these. Maps of other `branches` than those such controls ask for are then left out.
    """

    reads_only: bool = False
    branches: tuple[int, ...] | None = None  # that a control which only reads asks for; None is all

    def begin(self) -> None:
        """Prepare for a `controlled` block, each time one is entered."""

    def interrupted(self) -> None:
        """Clean up after a `controlled` block that is left by an exception."""

    def wants(self, site: Site) -> bool:
        """Whether the stages are called at `site`; unwanted sites cost nothing."""
        return site.is_cross

    def on_scores(self, scores: Attn, site: Site) -> Attn:
        """Before the softmax: scaled dot products, single precision or better."""
        return scores

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        """After the softmax: rows sum to 1."""
        return probs


class ControlledAttention:
    """The one diffusers processor: the stock one unless some control wants the site."""

    def __init__(self, layer: str, controls: tuple[Control, ...], stock, now: dict):
        self.layer, self.controls, self.stock, self.now = layer, controls, stock, now

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **rest,
    ) -> Tensor:  # diffusers chose these names and passes them by keyword
        """Compute one layer's attention as diffusers calls it, through all controls."""
        if not self.now:
            raise RuntimeError(
                "call unet(...), not unet.forward(...): the timestep is read on call"
            )
        site = Site(self.layer, encoder_hidden_states is not None, **self.now)
        controls = [control for control in self.controls if control.wants(site)]
        if controls and attention_mask is not None:
            raise NotImplementedError(
                f"{self.layer} was given an attention mask; only unmasked attention can be"
                " controlled: call the UNet without attention_mask and encoder_attention_mask"
            )
        readers_only = all(control.reads_only for control in controls)
        if readers_only:
            with _projected(attn) if controls else nullcontext() as projected:
                output = self.stock(
                    attn, hidden_states, encoder_hidden_states, attention_mask, temb, **rest
                )
        if not controls:
            return output
        if readers_only:
            with torch.no_grad():
                asked, rows = _asked(site, controls)
                query, key = (x.detach()[rows] for x in projected)
                _maps(attn, query, key, controls, asked)
            return output
        context = encoder_hidden_states if site.is_cross else hidden_states
        query, key = attn.to_q(hidden_states), attn.to_k(context)
        probs = _maps(attn, query, key, controls, site)
        value = _by_head(attn.to_v(context), attn.heads)
        output = (probs.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        for layer in attn.to_out:  # the projection, then dropout
            output = layer(output)
        return output


def _by_head(x: Float[Tensor, "row position width"], heads: int) -> Float[Tensor, "row h p c"]:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


@contextmanager
def _projected(attn: Attention) -> Iterator[list[Tensor]]:
    """Keep the queries and keys that the stock processor makes, so that nobody makes them twice."""
    made: list[Tensor] = [None, None]

    def keep(i: int):
        def hook(_, __, out: Tensor) -> None:
            made[i] = out

        return hook

    hooks = [attn.to_q.register_forward_hook(keep(0)), attn.to_k.register_forward_hook(keep(1))]
    try:
        yield made
    finally:
        for hook in hooks:
            hook.remove()


def _asked(site: Site, controls: Sequence[Control]) -> tuple[Site, Tensor | slice]:
    """Return the site with the branches that its readers ask for, and the rows of these."""
    asked = {branch for control in controls for branch in (control.branches or site.branches)}
    if asked >= set(site.branches) or not asked <= set(site.branches):
        return site, slice(None)
    kept = tuple(branch for branch in site.branches if branch in asked)
    if len(kept) == 1:
        return replace(site, branches=kept), site.rows(kept[0])  # a view
    every = torch.arange(len(site.branches) * site.images)
    return replace(site, branches=kept), torch.cat([every[site.rows(branch)] for branch in kept])


def _maps(
    attn: Attention, query: Tensor, key: Tensor, controls: Sequence[Control], site: Site
) -> Attn:
    """Return the controlled maps; autocast would round the scores to half precision."""
    with torch.autocast(query.device.type, enabled=False):
        return _staged(_scores(attn, query, key), controls, site)


def _scores(attn: Attention, query: Tensor, key: Tensor) -> Attn:
    query, key = _by_head(query, attn.heads), _by_head(key, attn.heads)
    precision = torch.promote_types(query.dtype, torch.float32)
    return (query.to(precision) * attn.scale) @ key.to(precision).mT  # scaled where it is smaller


def _staged(maps: Attn, controls: Sequence[Control], site: Site) -> Attn:
    """From scores to probabilities, after every control had both of its stages, in order.

    One name for both, so that the scores are freed: they are the largest tensor of the layer.
    """
    for control in controls:
        maps = _kept(control, maps, control.on_scores(maps, site))
    maps = maps.softmax(dim=-1)
    for control in controls:
        maps = _kept(control, maps, control.on_probs(maps, site))
    return maps


def _kept(control: Control, before: Attn, after) -> Attn:
    if control.reads_only:
        return before
    if not isinstance(after, Tensor) or after.shape != before.shape:
        found = tuple(after.shape) if isinstance(after, Tensor) else type(after).__name__
        raise TypeError(
            f"a stage of {type(control).__name__} returned {found}, not maps of shape"
            f" {tuple(before.shape)}; return the maps, or say reads_only = True"
        )
    return after


@contextmanager
def controlled(
    unet: nn.Module,
    *controls: Control,
    branches: tuple[int, ...] | Callable[[], tuple[int, ...]] | None = None,
) -> Iterator[None]:
    """Pass every attention map of `unet` through `controls`, left to right; undo it on exit.

    Blocks can be nested. The inner block's controls come first and the outer's see what they made,
    so a recorder around an editing method records what that method really used.

    Args:
        unet: a diffusers UNet with plain attention, as in Stable Diffusion 1.x and InstructPix2Pix.
        branches: the order of the branches in the UNet's batch. By default the one of diffusers'
            guided pipelines: (TEXT, IMAGE, NEITHER) if the UNet takes image latents beside the
            noisy ones (twice as many channels in as out), else (NEITHER, TEXT). A diffusers
            pipeline without guidance is known by its call; in a loop of your own without
            guidance say `branches=(TEXT,)`. A function is asked at every call of the UNet.

    Raises before anything is changed: `TypeError` if `unet` is compiled or no such UNet,
    `NotImplementedError` if a layer's attention is of a kind that cannot be controlled. Raises
    `ValueError` when the UNet is called with a batch that cannot have these branches.
    """
    if hasattr(unet, "_orig_mod"):
        raise TypeError("a compiled UNet would go on without controls; give unet._orig_mod")
    if not hasattr(unet, "attn_processors"):
        raise TypeError(f"{type(unet).__name__} has no attn_processors; give a diffusers UNet")
    layers = {n: layer for n, layer in unet.named_modules() if hasattr(layer, "get_processor")}
    for name, layer in layers.items():
        check_plain(name, layer, ControlledAttention)
    before = dict(unet.attn_processors)
    order = usual_branches(unet) if branches is None else branches
    now: dict = {}

    def remember(_, args, kwargs):  # the UNet is told the time on every call: nobody counts layers
        if not all(isinstance(layer.processor, ControlledAttention) for layer in layers.values()):
            raise RuntimeError(
                "the attention processors were replaced inside the block (attention slicing, "
                "xformers, ...), so nothing would be controlled; switch that on before it, and "
                "only kinds that can be controlled"
            )
        given = dict(zip(("sample", "timestep"), args, strict=False)) | kwargs
        text, asked = given.get("encoder_hidden_states"), order() if callable(order) else order
        if branches is None and guidance_of_caller(unet) is False:
            asked = (TEXT,)
        now.update(told(given["sample"], given["timestep"], asked), text=text)
        if branches is None and len(asked) > 1:
            check_latents(given["sample"], order, unet.config.out_channels)
            if IMAGE in order:
                check_texts(text)

    def route(name: str, processor) -> ControlledAttention:
        layer = name.removesuffix(".processor")
        if not isinstance(processor, ControlledAttention):
            return ControlledAttention(layer, controls, processor, now)
        return ControlledAttention(layer, controls + processor.controls, processor.stock, now)

    hook = unet.register_forward_pre_hook(remember, with_kwargs=True)
    try:
        unet.set_attn_processor(
            {name: route(name, processor) for name, processor in before.items()}
        )
        for control in controls:
            control.begin()
        try:
            yield
        except BaseException:
            for control in controls:
                control.interrupted()
            raise
    finally:
        hook.remove()
        unet.set_attn_processor(before)  # exactly what was there, not a default
