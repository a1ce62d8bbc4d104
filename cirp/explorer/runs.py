"""One live edit: what may be asked of it, how attention is changed on its way, what is seen of it.

Everything that comes from a page or a widget is untrusted; `Request` says what is accepted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from transformers import CLIPTokenizer

from cirp.attention.control import Control
from cirp.attention.tokens import check_length
from cirp.diffusion.pipelines import Models
from cirp.diffusion.sampling import Latents, State, clean_guess, decode
from cirp.diffusion.tasks import Task, mask_picture
from cirp.editing.constraints import HoldAttention, gated
from cirp.editing.driver import After, begin_edit, run_editor
from cirp.editing.masks import given, keep_outside
from cirp.explorer.maps import (
    Cancelled,
    Freeze,
    JointMaps,
    KeepMaps,
    Kept,
    Maps,
    Weigh,
    frozen_layers,
    reader_of,
)
from cirp.methods import METHODS, remap

STRONGEST = 4.0  # a word's attention can be raised so many times
Mask = Bool[np.ndarray, "row column"]


class Request(BaseModel):
    """What a reader asks for. `region` is given by pixel of the picture, row by row, 0 or 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    item: str = Field(max_length=200, description="id of the picture")
    instruction: str = Field(max_length=300)
    method: str = Field("ip2p", description="InstructPix2Pix, or another of cirp.methods")
    steps: Annotated[int, Field(ge=1, le=200)] = 20
    text_scale: Annotated[float, Field(ge=0, le=30)] = 2.5
    image_scale: Annotated[float, Field(ge=0, le=10)] = 1.5
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    strength: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="noisy input: start from the input noised to this share of the schedule "
        "and do not show it beside; 0 starts from noise, with the input beside"
    )  # fmt: skip
    factors: dict[Annotated[int, Field(ge=0, le=76)], float] = Field(
        {}, description="token position -> what its attention is multiplied by"
    )
    swap: tuple[int, int] | None = Field(None, description="two tokens that trade their maps")
    freeze: tuple[Annotated[int, Field(ge=0, le=200)], ...] = Field(
        (), max_length=200, description="layers whose maps are those of the run before"
    )
    region: str | None = Field(None, max_length=1_000_000, pattern="^[01]*$")
    keep: bool = Field(False, description="outside the region attend as without instruction")
    gate: bool = Field(False, description="text guidance inside the region only")
    hold: bool = Field(False, description="latents outside the region are the noised source's")
    paste: bool = Field(False, description="at the end the source's own pixels outside the region")

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        if method not in METHODS:
            raise ValueError(f"unknown method {method[:40]!r}; there are {', '.join(METHODS)}")
        return method

    @field_validator("factors")
    @classmethod
    def _no_stronger(cls, factors: dict[int, float]) -> dict[int, float]:
        for position, factor in factors.items():
            if not 0 <= factor <= STRONGEST:
                raise ValueError(f"factor {factor} of token {position}; give 0 to {STRONGEST:g}")
        return factors

    @model_validator(mode="after")
    def _runs(self) -> "Request":
        if not self.ran:
            raise ValueError(
                f"strength {self.strength:g} of {self.steps} steps leaves no step; raise one"
            )
        return self

    @property
    def ran(self) -> int:
        """Steps that are run: from the input noised to `strength`, the last ones alone."""
        return int(self.steps * self.strength) if self.strength else self.steps

    @property
    def is_held(self) -> bool:
        """Whether anything is held to the region."""
        return self.keep or self.gate or self.hold or self.paste


@dataclass(frozen=True)
class Seen:
    """What is seen after a step: the picture that it would become, and the maps of each layer."""

    step: int
    steps: int
    picture: Image.Image
    maps: Maps  # by layer


