"""What a method is: settings that are written down once, and what it does with one batch.

    class Settings(Regional):
        threshold: Share = Field(0.4, description="of the stretched map")

    @method("blending", Settings)
    def edit(models, tasks, settings, controls) -> Made: ...

    edits = edit(models, tasks, steps=20, threshold=0.3)

From the settings follow what is refused, what is recorded, the key of a kept result, the options of
the command line and the table of defaults. The driver below is the only one: it checks everything
before anything runs, makes batches of one image size, times them, and collects the masks.
"""

import difflib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator
from transformers import PreTrainedTokenizerBase

from cirp.attention.control import Control
from cirp.attention.site import NEITHER
from cirp.diffusion.pipelines import PAINTERS, Models
from cirp.diffusion.tasks import (
    COLUMNS,
    Edit,
    Made,
    Task,
    check_prompts,
    in_batches,
    missing_texts,
)
from cirp.editing.masks import check_region

# strict: a number typed as text is an error; cirp edit --set parses text by itself
Count = Annotated[int, Strict(), Field(ge=1)]
Scale = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]
Portion = Annotated[float, Strict(), Field(gt=0, le=1)]  # a share of something, never none of it
Flag = Annotated[bool, Strict()]
Strides = tuple[Annotated[int, Strict(), Field(ge=1)], ...] | None  # in latent cells; None is all


DIFFUSERS = {  # what diffusers calls a setting -> what it is called here
    "num_inference_steps": "steps", "guidance_scale": "text_scale",
    "image_guidance_scale": "image_scale",
}  # fmt: skip


def added(default: Any, description: str) -> Any:
    """Return a field that came later: its default is what the method did before there was a choice.

    Left at it, the field is in no key, so that results of before stand.
    """
    return Field(default, description=description, json_schema_extra={"added": True})


def lacks_steps(settings: Mapping[str, Any]) -> str:
    """Return what is wrong if a setting leaves no step to run, else ""."""
    steps = settings.get("steps", 1)
    for name in ("strength", "mask_strength", "share"):
        part = settings.get(name, 1.0)
        left = round(steps * part) if name == "share" else int(steps * part)
        if left < 1:
            return f"{name}={part} of {steps} steps leaves no step to run; raise one"
    return ""


