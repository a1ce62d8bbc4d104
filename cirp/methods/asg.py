"""Attention-scoped guidance: both guidance scales vary over the image as the attention does.

ASG (arXiv 2609.37492), built from a secondary description of the paper, not from its text or code:
a re-implementation. The words' cross-attention of the first `look_steps` steps of the very run is
turned into M = sigmoid(slope (a - 0.5)); then

    e = e(0,0) + G_I [e(I,0) - e(0,0)] + G_T [e(I,T) - e(I,0)]
    G_T = low_text + (text_scale - low_text) M,  G_I = image_scale + (high_image - image_scale) M'

M' is 1 - M: what is outside is held to the image harder. (The description prints M there too; with
`hold="inside"` it is taken literally.) There is no second pass and no latent is replaced.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, Strict

from cirp.attention.control import Control
from cirp.attention.maps import token_maps
from cirp.attention.record import Record
from cirp.attention.site import IMAGE, NEITHER, TEXT
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Latents, State
from cirp.diffusion.tasks import Made, Task
from cirp.editing.driver import Start, begin_edit
from cirp.editing.first_pass import positions
from cirp.editing.masks import Found, Masks, given, normalised, peak
from cirp.editing.method import Count, Flag, Looking, Scale, method
from cirp.editing.regional import Constraint, Work, finished, run_constrained


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


class Settings(Looking):
    """The paper's scales."""

    low_text: Scale = Field(0.0, description="text guidance outside")
    high_image: Scale = Field(3.0, description="image guidance outside")
    hold: Literal["outside", "inside"] = Field("outside", description="what is held")
    slope: Scale = Field(10.0, description="of the soft mask")
    look_steps: Count = Field(10, description="steps after which the mask is frozen")
    abstain: Annotated[float, Strict()] | None = Field(
        1.5, description="edit everywhere if the map's maximum is under so many means"
    )
    flat: Flag = Field(False, description="a control of the same dose: each map its own mean")


class Watching:
    """The mask, made anew in each of the first steps of all that was seen until then."""

    def __init__(self, models: Models, tasks: list[Task], start: Start, settings: Settings):
        tokenizer = models.instruct.tokenizer
        self.words = [positions(tokenizer, task, settings.prompt) for task in tasks]
        self.record = Record(tokens=max(map(max, self.words)) + 1)
        self.record.wants = lambda site: site.is_cross and self.looks
        self.settings, self.step = settings, 0
        self.diffuse = [False] * len(tasks)
        self.masks = torch.ones_like(start.source[:, 0])
        if settings.region == "given":
            self.masks = given(tasks, start.grid).to(start.source)

    @property
    def looks(self) -> bool:
        return self.settings.region == "found" and self.step < self.settings.look_steps

    def update(self) -> None:
        heat = torch.stack(
            [
                token_maps(
                    self.record, image=i, positions=words, strides=self.settings.strides
                ).mean(dim=0)
                for i, words in enumerate(self.words)
            ]
        ).to(self.masks)
        self.masks = mask(heat, slope=self.settings.slope)
        if self.settings.abstain is not None:
            even = peak(heat) < self.settings.abstain
            self.masks = torch.where(even[:, None, None], torch.ones_like(self.masks), self.masks)
            self.diffuse = even.tolist()
        if self.settings.flat:
            self.masks = self.masks.mean((-2, -1), keepdim=True).expand_as(self.masks)

    def guide(self, predictions: dict[int, Latents]) -> Latents:
        if self.looks:
            self.update()
        s = self.settings
        return scoped(
            predictions, self.masks, text_scale=s.text_scale, image_scale=s.image_scale,
            low_text=s.low_text, high_image=s.high_image, hold=s.hold,
        )  # fmt: skip

    def count(self, _) -> Callable[[State], None]:
        def react(state: State) -> None:
            self.step = state.step + 1

        return react


@method("asg", Settings)
def edit(
    models: Models, tasks: list[Task], settings: Settings, controls: Sequence[Control]
) -> Made:
    """One pass: the mask is read while it is used."""
    work = Work(models, tasks, begin_edit(models, tasks))
    seen = Watching(models, tasks, work.start, settings)
    constraint = Constraint([seen.record], seen.guide, seen.count)
    latents, rows = run_constrained(work, settings, constraint, controls)
    return finished(work, latents, rows, settings, Found(seen.masks, seen.diffuse))
