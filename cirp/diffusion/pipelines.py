"""Loads the editing pipelines once, by preset, folder or hub name.

models = load("miniature")
models.instruct, models.text   # the two stock diffusers pipelines
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import HfApi, try_to_load_from_cache
from torch import nn
from transformers import CLIPTokenizer
from transformers.utils import logging as transformers_logging

from cirp.paths import MODELS

INSTRUCT, TEXT = "instruct-pix2pix", "text-to-image"
PRESETS = {
    "miniature": (str(MODELS / INSTRUCT), str(MODELS / TEXT)),
    "real": ("timbrooks/instruct-pix2pix", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    "real-xl": ("diffusers/sdxl-instructpix2pix-768", "stabilityai/stable-diffusion-xl-base-1.0"),
}
EDITORS = (StableDiffusionInstructPix2PixPipeline, StableDiffusionXLInstructPix2PixPipeline)
PAINTERS = (StableDiffusionPipeline, StableDiffusionXLPipeline)
TOWERS = ("text_encoder", "text_encoder_2")


@dataclass(frozen=True)
class Models:
    """An instruction editor and the text-to-image model it was fine-tuned from."""

    name: str
    instruct: StableDiffusionInstructPix2PixPipeline | StableDiffusionXLInstructPix2PixPipeline
    text: StableDiffusionPipeline | StableDiffusionXLPipeline
    fingerprint: str  # of the weights, for cache keys
    bfloat16: bool = False  # the UNets multiply in bfloat16; all else stays as it was loaded

    def arithmetic(self) -> AbstractContextManager:
        """What a call of a UNet runs in."""
        if not self.bfloat16:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @property
    def is_miniature(self) -> bool:
        """Whether numbers from these models are numbers of the miniature."""
        return self.name not in ("real", "real-xl") and self.instruct.unet.config.sample_size < 32

    @property
    def resolution(self) -> int:
        """Pixels of one side of the images the models were trained on."""
        return self.instruct.unet.config.sample_size * self.instruct.vae_scale_factor

    @cached_property
    def vae(self) -> AutoencoderKL:
        return self.instruct.vae

    @property
    def device(self) -> torch.device:
        return self.instruct.unet.device


def resolve(name: str) -> tuple[str, str]:
    """The two places (folder or hub id) a name stands for.

    Raises `ValueError` for a name that is no preset, no folder with both models, and no pair
    "instruct,text"; nothing is loaded.
    """
    if name in PRESETS:
        pair = PRESETS[name]
        if name == "miniature" and not all(map(_whole, pair)):
            raise ValueError(f"models 'miniature': {MODELS} is not complete; check out data/models")
        return pair
    folder = Path(name)
    if folder.is_dir():
        pair = (str(folder / INSTRUCT), str(folder / TEXT))
        missing = [p for p in pair if not _whole(p)]
        if missing:
            raise ValueError(
                f"models {name!r}: no folder {missing[0]}; it must hold {INSTRUCT}/ and {TEXT}/"
            )
        return pair
    if name.count(",") == 1 and all(part.strip() for part in name.split(",")):
        first, second = (part.strip() for part in name.split(","))
        return first, second
    raise ValueError(
        f"unknown models {name!r}; give {' or '.join(map(repr, PRESETS))}, a folder that holds "
        f"{INSTRUCT}/ and {TEXT}/, or 'instruct,text' as two folders or hub names"
    )


def _whole(folder: str) -> bool:
    return (Path(folder) / "model_index.json").is_file()


def load_tokenizer(name: str = "miniature") -> CLIPTokenizer:
    """The tokenizer of the instruction editor alone, to check prompts before weights are read."""
    place, _ = resolve(name)
    check_reachable(place)
    with quiet():
        return CLIPTokenizer.from_pretrained(place, subfolder="tokenizer")


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
    """Load both pipelines: safetensors only, no remote code, no safety checker.

    With `bfloat16` the UNets run under autocast, as the miniature's were trained; latents, text
    and autoencoder stay in `dtype`.
    """
    first, second = resolve(name)
    check_device(device)
    for place in (first, second):
        check_reachable(place)
    kinds = [_kind(first, EDITORS), _kind(second, PAINTERS)]
    pipes = [
        _pipeline(kind, place, dtype).to(device)
        for kind, place in zip(kinds, (first, second), strict=True)
    ]
    weights = fingerprint(*(part for pipe in pipes for part in parts(pipe)))
    return Models(name, pipes[0], pipes[1], weights, bfloat16)


def _kind(place: str, known: Sequence[type[DiffusionPipeline]]) -> type[DiffusionPipeline]:
    """The pipeline's class as its folder names it. Raises `ValueError` for one not known here."""
    with quiet():
        said = DiffusionPipeline.load_config(place)["_class_name"]
    for kind in known:
        if kind.__name__ == said:
            return kind
    raise ValueError(
        f"{place} is a {said}; give a {' or a '.join(kind.__name__ for kind in known)}"
    )


def parts(pipe: DiffusionPipeline) -> list[nn.Module]:
    """What a result depends on: UNet, autoencoder, and one text tower or two."""
    towers = (getattr(pipe, name, None) for name in TOWERS)
    return [pipe.unet, pipe.vae, *(tower for tower in towers if tower is not None)]


def _pipeline(kind: type[DiffusionPipeline], place: str, dtype: torch.dtype) -> DiffusionPipeline:
    plain = dict(safety_checker=None, requires_safety_checker=False)
    bare = dict(add_watermarker=False)  # our pictures are scored, so they carry no hidden marks
    xl = "XL" in kind.__name__
    with quiet():
        pipe = kind.from_pretrained(
            place, dtype=dtype, use_safetensors=True, **(bare if xl else plain)
        )
    pipe.set_progress_bar_config(disable=True)
    for part in parts(pipe):
        part.eval().requires_grad_(False)
    return pipe


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