class MethodSettings(BaseModel):
    """The settings of one method; each field has its default, its range and its meaning."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="after")
    def _leaves_steps_to_run(self) -> "MethodSettings":
        if wrong := lacks_steps(dict(self)):
            raise ValueError(wrong)
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """Which texts of a task a run is given; the first is what its text branch reads."""
        prompt = getattr(self, "prompt", None)
        return (prompt,) if prompt else ()

    @property
    def runs(self) -> str:
        """Which pipeline of the models a run needs: "instruct", "text", or "" for any."""
        return ""

    def recorded_fields(self) -> dict[str, Any]:
        """All that a result depends on; see `added`."""
        fields = type(self).model_fields
        silent = {
            name
            for name, field in fields.items()
            if (field.json_schema_extra or {}).get("added") and getattr(self, name) == field.default
        }
        return self.model_dump(exclude=silent)


class Pasting(MethodSettings):
    """What every method has whose edits can be compared with their source at the end."""

    paste_own: Flag = added(False, "the source's pixels wherever the edit changes nothing")


class Guided(Pasting):
    """What every run of InstructPix2Pix has."""

    steps: Count = Field(50, description="sampling steps")
    text_scale: Scale = Field(7.5, description="text guidance")
    image_scale: Scale = Field(1.5, description="image guidance")
    prompt: Literal["instruction", "caption"] = Field(
        "instruction", description="what the text branch is given"
    )
    image_until: Portion = added(1.0, "share of the steps with image guidance, which is 1 after")

    @property
    def runs(self) -> str:
        """The pipeline that a run needs: the instruction editor."""
        return "instruct"

    @property
    def guidance(self) -> dict[str, Any]:
        """Steps, scales, prompt and stages, as `driver.EditorRun` takes them."""
        names = ("steps", "text_scale", "image_scale", "prompt", "image_until")
        return {name: getattr(self, name) for name in names}


class Regional(Guided):
    """What every method has that works with a region."""

    abstain: Annotated[float, Strict()] | None = Field(
        None, description="edit everywhere if the map's maximum is under so many means"
    )
    region: Literal["found", "given"] = Field(
        "found", description="by the method itself, or the task's own mask"
    )


class Looking(Regional):
    """What a method has that finds its region by a look at the first steps of the baseline."""

    look_steps: Count = Field(10, description="steps in which attention is read")
    strides: Strides = Field(None, description="layers whose attention is read")


DRIVER = 1  # raise it when what all methods share changes their images
Check = Callable[[PreTrainedTokenizerBase, Sequence[Task], Any], None]
Batch = Callable[[Models, list[Task], Any, Sequence[Control]], Made]


@dataclass(frozen=True)
class Method:
    """An editing method: call it with models, tasks, and any of its settings by name."""

    name: str
    settings: type[MethodSettings]
    batch: Batch
    check: Check | None = None  # of its own
    version: int = 1  # raise it when its code changes its images
    any_editor: bool = False  # it needs no cross-attention of InstructPix2Pix's kind

    @property
    def code(self) -> str:
        """What recorded rows say of the code that made them."""
        return f"{self.name} {DRIVER}.{self.version}"

    @property
    def summary(self) -> str:
        """The first line of the method's module: what it is, and whose."""
        text = importlib.import_module(self.batch.__module__).__doc__ or ""
        return text.strip().split("\n")[0]

    def table(self) -> list[tuple[str, str, str]]:
        """Of each setting: its name, its default, and what it means with its range."""
        rows = []
        schema = self.settings.model_json_schema()["properties"]
        limits = {
            "minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<",
        }  # fmt: skip
        for name, field in self.settings.model_fields.items():
            about = schema[name]
            range_ = " ".join(
                f"{sign} {about[key]:g}" for key, sign in limits.items() if key in about
            )
            range_ = range_ or ", ".join(about.get("enum", ()))
            meaning = field.description or ""
            rows.append(
                (name, json.dumps(field.default), f"{meaning} ({range_})" if range_ else meaning)
            )
        return rows

    def with_region(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings for a mask that a user gave: the mask is the region.

        Raises `ValueError` for a method without a region, or settings that ask for another one.
        """
        if "region" not in self.settings.model_fields:
            raise ValueError(
                f"{self.name} works without a region, so the mask would do nothing; drop the mask, "
                "or choose a method with a region, such as blending or remap"
            )
        if given.get("region", "given") != "given":
            raise ValueError(
                f"region={given['region']!r} and a mask contradict each other; give one of them"
            )
        return {**given, "region": "given"}

    def lacks_steps(self, **given: Any) -> str:
        """As `lacks_steps`, of these settings and the method's defaults."""
        defaults = {name: field.default for name, field in self.settings.model_fields.items()}
        return lacks_steps(defaults | given)

    def configured(self, **given: Any) -> MethodSettings:
        """Return validated settings. Raises `ValueError`: which is wrong, what would be right."""
        known = self.settings.model_fields
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(DIFFUSERS.get(name, name), known, n=1)
                meant = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"{self.name} has no setting {name!r}{meant}; it has "
                    f"{', '.join(known) or 'none'}"
                )
        try:
            return self.settings.model_validate(given)
        except ValidationError as error:
            # of the ways that a value could have been meant, the one that came furthest
            first = max(error.errors(include_url=False), key=lambda one: len(one["loc"]))
            message = first["msg"].removeprefix("Value error, ")
            if not first["loc"]:
                raise ValueError(message) from error
            message = f"{message[:1].lower()}{message[1:]}"
            raise ValueError(f"{first['loc'][0]}={first['input']!r}; {message}") from error

    def parsed(self, texts: dict[str, str]) -> MethodSettings:
        """Return settings from texts of a command line: "0.3", "true", "[1, 2]", "null"."""
        unknown = [name for name in texts if name not in self.settings.model_fields]
        if unknown:
            return self.configured(**dict.fromkeys(unknown))
        return self.configured(**{name: _value(text) for name, text in texts.items()})

    def refuse(
        self, tasks: Sequence[Task], settings: Any, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        """Raise `ValueError` for tasks that lack what these settings ask for; needs no model."""
        for task in tasks:
            if lacking := missing_texts(task, settings.reads):
                columns = " and no ".join(COLUMNS[name] for name in lacking)
                raise ValueError(
                    f"{self.name}: the edit {task.key or task.instruction!r} has no {columns}; "
                    "write it in the metadata, or choose a method that reads the instruction"
                )
        for name in settings.reads:
            check_prompts(tokenizer, tasks, name)
        if self.check:
            self.check(tokenizer, tasks, settings)
        check_region(tasks, getattr(settings, "region", "found"))

    def check_runs(self, models: Models, settings: Any) -> None:
        """Raise `ValueError` for models that lack the kind of pipeline which this run needs."""
        paints = settings.runs == "text"
        pipe = models.text if paints else models.instruct
        if settings.runs and isinstance(pipe, PAINTERS) != paints:
            wanted = "a text-to-image" if paints else "an InstructPix2Pix"
            raise ValueError(
                f"{self.name} runs {wanted} pipeline, not a {type(pipe).__name__}; give one, or "
                "cirp.load(...), which has both"
            )
        if not models.editor.controllable and not self.any_editor:
            raise ValueError(
                f"{self.name} needs the attention of InstructPix2Pix's UNet; on a "
                f"{type(models.instruct).__name__} choose ip2p (the editor as it is), wys or remap"
            )
        usual = self.settings.model_fields.get("image_scale")
        guided = usual is None or NEITHER in models.editor.branches
        if not guided and settings.image_scale != usual.default:
            raise ValueError(
                f"image_scale={settings.image_scale} would do nothing: a "
                f"{type(models.instruct).__name__} runs no row without the picture; drop it"
            )

    def __call__(
        self,
        models: Models,
        tasks: Sequence[Task],
        *,
        controls: Sequence[Control] = (),
        batch_size: int = 8,
        progress: bool = True,
        **given: Any,
    ) -> list[Edit]:
        """Edit every task; edits come back in the tasks' order, at their working size.

        `controls` read or change attention while it works, after the method's own.

        Raises `ValueError`, before anything runs, for settings out of range, a prompt that is
        missing or too long, or a region that was not given.
        """
        settings = self.configured(**given)
        self.check_runs(models, settings)
        self.refuse(tasks, settings, models.editor.tokenizer)
        return in_batches(
            tasks,
            models,
            lambda some: self.batch(models, some, settings, controls),
            method=self.name,
            settings=settings.model_dump(),
            batch_size=batch_size,
            progress=progress,
        )


def method(
    name: str,
    settings: type[MethodSettings],
    check: Callable | None = None,
    *,
    version: int = 1,
    any_editor: bool = False,
):
    """Make a method of a function that edits one batch of images of one size."""

    def register(batch: Batch) -> Method:
        return Method(name, settings, batch, check, version, any_editor)

    return register


def _value(text: str) -> Any:
    """Return what a text means: a number, true, false, null, a list, or the text itself."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return tuple(found) if isinstance(found, list) else found
