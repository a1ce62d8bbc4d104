"""LEDITS++'s intersected mask: guidance acts only where attention and guidance are both large.

Brack et al. 2024, section 3.3: M = (smoothed attention of the words > its quantile) and
(|guidance| > its quantile), anew at each step. Deviations: InstructPix2Pix from pure noise in place
of an inverted Stable Diffusion, and attention is the mean of the steps so far.
"""

from collections.abc import Sequence

import torch

from cirp.attention.control import IMAGE, NEITHER, TEXT, Control
from cirp.attention.maps import token_maps
from cirp.attention.record import Record
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Edit, Latents, Made, Task, combine, decode
from cirp.editing.driver import Masks, begin, blurred, carry_out, given, peak, run
from cirp.editing.first_pass import positions


def above(maps: Masks, quantile: float) -> Masks:
    """Where each map exceeds its own quantile."""
    limit = torch.quantile(maps.flatten(1).float(), quantile, dim=1)
    return (maps > limit[:, None, None]).float()


def mask(heat: Masks, change: Masks, *, quantile: float = 0.9, sigma: float = 0.5) -> Masks:
    """The intersection of both; `change` is |e(I,T) - e(I,0)| summed over channels."""
    return above(blurred(heat, sigma), quantile) * above(blurred(change, sigma), quantile)


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 50,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    quantile: float = 0.9,
    sigma: float = 0.5,  # latent cells
    strides: tuple[int, ...] | None = None,
    abstain: float | None = None,
    region: str = "found",  # one of editing.REGIONS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task; each edit comes with the mean of the masks of its steps.

    Raises `ValueError`, before anything runs, for settings out of range or a missing mask.
    """
    if not 0 <= quantile < 1:
        raise ValueError(f"quantile={quantile}; give a share from 0 (everywhere) to under 1")
    usual = dict(steps=steps, text_scale=text_scale, image_scale=image_scale, prompt=prompt)
    settings = usual | dict(
        quantile=quantile, sigma=sigma, strides=strides, abstain=abstain, region=region
    )

    def one(some: list[Task]) -> Made:
        start = begin(models, some)
        words = [positions(models.instruct.tokenizer, task, prompt) for task in some]
        record = Record(tokens=max(map(max, words)) + 1)
        fixed = given(some, start.grid).to(start.source) if region == "given" else None
        used: list[Masks] = []
        diffuse = torch.zeros(len(some), dtype=torch.bool)

        def found(apart: Latents) -> Masks:
            nonlocal diffuse
            heat = torch.stack(
                [
                    token_maps(record, image=i, positions=some_words, strides=strides).mean(dim=0)
                    for i, some_words in enumerate(words)
                ]
            ).to(apart)
            masks = mask(heat, apart.abs().sum(dim=1), quantile=quantile, sigma=sigma).to(apart)
            if abstain is not None:
                diffuse = (peak(heat) < abstain).cpu()
                masks = torch.where(diffuse.to(masks.device)[:, None, None], 1.0, masks)
            return masks

        def guide(said: dict[int, Latents]) -> Latents:
            apart = said[TEXT] - said[IMAGE]
            masks = found(apart) if fixed is None else fixed
            used.append(masks)
            return combine(
                said[IMAGE] + masks[:, None] * apart, said[IMAGE], said[NEITHER],
                text_scale=text_scale, image_scale=image_scale,
            )  # fmt: skip

        mine = [record] if fixed is None else []
        latents, rows = run(models, some, start, **usual, controls=[*mine, *controls], guide=guide)
        mean = torch.stack(used).mean(dim=0)
        return Made(decode(latents, models), rows, mean, diffuse.tolist())

    return carry_out(
        models,
        tasks,
        one,
        method="ledits",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
