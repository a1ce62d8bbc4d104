"""What CLIP, DINOv2 and the judge see in a picture, as arrays.

Every checkpoint's own image processor decides size, crop, mean and standard deviation, always in
its PIL version, so that numbers do not depend on whether torchvision is installed. Pictures enter
as PIL images or as tensors in [-1, 1] and are rounded to 8 bits first, as a saved image would be.
The usual processors crop the centre, and what happens at the sides of a wide image is not seen. So
by default pictures are first set into a grey square ("letterbox"); "crop" leaves it to the
processor, as the benchmarks do. Square pictures are the same in both.

Embeddings are float32, of unit length, and remembered by the picture's content, so that scoring one
source under ten settings encodes it once.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoTokenizer,
    CLIPModel,
    Dinov2Model,
)

from cirp.data.images import fingerprint
from cirp.diffusion.pipelines import fingerprint as fingerprint_of
from cirp.diffusion.pipelines import plain, quiet, splits, weights_of
from cirp.paths import MODELS

Images = Sequence[Image.Image] | Float[Tensor, "image 3 height width"]
Embeddings = Float[np.ndarray, "image feature"]
Patches = Float[np.ndarray, "image patch feature"]

REAL = {"clip": "openai/clip-vit-large-patch14", "dinov2": "facebook/dinov2-base"}
PRESETS = ("miniature", "real")
GREY = (128, 128, 128)
PREPROCESSING = (  # settings of an image processor that a score depends on
    "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor",
    "do_normalize", "image_mean", "image_std", "do_convert_rgb",
)  # fmt: skip
REMEMBERED = 1024  # pictures per encoder; DINOv2-base's patches take 0.8 MB each


@runtime_checkable
class FeatureExtractor(Protocol):
    """What `cirp.metrics.scores` needs; `Features` is the one that runs models."""

    has_judge: bool

    def clip_image(self, images: Images) -> Embeddings:
        """Return CLIP embeddings of images, each of length 1."""
        ...

    def clip_text(self, texts: Sequence[str]) -> Float[np.ndarray, "text feature"]:
        """Return CLIP embeddings of texts, each of length 1."""
        ...

    def dinov2(self, images: Images) -> Embeddings:
        """Return DINOv2 embeddings of images, each of length 1."""
        ...

    def dinov2_patches(self, images: Images) -> tuple[Patches, tuple[int, int]]:
        """Return DINOv2 embeddings of patches, and the grid (rows, columns) of the patches."""
        ...

    def patch_cover(self, mask: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, " patch"]:
        """Return the share of each patch that lies in the mask."""
        ...

    def judge(self, images: Images) -> pd.DataFrame:
        """Return what the judge sees: a row an image, a column a label, 0 to 1."""
        ...


class Features:
    """The encoders of one set of checkpoints, each with its own preprocessing.

    `folders` maps "clip", "dinov2" and, if there is one, "judge" to a folder or hub id.
    """

    def __init__(
        self,
        folders: dict[str, str],
        *,
        device: str = "cpu",
        batch_size: int = 32,
        view: Literal["letterbox", "crop"] = "letterbox",
    ):
        self.view = view
        self.device, self.batch_size = torch.device(device), batch_size
        load = {"use_safetensors": True}
        self._clip = CLIPModel.from_pretrained(folders["clip"], **load).eval().to(device)
        self._tokenizer = AutoTokenizer.from_pretrained(folders["clip"])
        self._dinov2 = Dinov2Model.from_pretrained(folders["dinov2"], **load).eval().to(device)
        self.has_judge = "judge" in folders
        if self.has_judge:
            judge = AutoModelForImageClassification.from_pretrained(folders["judge"], **load)
            self._judge = judge.eval().to(device)
        self._processors = {
            name: AutoImageProcessor.from_pretrained(folder, backend="pil")
            for name, folder in folders.items()
        }
        self._seen: dict[str, OrderedDict[str, tuple[np.ndarray, ...]]] = {
            name: OrderedDict() for name in folders
        }
        self._texts: dict[str, np.ndarray] = {}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the encoders' tensors in memory, for tables."""
        judge = [self._judge] if self.has_judge else []
        return fingerprint_of(self._clip, self._dinov2, *judge)

    @property
    def state(self) -> str:
        """A hash of what every score depends on beside the tensors, as it is now.

        Preprocessing of each encoder, view, tokenizer, configurations, and tensors changed since.
        """
        models = [self._clip, self._dinov2, *([self._judge] if self.has_judge else [])]
        facts = [
            self.view,
            {
                name: {k: v for k, v in one.to_dict().items() if k in PREPROCESSING}
                for name, one in self._processors.items()
            },
            splits(self._tokenizer),
            [[weights_of(model), plain(model)] for model in models],
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[
            :16
        ]

    def clip_image(self, images: Images) -> Embeddings:
        """CLIP's projected image embeddings."""

        def forward(pixels: Tensor) -> tuple[Tensor]:
            return (self._clip.get_image_features(pixel_values=pixels).pooler_output,)

        (embeddings,) = self._encode("clip", images, forward)
        return _unit(embeddings)

    @torch.inference_mode()
    def clip_text(self, texts: Sequence[str]) -> Float[np.ndarray, "text feature"]:
        """CLIP's projected text embeddings.

        Raises `ValueError` for a text over the token limit: CLIP would silently cut it off.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            inputs = self._tokenizer(new, padding=True, return_tensors="pt").to(self.device)
            limit = self._clip.config.text_config.max_position_embeddings
            for text, count in zip(new, inputs.attention_mask.sum(dim=1).tolist(), strict=True):
                if count > limit:
                    raise ValueError(
                        f"{count} tokens with start and end, CLIP reads {limit}; shorten "
                        f"{shorten(text, 60)!r}"
                    )
            found = self._clip.get_text_features(
                input_ids=inputs.input_ids, attention_mask=inputs.attention_mask
            )
            self._texts.update(zip(new, _unit(found.pooler_output.cpu().numpy()), strict=True))
        return np.stack([self._texts[text] for text in texts])

    def dinov2(self, images: Images) -> Embeddings:
        """DINOv2's class token after the last layer norm (the pooler's output)."""
        return _unit(self._dinov2_both(images)[0])

    def dinov2_patches(self, images: Images) -> tuple[Patches, tuple[int, int]]:
        """DINOv2's patch tokens, row by row, and their grid (rows, columns)."""
        _, patches, grids = self._dinov2_both(images)
        rows, columns = grids[0].tolist()
        return _unit(patches), (rows, columns)

    def patch_cover(self, mask: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, " patch"]:
        """Return the share of each DINOv2 patch inside the mask, 0 to 1.

        The mask goes the way of the picture: resized and cropped alike.
        """
        picture = Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB")
        processor = self._processors["dinov2"]
        picture = self._viewed([picture], (0, 0, 0))[0]
        processed = processor(images=picture, do_normalize=False, return_tensors="pt").pixel_values
        side = self._dinov2.config.patch_size
        rows, columns = processed.shape[-2] // side, processed.shape[-1] // side
        inner = processed[:, :1, : rows * side, : columns * side]
        return adaptive_avg_pool2d(inner, (rows, columns)).flatten().numpy()

    def judge(self, images: Images) -> pd.DataFrame:
        """Probability of each of the judge's labels (columns) in each picture (rows).

        The mean of what it says of the picture and of its mirror image: nothing in the world is of
        one side, and of two looks fewer are mistaken.

        Raises `ValueError` if there is no judge: it knows the miniature world only.
        """
        if not self.has_judge:
            raise ValueError(
                "no judge was loaded; it knows the miniature world only, so ask `has_judge` first"
            )

        def forward(pixels: Tensor) -> tuple[Tensor]:
            both = (pixels, pixels.flip(-1))
            one, mirrored = (self._judge(pixel_values=x).logits.sigmoid() for x in both)
            return ((one + mirrored) / 2,)

        (probabilities,) = self._encode("judge", images, forward)
        labels = self._judge.config.id2label
        return pd.DataFrame(probabilities, columns=[labels[i] for i in sorted(labels)])

    def _dinov2_both(self, images: Images) -> tuple[np.ndarray, ...]:
        """Class token, patch tokens and grid (rows, columns) of each picture."""
        config = self._dinov2.config
        first = 1 + getattr(config, "num_register_tokens", 0)

        def forward(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            found = self._dinov2(pixel_values=pixels)
            grid = torch.tensor(pixels.shape[-2:]) // config.patch_size
            patches = found.last_hidden_state[:, first:]
            return found.pooler_output, patches, grid.expand(len(pixels), 2)

        return self._encode("dinov2", images, forward)

    def _viewed(
        self, pictures: Sequence[Image.Image], around: tuple[int, int, int]
    ) -> list[Image.Image]:
        """Return what the processors are given: squares, or pictures whose sides they cut off."""
        if self.view == "crop":
            return list(pictures)
        return [
            p if p.width == p.height else ImageOps.pad(p, (max(p.size),) * 2, color=around)
            for p in pictures
        ]

    @torch.inference_mode()
    def _encode(
        self, name: str, images: Images, forward: Callable[[Tensor], tuple[Tensor, ...]]
    ) -> tuple[np.ndarray, ...]:
        """Return the arrays of `forward`, a row a picture; pictures seen before are not run."""
        pictures = to_pil(images)
        if not pictures:
            raise ValueError("no images; give at least one")
        keys = [fingerprint(picture) for picture in pictures]
        seen = self._seen[name]
        found = {key: seen[key] for key in keys if key in seen}
        new = {key: p for key, p in zip(keys, pictures, strict=True) if key not in found}
        waiting = list(new.items())
        for start in range(0, len(waiting), self.batch_size):
            batch = waiting[start : start + self.batch_size]
            viewed = self._viewed([p for _, p in batch], GREY)
            inputs = self._processors[name](images=viewed, return_tensors="pt")
            outputs = forward(inputs["pixel_values"].to(self.device))
            arrays = [output.cpu().numpy() for output in outputs]
            for row, (key, _) in enumerate(batch):
                found[key] = tuple(array[row].copy() for array in arrays)
        for key, value in found.items():
            seen[key] = value
            seen.move_to_end(key)
        while len(seen) > REMEMBERED:
            seen.popitem(last=False)
        return tuple(np.stack(rows) for rows in zip(*(found[key] for key in keys), strict=True))


def to_pil(images: Images) -> list[Image.Image]:
    """RGB pictures; tensors (image, 3, row, column) in [-1, 1] are rounded to 8 bits.

    Raises `ValueError` for values outside [-1, 1], beyond a thousandth, and for NaN.
    """
    if not isinstance(images, Tensor):
        return [image.convert("RGB") for image in images]
    low, high = images.min().item(), images.max().item()
    if not (-1.001 <= low and high <= 1.001):
        raise ValueError(
            f"pixel values from {low:g} to {high:g}; tensors of images must lie in [-1, 1]"
        )
    bytes_ = ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(array) for array in bytes_.permute(0, 2, 3, 1).cpu().numpy()]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def load_features(name: str = "miniature", *, device: str = "cpu") -> Features:
    """Return the encoders of a preset, or of a folder that holds clip/, dinov2/ and perhaps judge/.

    "miniature" is data/models of this repository; "real" fetches CLIP ViT-L/14 and DINOv2-base from
    the Hugging Face hub and has no judge. Safetensors only, no remote code.

    Raises `ValueError` for an unknown name or an incomplete folder, before anything is loaded.
    """
    if name == "real":
        return _quietly(dict(REAL), device)
    folder = MODELS if name == "miniature" else Path(name)
    if not name or not folder.is_dir():
        raise ValueError(
            f"no features {name!r}; give {', '.join(PRESETS)} or a folder with clip/ and dinov2/"
        )
    found = {part: folder / part for part in ("clip", "dinov2", "judge")}
    for part in REAL:
        if not (found[part] / "config.json").is_file():
            raise ValueError(f"{found[part]} holds no config.json; put the {part} checkpoint there")
    if not (found["judge"] / "config.json").is_file():
        del found["judge"]
    return _quietly({part: str(path) for part, path in found.items()}, device)


def _quietly(folders: dict[str, str], device: str) -> Features:
    with quiet():
        return Features(folders, device=device)
