"""What can be held outside of a region: what attends, how strong the text pulls, the latents.

Each is a place at which an edit could be kept from spreading, and each can be held by itself: the
prediction's change with the text (`gated`), the attention of the branch with the text
(`HoldAttention`), the latents after each step (`masks.keep_outside`), the pixels at the end
(`masks.composite`).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

import torch
from jaxtyping import Bool
from torch import Tensor

from cirp.attention.control import Attn, Control, ControlledAttention
from cirp.attention.record import grid_of
from cirp.attention.site import IMAGE, TEXT, Site
from cirp.diffusion.editors import Editor
from cirp.diffusion.sampling import Latents
from cirp.editing.masks import Masks, at


class HoldAttention(Control):
    """Outside the masks, the text branch attends as the branch without instruction does."""

    def __init__(self, masks: Masks, *, cross: bool = True) -> None:
        self.masks, self.cross = masks, cross

    def wants(self, site: Site) -> bool:
        return site.is_cross == self.cross

    def on_probs(self, probs: Attn, site: Site) -> Attn:
        grid = grid_of(probs.shape[2], site.latent)
        inside = at(self.masks, grid).flatten(1)[:, None, :, None].to(probs)
        changed = probs.clone()
        text, image = probs[site.rows(TEXT)], probs[site.rows(IMAGE)]
        changed[site.rows(TEXT)] = inside * text + (1 - inside) * image
        return changed


class Mute(Control):
    """The text branch gives these tokens no attention; the others of a row take their part."""

    def __init__(self, tokens: Bool[Tensor, "image token"]) -> None:
        self.tokens = tokens

    def on_scores(self, scores: Attn, site: Site) -> Attn:
        changed = scores.clone()
        rows = site.rows(TEXT)  # before the softmax: a muted token may take all that float32 holds
        changed[rows] = scores[rows].masked_fill(
            self.tokens[:, None, None].to(scores.device), float("-inf")
        )
        return changed


def gated(
    masks: Masks, editor: Editor, *, text_scale: float, image_scale: float
) -> Callable[[dict[int, Latents]], Latents]:
    """Guidance in which the change with the text counts by as much as the mask, 0 to 1, says."""

    def guide(predictions: dict[int, Latents]) -> Latents:
        image = predictions[IMAGE]
        inside = masks[:, None].to(image)
        text = image + inside * (predictions[TEXT] - image)
        return editor.guided(
            {**predictions, TEXT: text}, text_scale=text_scale, image_scale=image_scale
        )

    return guide


@contextmanager
def written_outside(
    editor: Editor, masks: Masks, tokens: Bool[Tensor, "image token"] | None = None
) -> Iterator[None]:
    """Outside the masks attention writes for the text branch what it does without the text.

    The outputs of the layers are mixed, not their maps, so that attention stays as fast as it is.
    The batch begins with the rows of the text branch, then those of the image branch. With `tokens`
    only these are as without the text; each layer then attends a second time, which no control
    may see. Where text and picture share one softmax, what the picture's cells write for each
    other changes with the text, too, and is kept with the rest.

    Raises `ValueError` for `tokens` inside of a block of `controlled`, or without cross-attention.
    """
    network, latent = editor.network, tuple(masks.shape[-2:])
    if tokens is not None and not editor.controllable:
        raise ValueError(f"{type(editor).__name__} can keep the writing of all tokens, not of some")
    controls = any(isinstance(one, ControlledAttention) for one in network.attn_processors.values())
    if tokens is not None and controls:
        raise ValueError("attention cannot be recorded or changed where only some tokens are kept")
    count = len(masks)

    @cache
    def inside(queries: int) -> Masks:
        return editor.spread(at(masks, editor.cells(queries, latent)))[..., None]

    def hook(layer, given, kwargs, whole):
        out = editor.picture(whole, latent)
        said, plain = out[:count], out[count : 2 * count]
        if tokens is not None:
            text = kwargs["encoder_hidden_states"]
            some = tokens[..., None].to(text.device)
            text = torch.where(some, text[count : 2 * count], text[:count])
            plain = layer.forward(given[0][:count], encoder_hidden_states=text)
        mixed = plain + inside(out.shape[1]).to(out) * (said - plain)
        return editor.with_picture(whole, torch.cat([mixed, out[count:]]), latent)

    with ExitStack() as stack:
        for name, layer in network.named_modules():
            if editor.writes(name):
                stack.callback(layer.register_forward_hook(hook, with_kwargs=True).remove)
        yield
