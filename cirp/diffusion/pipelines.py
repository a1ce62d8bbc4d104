"""Loads the editing pipelines once, by preset, folder or hub name.

models = load("miniature")
models.instruct, models.text   # the two stock diffusers pipelines
"""

import hashlib
import importlib
import inspect
import json
import math
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import HfApi, try_to_load_from_cache
from torch import nn
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from cirp.diffusion.editors import EDITORS, Editor, editor_of
from cirp.paths import MODELS

INSTRUCT, TEXT = "instruct-pix2pix", "text-to-image"
PRESETS = {
    "miniature": (str(MODELS / INSTRUCT), str(MODELS / TEXT)),
    "real": ("timbrooks/instruct-pix2pix", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    "real-xl": ("diffusers/sdxl-instructpix2pix-768", "stabilityai/stable-diffusion-xl-base-1.0"),
    "dreamlite": ("carlofkl/DreamLite-base",),
    "qwen-image-edit": ("Qwen/Qwen-Image-Edit",),
    "kontext": ("black-forest-labs/FLUX.1-Kontext-dev",),
}
REVISIONS = {"carlofkl/DreamLite-base": "diffusers"}  # hub model -> its branch, if not main
INSTRUCTED = (StableDiffusionInstructPix2PixPipeline, StableDiffusionXLInstructPix2PixPipeline)
PAINTERS = (StableDiffusionPipeline, StableDiffusionXLPipeline)
TOWERS = ("text_encoder", "text_encoder_2")
TEXT_TOWERS = (CLIPTextModel, CLIPTextModelWithProjection)
WEIGHTED = (UNet2DConditionModel, AutoencoderKL, CLIPTextModel, CLIPTextModelWithProjection)


@dataclass(frozen=True)
class Models:
    """An instruction editor and the text-to-image model it was fine-tuned from.

    A single pipeline stands in both places (`cirp.edit(pipe, ...)`), of whichever kind it is.
    """

    name: str
    instruct: DiffusionPipeline
    text: DiffusionPipeline
    fingerprint: str  # of the weights when they were loaded, for tables
    bfloat16: bool = False  # the UNets multiply in bfloat16; all else stays as it was loaded

    @property
    def state(self) -> str:
        """Return a hash of all that a result depends on, as it is now.

        Weights, configurations, tokenizers, preprocessing, FreeU. For cache keys; the scheduler has
        its own entry there.
        """
        return state_of(self.instruct, self.text)

    def arithmetic(self) -> AbstractContextManager:
        """Return what a call of a UNet runs in."""
        if not self.bfloat16:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @property
    def is_miniature(self) -> bool:
        """Whether numbers from these models are numbers of the miniature."""
        if self.name in ("real", "real-xl") or not self.editor.controllable:
            return False
        return self.instruct.unet.config.sample_size < 32

    @property
    def resolution(self) -> int:
        """Pixels of one side of the images the models were trained on."""
        return self.editor.resolution

    @cached_property
    def editor(self) -> Editor:
        """What the loops and methods ask of the instruction editor."""
        return editor_of(self.instruct)

    @cached_property
    def vae(self) -> nn.Module:
        """The autoencoder of both pipelines."""
        return self.instruct.vae

    @property
    def device(self) -> torch.device:
        """Where the models run."""
        return self.editor.network.device


def resolve(name: str) -> tuple[str, ...]:
    """Return the places (folders or hub ids) that a name stands for: two models, or one editor.

    Raises `ValueError` for a name that is no preset, no folder with both models or a pipeline, no
    hub id, and no pair "instruct,text"; nothing is loaded.
    """
    if name in PRESETS:
        pair = PRESETS[name]
        if name == "miniature" and not all(map(_whole, pair)):
            raise ValueError(f"models 'miniature': {MODELS} is not complete; check out data/models")
        return pair
    folder = Path(name)
    if _whole(name):
        return (name,)
    if folder.is_dir():
        pair = (str(folder / INSTRUCT), str(folder / TEXT))
        missing = [p for p in pair if not _whole(p)]
        if missing:
            raise ValueError(
                f"models {name!r}: no folder {missing[0]}; it must hold {INSTRUCT}/ and {TEXT}/, "
                "or be the folder of one editor's pipeline"
            )
        return pair
    if name.count(",") == 1 and all(part.strip() for part in name.split(",")):
        first, second = (part.strip() for part in name.split(","))
        return first, second
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return (name,)
    raise ValueError(
        f"unknown models {name!r}; give {' or '.join(map(repr, PRESETS))}, a folder that holds "
        f"{INSTRUCT}/ and {TEXT}/, a folder or hub name of one editor, or 'instruct,text' as two"
    )


def _whole(folder: str) -> bool:
    return (Path(folder) / "model_index.json").is_file()


def load_tokenizer(name: str = "miniature") -> PreTrainedTokenizerBase:
    """Return the instruction editor's tokenizer alone, to check prompts before weights are read."""
    place, *others = resolve(name)
    check_reachable(place)
    if not others and not editor_class(place).controllable:
        with quiet():
            part = editor_class(place).tokens
            return AutoTokenizer.from_pretrained(place, subfolder=part, **_revision(place))
    check_whole(place)
    with quiet():
        try:
            tokenizer = CLIPTokenizer.from_pretrained(place, subfolder="tokenizer")
            tower = CLIPTextConfig.from_pretrained(place, subfolder="text_encoder")
        except Exception as error:  # whatever a file that is not as it should be leads to
            raise ValueError(
                f"{place}: the tokenizer cannot be loaded: {_first_line(error)}"
            ) from error
    check_tokenizer(tokenizer, tower, place)
    return tokenizer


def has_bfloat16_units() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware (AMX), twice as fast."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def check_reachable(place: str) -> None:
    """Refuse a hub model that is neither in the local cache nor to be had, within seconds.

    Raises `ValueError` that says what to fetch, and how.
    """
    if Path(place).is_dir() or isinstance(try_to_load_from_cache(place, "model_index.json"), str):
        return
    try:
        HfApi().model_info(place, timeout=5)
    except Exception as error:  # whatever the network or the hub says
        raise ValueError(
            f"{place} is not in the local cache, and the hub cannot be reached "
            f"({type(error).__name__}); fetch it where there is a network with: hf download {place}"
        ) from error


def check_device(device: str) -> None:
    """Refuse a device that torch does not know or this machine does not have."""
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}; give 'cpu', 'cuda' or 'mps'") from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if not there.get(kind, False):
        raise ValueError(f"device {device!r}: no {kind} device is available; use 'cpu'")