def tokens_of(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """Return the prompt's tokens with begin and end of text, as they are written.

    Raises `ValueError` if there is no word, or there are too many.
    """
    if not any(letter.isalnum() for letter in text):
        raise ValueError(f"the instruction {text!r} has no word")
    check_length(tokenizer, text)
    ids = tokenizer(text).input_ids
    names = tokenizer.convert_ids_to_tokens(ids)
    return ["begin", *(name.removesuffix("</w>") for name in names[1:-1]), "end"]


def names_of(models: Models, text: str) -> list[str]:
    """As `tokens_of`, of any editor. Raises `ValueError`."""
    if models.editor.controllable:
        return tokens_of(models.instruct.tokenizer, text)
    if not any(letter.isalnum() for letter in text):
        raise ValueError(f"the instruction {text!r} has no word")
    return JointMaps(models, text, lambda: False).tokens


def check_changes(models: Models, request: Request) -> None:
    """Raise `ValueError` for changes of attention that the editor does not allow."""
    asked = request.factors or request.swap or request.freeze or request.keep
    if asked and not models.editor.controllable:
        raise ValueError(
            f"attention of a {type(models.instruct).__name__} can be seen, not muted, swapped, "
            "frozen or held; hold guidance, latents or pixels instead"
        )
    if request.strength and not models.editor.controllable:
        raise ValueError(
            f"a {type(models.instruct).__name__} knows no edit without its source beside; set the "
            "strength to 0"
        )


def region_of(request: Request, size: tuple[int, int]) -> Mask | None:
    """The painted region, (row, column). Raises `ValueError` if it is not of the picture's size."""
    if request.region is None:
        if request.is_held:
            raise ValueError("no region; paint one, or take the true one, before holding to it")
        return None
    width, height = size
    if len(request.region) != width * height:
        raise ValueError(
            f"a region of {len(request.region)} pixels on a picture of {width} x {height}"
        )
    return np.frombuffer(request.region.encode(), np.uint8).reshape(height, width) == ord("1")


@torch.no_grad()
def run(
    models: Models,
    task: Task,
    request: Request,
    *,
    on_step: Callable[[Seen], None] = lambda seen: None,
    cancelled: Callable[[], bool] = lambda: False,
    keep: KeepMaps | None = None,
    before: Kept = (),
) -> Image.Image | None:
    """Run InstructPix2Pix as asked; the edited picture, or None if it was cancelled.

    `task` is the picture's, with the request's instruction and seed. With nothing intervened in, it
    is what `cirp.methods.ip2p` makes of the same task, bit for bit; with a `strength`, what the
    noisy input's variant "instruct-pix2pix" makes of the instruction. `keep` keeps this run's maps;
    `before` are those of another run, which the request may freeze layers to.

    Raises `ValueError` for an instruction without a word, a region that does not fit, or layers to
    freeze where no run before has their maps.
    """
    tokens = names_of(models, request.instruction)
    check_changes(models, request)
    region = region_of(request, task.image.size)
    start = begin_edit(models, [task])
    scales = dict(text_scale=request.text_scale, image_scale=request.image_scale)
    controls: list[Control] = []
    masks = None
    if region is not None:
        masks = given([replace(task, mask=region)], start.grid).to(start.source)
        if request.keep:
            controls.append(HoldAttention(masks))
    if request.factors or request.swap:
        controls.append(Weigh(request.factors, request.swap))
    if request.freeze:
        controls.append(Freeze(before, frozen_layers(before, request.freeze, request.ran)))
    seen, readers, around = reader_of(
        models, request.instruction, len(tokens), start.grid, cancelled
    )
    controls += readers if keep is None else [*readers, keep]

    def after(scheduler) -> After:
        held = keep_outside(masks, start)(scheduler) if request.hold else None

        def react(state: State) -> Latents | None:
            (picture,) = decode(clean_guess(scheduler, state), models)
            step = state.step - (request.steps - request.ran)
            on_step(Seen(step, request.ran, picture, dict(seen.maps)))
            if cancelled():
                raise Cancelled
            return held(state) if held else None

        return react

    if cancelled():
        return None
    try:
        with around:
            latents, _ = run_editor(
                models, [task], start, steps=request.steps, controls=controls, after=after,
                guide=gated(masks, models.editor, **scales) if request.gate else None, **scales,
                strength=request.strength or None, concatenate=not request.strength,
                contrast=request.gate,
            )  # fmt: skip
    except Cancelled:
        return None
    (picture,) = decode(latents, models)
    if request.paste:
        picture = Image.composite(picture, task.image, Image.fromarray(region))
    return picture


@torch.no_grad()
def found_region(models: Models, task: Task) -> Mask:
    """Where remap finds that the instruction acts, by pixel."""
    own = METHODS["remap"].configured()
    seen = remap.look_at(models, [task], own)
    return np.asarray(mask_picture(remap.mask(seen, own)[0], task.image.size)) > 127


def opening(request: Request, *imports: str) -> list[str]:
    """Lines of Python that load the models, the picture and the request."""
    return [
        "from cirp.data.edits import load_edits",
        "from cirp.diffusion.pipelines import load",
        "from cirp.experiments import cache",
        *imports,
        "",
        'models = load("miniature")',
        f'(item,) = [i for i in load_edits("data/edits") if i.id == {request.item!r}]',
        "(item,) = cache.fitted([item], models)",
        _line("request", request),
    ]


def _line(name: str, request: Request) -> str:
    return f"{name} = Request.model_validate({request.model_dump(exclude_defaults=True)!r})"


def snippet(request: Request, before: Request | None = None) -> str:
    """Return the run as Python that makes the same picture again.

    `before` is the run whose maps it is frozen to, if it is.
    """
    own = [
        "task = dataclasses.replace(cache.task(item, request.seed),",
        "                           instruction=request.instruction)",
    ]
    if not request.freeze:
        imports = "from cirp.explorer.runs import Request, run"
        lines = [*opening(request, imports), *own, "picture = run(models, task, request)"]
    else:
        if before is None:
            raise ValueError("no run before to freeze maps to; run once without, then again")
        plain = before.model_copy(update={"freeze": ()})
        imports = (
            "from cirp.explorer.maps import KeepMaps",
            "from cirp.explorer.runs import Request, run",
        )
        first = [line.replace("request", "earlier") for line in own]
        lines = [
            *opening(request, *imports), _line("earlier", plain), "keep = KeepMaps()", *first,
            "run(models, task, earlier, keep=keep)", *own,
            "picture = run(models, task, request, before=keep.steps)",
        ]  # fmt: skip
    return "\n".join(["import dataclasses", "", *lines])
