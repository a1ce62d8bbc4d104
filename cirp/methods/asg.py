"""Attention-scoped guidance: both guidance scales vary over the image as the attention does.

ASG (arXiv 2609.37492), built from a secondary description of the paper, not from its text or code:
a re-implementation. The words' cross-attention of the first `look_steps` steps of the very run is
turned into M = sigmoid(slope (a - 0.5)); then

    e = e(0,0) + G_I [e(I,0) - e(0,0)] + G_T [e(I,T) - e(I,0)]
    G_T = low_text + (text_scale - low_text) M,  G_I = image_scale + (high_image - image_scale) M'

M' is 1 - M: what is outside is held to the image harder. (The description prints M there too; with
`hold="inside"` it is taken literally.) There is no second pass and no latent is replaced.
"""

from collections.abc import Sequence

import torch

from cirp.attention.control import IMAGE, NEITHER, TEXT, Control
from cirp.attention.maps import token_maps
from cirp.attention.record import Record
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Edit, Latents, Made, State, Task, decode
from cirp.editing.driver import Masks, begin, carry_out, given, normalised, peak, run
from cirp.editing.first_pass import positions

HOLDS = ("outside", "inside")


def mask(heat: Masks, *, slope: float = 10.0) -> Masks:
    """sigmoid(slope (a - 0.5)) of the map stretched to 0..1."""
    return torch.sigmoid(slope * (normalised(heat) - 0.5))


def scoped(
    said: dict[int, Latents],
    masks: Masks,
    *,
    text_scale: float,
    image_scale: float,
    low_text: float,
    high_image: float,
    hold: str = "outside",
) -> Latents:
    """InstructPix2Pix's guidance with scales that vary over the image."""
    inside = masks[:, None].to(said[TEXT])
    held = inside if hold == "inside" else 1 - inside
    text = low_text + (text_scale - low_text) * inside
    image = image_scale + (high_image - image_scale) * held
    return said[NEITHER] + image * (said[IMAGE] - said[NEITHER]) + text * (said[TEXT] - said[IMAGE])


def edit(
    models: Models,
    tasks: Sequence[Task],
    *,
    steps: int = 50,
    text_scale: float = 7.5,
    image_scale: float = 1.5,
    prompt: str = "instruction",
    low_text: float = 0.0,
    high_image: float = 3.0,
    hold: str = "outside",  # one of HOLDS
    slope: float = 10.0,
    look_steps: int = 10,
    strides: tuple[int, ...] | None = None,
    abstain: float | None = 1.5,
    flat: bool = False,  # dose-matched control: each map replaced by its own mean
    region: str = "found",  # one of editing.REGIONS
    controls: Sequence[Control] = (),
    batch_size: int = 8,
    progress: bool = True,
) -> list[Edit]:
    """Edit every task; each edit comes with the mask it used.

    Raises `ValueError`, before anything runs, for settings out of range or a missing mask.
    """
    if hold not in HOLDS:
        raise ValueError(f"unknown hold {hold!r}; give one of {', '.join(HOLDS)}")
    usual = dict(steps=steps, text_scale=text_scale, image_scale=image_scale, prompt=prompt)
    rule = dict(low_text=low_text, high_image=high_image, hold=hold)
    settings = usual | rule
    settings |= dict(
        slope=slope, look_steps=look_steps, strides=strides, abstain=abstain, flat=flat,
        region=region,
    )  # fmt: skip

    def one(some: list[Task]) -> Made:
        start = begin(models, some)
        words = [positions(models.instruct.tokenizer, task, prompt) for task in some]
        record = Record(tokens=max(map(max, words)) + 1)
        masks = torch.ones_like(start.source[:, 0])
        diffuse = [False] * len(some)
        if region == "given":
            masks = given(some, start.grid).to(start.source)
        step = 0

        def update() -> None:  # with all that was seen until now; frozen after `look_steps`
            nonlocal masks, diffuse
            heat = torch.stack(
                [
                    token_maps(record, image=i, positions=some_words, strides=strides).mean(dim=0)
                    for i, some_words in enumerate(words)
                ]
            ).to(start.source)
            masks = mask(heat, slope=slope)
            if abstain is not None:
                even = peak(heat) < abstain
                masks = torch.where(even[:, None, None], torch.ones_like(masks), masks)
                diffuse = even.tolist()
            if flat:
                masks = masks.mean((-2, -1), keepdim=True).expand_as(masks)

        def guide(said: dict[int, Latents]) -> Latents:
            if region == "found" and step < look_steps:
                update()
            return scoped(said, masks, text_scale=text_scale, image_scale=image_scale, **rule)

        def count(_) -> object:
            def react(state: State) -> None:
                nonlocal step
                step = state.step + 1

            return react

        record.wants = lambda site: site.is_cross and region == "found" and step < look_steps
        latents, rows = run(
            models, some, start, **usual, controls=[record, *controls], guide=guide, after=count
        )
        return Made(decode(latents, models), rows, masks, diffuse)

    return carry_out(
        models,
        tasks,
        one,
        method="asg",
        settings=settings,
        batch_size=batch_size,
        progress=progress,
    )