def load(
    name: str = "miniature",
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    bfloat16: bool = False,
) -> Models:
    """Load an instruction editor and its text-to-image model.

    Weights are read from safetensors only, and no remote code is run.

    Parameters
    ----------
    name : str
        "miniature", "real", "real-xl", "dreamlite", "qwen-image-edit", "kontext"; a folder with
        `instruct-pix2pix/` and `text-to-image/`, or two folders or hub names with a comma between;
        or the folder or hub name of one editor's pipeline.
    device : str
        Where the models run: "cpu", "cuda", "mps".
    dtype : torch.dtype
        Of the weights.
    bfloat16 : bool
        Run the UNets under autocast; latents, text and autoencoder stay in `dtype`.

    Returns
    -------
    Models
        With the two stock diffusers pipelines as `instruct` and `text`; a single editor is both.

    Raises
    ------
    ValueError
        In one line, for an unknown name, a device that is not there, or a model that is not whole.

    Examples
    --------
    >>> import cirp
    >>> type(cirp.load("miniature").instruct).__name__
    'StableDiffusionInstructPix2PixPipeline'
    """
    places = resolve(name)
    check_device(device)
    for place in places:
        check_reachable(place)
    if len(places) == 1:
        pipe = _editor(places[0], dtype).to(device)
        return Models(name, pipe, pipe, "", bfloat16)
    first, second = places
    kinds = [_kind(first, INSTRUCTED), _kind(second, PAINTERS)]
    instruct = _pipeline(kinds[0], first, dtype)
    pipes = [instruct.to(device), _pipeline(kinds[1], second, dtype, instruct).to(device)]
    weights = fingerprint(*(part for pipe in pipes for part in parts(pipe)))
    return Models(name, pipes[0], pipes[1], weights, bfloat16)


