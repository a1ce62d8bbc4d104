"""Pictures from disk as 8-bit RGB and masks as booleans, whatever the file; and their sizes."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageOps

Mask = Bool[np.ndarray, "height width"]

ALPHA = ("LA", "PA", "La", "RGBA", "RGBa")
OPAQUE = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")


class DataError(ValueError):
    """The data on disk is not as it should be; the message names the value and the remedy."""


def open_image(path: Path | str) -> Image.Image:
    """Any picture as 8-bit RGB, upright.

    Transparency is composited over white, 16-bit greys are scaled to 8 bit (65535 -> 255), the
    EXIF orientation is applied. Colour profiles are not.

    Raises `DataError` if the file is missing, broken, or of a kind without a defined white.
    """
    return _over_white(_decode(Path(path)))


def as_rgb(image: Image.Image, name: str) -> Image.Image:
    """Return the same of a picture that is open already; `name` is for the error."""
    return _over_white(_eight_bit(ImageOps.exif_transpose(image), image.format, name))


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode in ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def open_mask(path: Path | str) -> Mask:
    """Return a black-and-white picture as booleans; white, at least half of full scale, is True.

    Raises `DataError` for masks that cannot be read safely: transparent ones (tools disagree on
    whether transparent means "keep" or "edit") and dark ones (0/1 instead of 0/255).
    """
    image = _decode(Path(path))
    if image.mode in ALPHA or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if alpha.min() < 255:
            raise DataError(
                f"{path}: mask with transparent pixels (alpha {alpha.min()}); save it without "
                "alpha, white where the edit may change the image and black elsewhere"
            )
    grey = np.asarray(image.convert("RGB").convert("L"))
    if 0 < grey.max() < 128:
        raise DataError(
            f"{path}: the brightest value of this mask is {grey.max()} of 255, so nothing is "
            "white; save it as 0 (must stay) and 255 (may change)"
        )
    return grey >= 128


def open_mask_for(image: Image.Image, path: Path | str) -> Mask:
    """Return the mask of this image. Raises `DataError`, also if its size is another."""
    mask = open_mask(path)
    if mask.shape != image.size[::-1]:
        rows, columns = mask.shape
        raise DataError(
            f"{path}: a mask of {columns}x{rows} for an image of {image.width}x{image.height}; "
            "give one of the image's size"
        )
    return mask


def check_destination(out: Path, *inputs: Path | None) -> None:
    """Refuse a file that cannot be written as a picture, or that is one of the inputs.

    Raises `DataError`.
    """
    if out.is_dir():
        raise DataError(f"{out} is a folder; give a file, such as {out / 'edited.png'}")
    if not out.resolve().parent.is_dir():
        raise DataError(f"{out}: there is no folder {out.parent}; make it first")
    for source in inputs:
        if source is not None and out.exists() and source.exists() and out.samefile(source):
            raise DataError(f"{out} is an input of this edit and would be lost; give another file")
    known = Image.registered_extensions()
    if known.get(out.suffix.lower()) not in Image.SAVE:
        raise DataError(
            f"{out}: no picture format is called {out.suffix!r}; give .png, .jpg or .webp"
        )


def check_folder(out: Path, mark: str, *inputs: Path | None) -> None:
    """Raise `DataError` unless `out` is new, empty, or holds the file `mark`, and no input.

    `mark` stands in folders that the same command made before, and may make anew.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; name a folder that does not exist yet")
    for one in inputs:
        if one is not None and one.resolve().is_relative_to(out.resolve()):
            raise DataError(f"{out} holds {one}, which would be lost; name another folder")
    if out.is_dir() and any(out.iterdir()) and not (out / mark).is_file():
        raise DataError(
            f"{out} holds files that this command did not make, and they could be lost; name a "
            "folder that does not exist yet"
        )


