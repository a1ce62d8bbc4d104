"""What an instruction does to the noised source: nothing is edited, the model is only asked.

The source is noised to a level, with noise drawn several times over, and the UNet is evaluated with
and without the instruction. Two maps follow: what the text changes in the prediction, and what
cross-attention writes into the picture because of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float
from torch import Tensor

from cirp.attention.record import Mean, grid_of, stride_of
from cirp.attention.site import IMAGE, TEXT
from cirp.diffusion import sampling
from cirp.diffusion.ddim_inversion import ddim
from cirp.diffusion.pipelines import Models
from cirp.diffusion.tasks import Task
from cirp.diffusion.text import encode_prompts
from cirp.editing.driver import Start, copy_of
from cirp.editing.first_pass import outputs
from cirp.editing.masks import Masks, at

BRANCHES = (TEXT, IMAGE)
SCHEDULE = 100  # steps of the schedule that levels are shares of


@dataclass(frozen=True)
class Probe:
    """The answers at one level of noise, on the latents' grid. Axis 0 is the image."""

    guidance: Masks  # |e(I,T) - e(I,0)|, the mean over channels and draws
    written: Masks  # see `written`, the mean over draws and layers
    rows: int  # UNet rows an image took


def written(
    out: Float[Tensor, "row query channel"], latent: tuple[int, int]
) -> Float[Tensor, "image _row _column"]:
    """How much of a cross-attention layer's output is due to the text, by cell; its mean is 1.

    `out` has the rows of the branch with the text, then as many of the branch without.
    """
    text, image = out.float().chunk(2)
    apart = (text - image).norm(dim=-1).unflatten(-1, grid_of(out.shape[1], latent))
    least = torch.finfo(apart.dtype).tiny
    return apart / apart.mean((-2, -1), keepdim=True).clamp_min(least)


@torch.no_grad()
def probe(
    models: Models,
    tasks: Sequence[Task],
    start: Start,
    *,
    level: float,
    draws: int = 4,
    prompt: str = "instruction",
    strides: Sequence[int] | None = None,
) -> Probe:
    """Ask about the source noised to `level`, a share of the noise schedule, `draws` times.

    `strides`, in latent cells, are of the layers whose writing is looked at; by default the finest
    there are (1 in Stable Diffusion, 2 in SDXL). The batch's own generators are left as they are.
    """
    pipe = models.instruct
    count = len(tasks)
    generators = [copy_of(one) for one in start.generators]
    empty = encode_prompts([""], pipe).repeated(count)
    said = encode_prompts([getattr(task, prompt) for task in tasks], pipe)
    guidance, wrote = Mean(), Mean()
    with outputs(pipe.unet, lambda name: name.endswith("attn2")) as kept:
        for _ in range(draws):
            noise = randn_tensor(
                tuple(start.clean.shape), generator=generators,
                device=start.clean.device, dtype=start.clean.dtype,
            )  # fmt: skip
            scheduler = ddim(pipe, SCHEDULE)
            latents, timesteps = sampling.noised(scheduler, start.clean, noise, level)
            loop = sampling.denoise(
                models, pipe.unet, scheduler, timesteps[:1], latents,
                [copy_of(g) for g in generators],
                branches=BRANCHES, text={TEXT: said, IMAGE: empty},
                image=dict.fromkeys(BRANCHES, start.source), guide=lambda e: e[TEXT],
            )  # fmt: skip
            answers = next(loop).predictions
            guidance.add((answers[TEXT] - answers[IMAGE]).abs().mean(dim=1))
            at_stride = [(stride_of(out.shape[1], start.grid), out) for out in kept.values()]
            known = sorted({stride for stride, _ in at_stride})
            for stride, out in at_stride:
                if stride in (strides or known[:1]):
                    wrote.add(at(written(out, start.grid), start.grid))
    if not wrote.count:
        raise ValueError(
            f"no cross-attention layer has a stride of {tuple(strides)} latent cells; this UNet "
            f"has {', '.join(map(str, known))}"
        )
    return Probe(guidance.value, wrote.value, draws * len(BRANCHES))