def _revision(place: str) -> dict[str, str]:
    return {"revision": REVISIONS[place]} if place in REVISIONS else {}


def editor_class(place: str) -> type[Editor]:
    """Return the editor that a pipeline's folder or hub name is. Raises `ValueError`."""
    with quiet():
        said = DiffusionPipeline.load_config(place, **_revision(place)).get("_class_name")
    if said not in EDITORS:
        raise ValueError(f"{place} is a {said}; give one of {', '.join(EDITORS)}")
    return EDITORS[said]


def _editor(place: str, dtype: torch.dtype) -> DiffusionPipeline:
    """Load one editor's pipeline. Raises `ValueError` for a part that is missing, or runs code."""
    if editor_class(place).controllable:
        return _pipeline(_kind(place, INSTRUCTED + PAINTERS), place, dtype)
    revision = _revision(place)
    known, own = DiffusionPipeline.load_config(place, **revision), {}
    with quiet():
        for name, said in known.items():
            if not isinstance(said, list) or said[0] is None:
                continue
            if said[0] not in ("diffusers", "transformers"):
                raise ValueError(
                    f"{place}: {name} is code of its own ({said[0]}), which is not run"
                )
            kind = getattr(importlib.import_module(said[0]), said[1], None)
            if isinstance(kind, type) and issubclass(kind, nn.Module):
                typed = {"dtype" if said[0] == "transformers" else "torch_dtype": dtype}
                own[name] = _read(kind, place, name, **typed, **revision)
        pipe = DiffusionPipeline.from_pretrained(place, **own, **revision)
    pipe.set_progress_bar_config(disable=True)
    for part in own.values():
        part.eval().requires_grad_(False)
    return pipe


def _read(kind: type, place: str, name: str, **how: Any) -> nn.Module:
    """Read a part from safetensors. Raises `ValueError` if one fails, or lacks a tensor."""
    try:
        found, said = kind.from_pretrained(
            place, subfolder=name, use_safetensors=True, output_loading_info=True, **how
        )
    except Exception as error:  # whatever a file that is not as it should be leads to
        raise ValueError(f"{place}: {name} cannot be loaded: {_first_line(error)}") from error
    if said["missing_keys"]:  # it would be filled at random
        raise ValueError(f"{name} has no weight {min(said['missing_keys'])}; fetch it anew")
    return found


def _kind(place: str, known: Sequence[type[DiffusionPipeline]]) -> type[DiffusionPipeline]:
    """Return the class that a pipeline folder names. Raises `ValueError` for an unknown one."""
    with quiet():
        said = DiffusionPipeline.load_config(place).get("_class_name")
    if said is None:
        raise ValueError(
            f"{place}: model_index.json has no _class_name; save the model with save_pretrained"
        )
    for kind in known:
        if kind.__name__ == said:
            return kind
    raise ValueError(
        f"{place} is a {said}; give a {' or a '.join(kind.__name__ for kind in known)}"
    )


def parts(pipe: DiffusionPipeline) -> list[nn.Module]:
    """Return what a result depends on: UNet, autoencoder, and one text tower or two."""
    towers = (getattr(pipe, name, None) for name in TOWERS)
    return [pipe.unet, pipe.vae, *(tower for tower in towers if tower is not None)]