def _decode(path: Path) -> Image.Image:
    """Return the decoded, upright picture; 16-bit greys become 8-bit "L", other modes stay."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; give a picture")
    if str(path).startswith(("http:", "https:")):
        raise DataError(
            f"{path}: addresses are not fetched; open it with diffusers.utils.load_image"
        )
    if not path.is_file():
        raise DataError(f"{path}: no such file; add it or correct its name")
    try:
        with Image.open(path) as image:
            image.load()  # checks the file's own checksums, too
            upright = ImageOps.exif_transpose(image)
    except Exception as error:  # a broken file may fail anywhere in the decoder
        reason = str(error).replace(f" {str(path)!r}", "").replace("\n", " ").strip()
        reason = reason or repr(error)
        raise DataError(
            f"{path}: cannot be read as an image ({reason}); replace the file, PNG is safest"
        ) from error
    return _eight_bit(upright, image.format, str(path))


def _eight_bit(image: Image.Image, kind: str | None, name: str) -> Image.Image:
    """16-bit greys, which PNG and PPM open as "I", become 8-bit "L"; other modes stay."""
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in ("PNG", "PPM")):
        grey = np.asarray(image).astype(np.float64) / 257  # 65535 = 255 * 257
        return Image.fromarray(np.rint(grey).astype(np.uint8))
    if image.mode not in ALPHA + OPAQUE:
        raise DataError(
            f"{name}: it is not defined what is white in pixels of mode {image.mode!r}; "
            "save the image as 8- or 16-bit PNG"
        )
    return image


def fit_size(
    size: tuple[int, int], *, multiple: int, longest: int | None = None
) -> tuple[int, int]:
    """Return the (width, height) nearest to `size` whose sides are multiples of `multiple`.

    With `longest` the image is first scaled so that its longer side is that many pixels.
    A UNet on latents needs `multiple` = autoencoder factor * UNet factor (64 for Stable Diffusion).
    """
    if multiple < 1 or (longest is not None and longest < multiple):
        raise ValueError(
            f"multiple={multiple}, longest={longest}; "
            "multiple must be at least 1 and longest at least multiple"
        )
    scale = 1.0 if longest is None else longest / max(size)
    width, height = (max(multiple, round(side * scale / multiple) * multiple) for side in size)
    return width, height


def fit(
    image: Image.Image,
    *,
    size: tuple[int, int] | None = None,
    multiple: int = 1,
    longest: int | None = None,
) -> Image.Image:
    """Scale to cover `size` (width, height), then crop the centre (Lanczos, as InstructPix2Pix).

    Without `size` it is `fit_size(image.size, multiple=multiple, longest=longest)`.
    An image that has the size already is returned as it is.
    """
    size = size or fit_size(image.size, multiple=multiple, longest=longest)
    if image.size == tuple(size):
        return image
    return ImageOps.fit(image, size, method=Image.Resampling.LANCZOS)


def fit_mask(mask: Mask, *, size: tuple[int, int]) -> Bool[np.ndarray, "new_height new_width"]:
    """As `fit`, for masks: a pixel is True if at least half of it was.

    A mask so small that it would vanish keeps every pixel that it touches, with a warning.
    """
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    if image.size != tuple(size):
        image = ImageOps.fit(image, size, method=Image.Resampling.BOX)
    shares = np.asarray(image)
    found = shares >= 128
    if mask.any() and not found.any():
        # BOX rounds a share under 1/510 to nothing: ask the mask's own pixels instead
        rows, columns = np.nonzero(mask)
        scale = max(size[0] / mask.shape[1], size[1] / mask.shape[0])
        left, top = (
            (side * scale - new) / 2 for side, new in zip(mask.shape[::-1], size, strict=True)
        )
        x = ((columns + 0.5) * scale - left).astype(int)
        y = ((rows + 0.5) * scale - top).astype(int)
        seen = (0 <= x) & (x < size[0]) & (0 <= y) & (y < size[1])
        found = np.zeros(size[::-1], dtype=bool)
        found[y[seen], x[seen]] = True
        warnings.warn(
            f"a mask of {int(mask.sum())} of {mask.size} pixels vanishes at {size[0]}x{size[1]}; "
            f"the {int(found.sum())} pixels that it touches are kept",
            stacklevel=2,
        )
    return found


def fingerprint(image: Image.Image) -> str:
    """sha256 of size and pixels: equal pictures have equal fingerprints, whatever their file."""
    digest = hashlib.sha256(f"{image.mode} {image.width}x{image.height}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def as_picture(given: Image.Image | Path | str | np.ndarray) -> Image.Image:
    """Return 8-bit RGB of a picture, a path or an array.

    Arrays are (height, width, 3), uint8 or of values from 0 to 1; grey ones and such with alpha
    are read as pictures of that kind are.

    Raises `ValueError` for arrays of another shape or range.
    """
    if isinstance(given, str | Path):
        return open_image(given)
    if isinstance(given, Image.Image):
        return as_rgb(given, "the picture")
    pixels = np.asarray(given)
    shape = pixels.shape
    if pixels.ndim == 3 and shape[2] == 1:
        pixels = pixels[..., 0]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or channels not in (1, 3, 4) or not pixels.size:
        turn = "; of a tensor give x.permute(1, 2, 0)" if len(shape) == 3 and shape[0] == 3 else ""
        raise DataError(f"a picture of shape {shape}; give an array (height, width, 3){turn}")
    if pixels.dtype != np.uint8:
        pixels = _bytes(pixels)
    return as_rgb(Image.fromarray(pixels), "the picture")


def _bytes(values: np.ndarray) -> np.ndarray:
    """Return floats from 0 to 1 as 0 to 255. Raises `DataError` for others."""
    if values.dtype.kind != "f":
        raise DataError(f"a picture of {values.dtype}; give uint8, or floats from 0 to 1")
    if not np.isfinite(values).all():
        raise DataError("a picture with values that are not finite (NaN); give 0 to 1")
    if values.min() < 0 or values.max() > 1:
        raise DataError(
            f"a picture of values from {values.min():g} to {values.max():g}; give floats from 0 to "
            "1, or uint8"
        )
    return (255 * values.astype(np.float64)).round().astype(np.uint8)


def as_mask(given: Any, size: tuple[int, int]) -> Mask:
    """Return a mask as booleans; `size` is the picture's (width, height).

    A picture, a path, or an array (height, width): booleans, 0 and 255, or 0 to 1.

    Raises `ValueError` for another size or range, and if nothing is white.
    """
    if isinstance(given, str | Path):
        mask = open_mask(given)
    elif isinstance(given, Image.Image):
        mask = np.asarray(given.convert("L")) >= 128
    else:
        mask = np.asarray(given)
        mask = mask[..., 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask
        if mask.dtype == np.uint8 and mask.size and mask.max() > 1:
            mask = mask >= 128
        elif mask.dtype.kind in "bufi" and ((mask >= 0) & (mask <= 1)).all():
            mask = mask >= 0.5
        else:
            raise DataError(
                f"a mask of {mask.dtype}; give booleans, True where the picture may change, or "
                "values from 0 to 1"
            )
    if mask.shape != size[::-1]:
        whose = "x".join(map(str, mask.shape[::-1]))
        raise DataError(
            f"the mask is {whose} pixels, the picture {size[0]}x{size[1]}; resize the mask"
        )
    if not mask.any():
        raise DataError(
            "the mask is black everywhere (values under 128 count as black), so nothing is inside; "
            "paint white where the picture may change"
        )
    return mask
