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

from cirp.attention.control import Attn, Control
from cirp.attention.record import grid_of
from cirp.attention.site import IMAGE, NEITHER, TEXT, Site
from cirp.diffusion.sampling import Latents, combine
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


def gated(
    masks: Masks, *, text_scale: float, image_scale: float
) -> Callable[[dict[int, Latents]], Latents]:
    """Guidance in which the change with the text counts by as much as the mask, 0 to 1, says."""

    def guide(predictions: dict[int, Latents]) -> Latents:
        image = predictions[IMAGE]
        inside = masks[:, None].to(image)
        return combine(
            image + inside * (predictions[TEXT] - image), image, predictions[NEITHER],
            text_scale=text_scale, image_scale=image_scale,
        )  # fmt: skip

    return guide


@contextmanager
def written_outside(unet, masks: Masks) -> Iterator[None]:
    """Outside the masks cross-attention writes for the text branch what it does without the text.

    The outputs of the layers are mixed, not their maps, so that attention stays as fast as it is.
    The batch begins with the rows of the text branch, then those of the image branch.
    """
    count = len(masks)

    @cache
    def inside(queries: int) -> Masks:
        return at(masks, grid_of(queries, masks.shape[-2:])).flatten(1)[..., None]

    def hook(_, __, out):
        said, plain = out[:count], out[count : 2 * count]
        mixed = plain + inside(out.shape[1]).to(out) * (said - plain)
        return torch.cat([mixed, out[count:]])

    with ExitStack() as stack:
        for name, layer in unet.named_modules():
            if name.endswith("attn2"):
                stack.callback(layer.register_forward_hook(hook).remove)
        yield