def _pipeline(
    kind: type[DiffusionPipeline],
    place: str,
    dtype: torch.dtype,
    other: DiffusionPipeline | None = None,
) -> DiffusionPipeline:
    """Load a pipeline from a folder or the hub; for `other` see `_shared`."""
    plain = dict(safety_checker=None, requires_safety_checker=False)
    bare = dict(add_watermarker=False)  # our pictures are scored, so they carry no hidden marks
    xl = "XL" in kind.__name__
    shared = _shared(place, other)
    check_whole(place, shared)
    with quiet():
        try:
            own = shared | _loaded(place, dtype, shared)
            pipe = kind.from_pretrained(
                place, dtype=dtype, use_safetensors=True, **own, **(bare if xl else plain)
            )
        except Exception as error:  # whatever a file that is not as it should be leads to
            raise ValueError(
                f"{place} cannot be loaded as a {kind.__name__}: {_first_line(error)}"
            ) from error
    pipe.set_progress_bar_config(disable=True)
    for part in parts(pipe):
        part.eval().requires_grad_(False)
    for tokenizer, tower in text_parts(pipe):
        check_tokenizer(tokenizer, tower.config, place)
    check_sound(pipe, place)
    return pipe


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _shared(place: str, other: DiffusionPipeline | None) -> dict[str, Any]:
    """Return the parts that the shipped miniature stores once, in its first pipeline.

    A folder of anybody else's is refused if it lacks a part, never filled from another model.
    """
    folder = Path(place)
    if other is None or not folder.is_relative_to(MODELS):
        return {}
    named = [k for k, v in DiffusionPipeline.load_config(place).items() if isinstance(v, list)]
    return {
        name: other.components[name]
        for name in named
        if not (folder / name).is_dir() and other.components.get(name) is not None
    }


def _loaded(place: str, dtype: torch.dtype, shared: Collection[str]) -> dict[str, nn.Module]:
    """Return the parts with weights, read one by one: a missing tensor would be filled at random.

    Raises `ValueError` for a missing tensor.
    """
    known, found = DiffusionPipeline.load_config(place), {}
    for name in ("unet", "vae", *TOWERS):
        kind = {one.__name__: one for one in WEIGHTED}.get((known.get(name) or (None, None))[1])
        if kind is None or name in shared:
            continue
        typed = {"dtype" if kind in TEXT_TOWERS else "torch_dtype": dtype}
        found[name] = _read(kind, place, name, **typed)
    return found


def text_parts(pipe: DiffusionPipeline) -> list[tuple[CLIPTokenizer, nn.Module]]:
    """Each text tower with its tokenizer."""
    pairs = [(pipe.tokenizer, pipe.text_encoder)]
    if getattr(pipe, "text_encoder_2", None) is not None:
        pairs.append((pipe.tokenizer_2, pipe.text_encoder_2))
    return pairs


def check_tokenizer(tokenizer: CLIPTokenizer, tower: Any, place: str) -> None:
    """Take a missing length from the text tower's configuration; refuse ids that it cannot read.

    `tower` has `vocab_size` and `max_position_embeddings`. Raises `ValueError`.
    """
    if tokenizer.model_max_length > tower.max_position_embeddings:
        tokenizer.model_max_length = tower.max_position_embeddings
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if not 0 <= highest < tower.vocab_size:
        raise ValueError(
            f"{place}: the tokenizer's highest token id is {highest}, but the text encoder knows "
            f"{tower.vocab_size} tokens; they are of different models"
        )


def check_whole(place: str, shared: Collection[str] = ()) -> None:
    """Raise `ValueError` for a local folder with a part that has no weights or no tokenizer."""
    folder = Path(place)
    if not folder.is_dir():
        return
    for part in ("unet", "vae", *TOWERS):
        at = folder / part
        if part in shared or (part == TOWERS[1] and not at.is_dir()):
            continue
        files = sorted(at.glob("*.safetensors"))
        if not files and any(at.glob("*.bin")):
            raise ValueError(
                f"{at} has .bin weights only, which can run code; give safetensors: load the model "
                "once with diffusers and save_pretrained(..., safe_serialization=True)"
            )
        if not files:
            raise ValueError(f"{at} has no *.safetensors file; the model is not complete")
    for name in ("tokenizer", *(["tokenizer_2"] if (folder / TOWERS[1]).is_dir() else [])):
        at = folder / name
        if name in shared:
            continue
        if (at / "tokenizer.json").is_file():
            if "merges" not in _json(at / "tokenizer.json").get("model", {}):
                raise ValueError(f"{at / 'tokenizer.json'} has no merges; save the tokenizer anew")
        elif not ((at / "vocab.json").is_file() and (at / "merges.txt").is_file()):
            raise ValueError(f"{at} has no tokenizer.json, and no vocab.json with merges.txt")


def _json(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not a JSON object")
    return found


def check_sound(pipe: DiffusionPipeline, place: str) -> None:
    """Raise `ValueError` for weights or a scaling factor of which no picture can come."""
    scaling = pipe.vae.config.scaling_factor
    if not scaling or not math.isfinite(scaling):
        raise ValueError(
            f"{place}: the autoencoder's scaling_factor is {scaling}; it must not be 0"
        )
    for part in parts(pipe):
        for name, value in part.state_dict().items():
            if value.is_meta:
                raise ValueError(
                    f"{place}: {type(part).__name__} has no weight {name}; fetch it anew"
                )
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise ValueError(
                    f"{place}: the weight {name} of {type(part).__name__} has values that are not "
                    "finite (NaN); fetch the model anew"
                )


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings about the missing safety checker and no bars while weights are read."""
    kept = []
    for log in (diffusers_logging, transformers_logging):
        kept.append((log, log.get_verbosity(), log.is_progress_bar_enabled()))
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, level, bars in kept:
            log.set_verbosity(level)
            if bars:
                log.enable_progress_bar()


def fingerprint(*modules: nn.Module) -> str:
    """sha256 over the tensors as they are in memory: what a result depends on, never a name."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


_hashed: WeakKeyDictionary[nn.Module, tuple[list, str]] = WeakKeyDictionary()


def weights_of(module: nn.Module) -> str:
    """`fingerprint` of one module, taken anew only if a tensor has changed since the last time."""
    tensors = module.state_dict()
    with torch.no_grad():  # a sum finds what was written through .data, which no version counts
        now = [
            (name, t.data_ptr(), t._version, t.dtype, t.shape, t.sum(dtype=torch.float64).item())
            for name, t in tensors.items()
        ]
    then, found = _hashed.get(module, (None, ""))
    if now != then:
        found = fingerprint(module)
        _hashed[module] = (now, found)
    return found


def state_of(*pipes: DiffusionPipeline) -> str:
    """Return a hash of the pipelines' weights, configurations, tokenizers and switches now."""
    facts = [
        {
            "class": type(pipe).__name__,
            "config": plain(pipe),
            "parts": [[type(part).__name__, weights_of(part), plain(part)] for part in parts(pipe)],
            "heads": [layer.heads for layer in pipe.unet.modules() if hasattr(layer, "to_q")],
            "freeu": [
                [getattr(block, name, None) for name in ("s1", "s2", "b1", "b2")]
                for block in pipe.unet.up_blocks
            ],
            "words": [
                [splits(tokenizer), tokenizer.model_max_length] for tokenizer, _ in text_parts(pipe)
            ],
            "pictures": plain(pipe.image_processor),
        }
        for pipe in pipes
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def splits(tokenizer: PreTrainedTokenizerBase) -> dict:
    """How a tokenizer splits a text, without the padding that its last call has left in it."""
    known = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: value for name, value in known.items() if name not in ("padding", "truncation")}


def plain(owner: Any) -> dict[str, str]:
    """Return what the configuration of a module or processor says beside its class's defaults.

    Names, versions and places are left out: they change nothing.
    """
    config = owner.config
    if hasattr(config, "to_diff_dict"):  # transformers
        known, defaults = config.to_diff_dict(), {}
    else:
        known, signature = dict(config), inspect.signature(type(owner).__init__).parameters
        defaults = {name: str(one.default) for name, one in signature.items()}
    own = ("transformers_version", "architectures", "dtype", "torch_dtype")
    return {
        k: str(v)
        for k, v in known.items()
        if k[0] != "_" and k not in own and str(v) != defaults.get(k)
    }
