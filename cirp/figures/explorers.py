"""Explorers that work with a kernel and, in the built book, without one.

Each is one JavaScript module. In JupyterLab anywidget runs it and keeps Python in step with what is
chosen. In a static page the same module runs on the state that is written into the page; nothing is
loaded from elsewhere, and an explorer is as large as its maps (one byte a cell) and pictures.
"""

import base64
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

import anywidget
import matplotlib as mpl
import numpy as np
import traitlets
from jaxtyping import Bool, Float
from PIL import Image

from cirp.figures.style import HEAT

STATIC = Path(__file__).parent / "static"
Maps = Float[np.ndarray, "time word _ _"]  # then rows and columns, of any number
Mask = Bool[np.ndarray, "height width"]


def module(*paths: Path) -> str:
    """Return a front end in one or more files, with the helpers that all share before it."""
    return "".join(path.read_text(encoding="utf-8") for path in (STATIC / "shared.js", *paths))


class Explorer(anywidget.AnyWidget):
    """A widget whose representation also carries itself as HTML, for pages without a kernel."""

    _css = STATIC / "explorer.css"

    def to_html(self) -> str:
        """The explorer in its present state as a piece of a page; the same state, the same text."""
        inherited = anywidget.AnyWidget.class_trait_names()
        own = [name for name in self.trait_names(sync=True) if name not in inherited]
        state = as_script(
            {name: _plain(getattr(self, name)) for name in own if not name.startswith("_")}
        )
        module = as_script(str(self._esm))
        digest = hashlib.sha256((module + state).encode()).hexdigest()[:12]
        return Template((STATIC / "host.html").read_text(encoding="utf-8")).substitute(
            style=(STATIC / "explorer.css").read_text(encoding="utf-8"),
            name=digest,
            state=state,
            module=module,
        )

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        said = {"text/plain": type(self).__name__, "text/html": self.to_html()}  # no address in it
        return {**(data or {}), **said}, metadata


class AttentionExplorer(Explorer):
    """A picture, and over it where a word looks: by layers, over time, against the true mask.

    Args:
        picture: what lies underneath.
        maps: name of a layer or resolution -> its maps; the grids may differ in size.
        words: one for each map along the second axis.
        timesteps: one for each map along the first axis, in the order of denoising.
        mask: the region to change; its outline can be shown, and the share of attention inside it
            is given as a number.

    What is chosen is in the traits `word`, `layer`, `time` (indices), `opacity` (0 to 1) and
    `outline`. Colours run from 0 to the largest value of the word in those layers at any time, and
    a map is kept in steps of 1/255 of that.

    Raises `ValueError` if the shapes do not fit together, or a map is negative or not finite.
    """

    _esm = module(STATIC / "attention.js")
    picture = traitlets.Unicode().tag(sync=True)
    size = traitlets.List().tag(sync=True)  # of the picture or mask: width, height
    words = traitlets.List(traitlets.Unicode()).tag(sync=True)
    times = traitlets.List().tag(sync=True)
    layers = traitlets.List().tag(sync=True)  # name, rows, columns, offset in `maps`
    maps = traitlets.Bytes().tag(sync=True)
    peaks = traitlets.List().tag(sync=True)  # (layer, word): what 255 stands for
    mask = traitlets.Bytes().tag(sync=True)  # one byte a pixel, or none at all
    colours = traitlets.Unicode().tag(sync=True)
    word = traitlets.Int(0).tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    time = traitlets.Int(0).tag(sync=True)
    opacity = traitlets.Float(0.65).tag(sync=True)
    outline = traitlets.Bool(True).tag(sync=True)

    def __init__(
        self,
        picture: Image.Image,
        maps: Mapping[str, Maps],
        words: Sequence[str],
        *,
        timesteps: Sequence[float],
        mask: Mask | None = None,
        **chosen,
    ):
        arrays = {name: np.asarray(array, dtype=np.float32) for name, array in maps.items()}
        _check_maps(arrays, words, timesteps)
        layers, peaks, data = [], [], b""
        for name, array in arrays.items():
            rows, columns = array.shape[2:]
            peak = array.max(axis=(0, 2, 3))
            scaled = array / np.where(peak > 0, peak, 1)[:, None, None]
            layers.append(dict(name=name, rows=rows, columns=columns, offset=len(data)))
            peaks.append([float(value) for value in peak])
            data += np.rint(scaled * 255).astype(np.uint8).tobytes()
        super().__init__(
            picture=data_uri(picture),
            size=list(picture.size if mask is None else mask.shape[::-1]),
            words=list(words),
            times=[round(float(time)) for time in timesteps],
            layers=layers,
            maps=data,
            peaks=peaks,
            colours=colour_table(),
            mask=b"" if mask is None else mask.astype(np.uint8).tobytes(),
            **chosen,
        )


class GuidanceExplorer(Explorer):
    """Pick an image and settings; see the edit that was computed with them, and what it changed.

    Args:
        sources: name of an image, such as its instruction -> the input image.
        settings: name of a setting -> its values, in the order of the slider.
        edits: (name of an image, value of the first setting, value of the second, ...) -> the edit.
        targets: name of an image -> the exact answer, where there is one.
        scores: like `edits`, but name of a score -> number; NaN is shown as a dash.
        links: like `edits`, where this can be run anew and changed; some or none.

    What is chosen is in the traits `item`, `chosen` (an index for each setting) and `change`.

    Raises `ValueError` naming the first combination without an edit.
    """

    _esm = module(STATIC / "guidance.js")
    items = traitlets.List().tag(sync=True)  # name, source, target (or None)
    settings = traitlets.List().tag(sync=True)  # name, values
    edits = traitlets.List().tag(sync=True)  # items first, then settings in order
    scores = traitlets.List().tag(sync=True)
    links = traitlets.List().tag(sync=True)
    item = traitlets.Int(0).tag(sync=True)
    chosen = traitlets.List(traitlets.Int()).tag(sync=True)
    change = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        sources: Mapping[str, Image.Image],
        settings: Mapping[str, Sequence[float | str]],
        edits: Mapping[tuple, Image.Image],
        *,
        targets: Mapping[str, Image.Image] | None = None,
        scores: Mapping[tuple, Mapping[str, float]] | None = None,
        links: Mapping[tuple, str] | None = None,
        **chosen,
    ):
        if not sources or not settings:
            raise ValueError("give at least one image and one setting")
        keys = [(name,) for name in sources]
        for values in settings.values():
            keys = [(*key, value) for key in keys for value in values]
        for key in keys:
            if key not in edits:
                raise ValueError(f"there is no edit of {key}; compute every combination")
        chosen.setdefault("chosen", [len(values) // 2 for values in settings.values()])
        super().__init__(
            items=[
                dict(name=name, source=data_uri(image), target=data_uri((targets or {}).get(name)))
                for name, image in sources.items()
            ],
            settings=[
                dict(name=name, values=[v if isinstance(v, str) else float(v) for v in values])
                for name, values in settings.items()
            ],
            edits=[data_uri(edits[key]) for key in keys],
            scores=[_finite((scores or {}).get(key, {})) for key in keys],
            links=[links.get(key) for key in keys] if links else [],
            **chosen,
        )


def colour_table(name: str = HEAT) -> str:
    """matplotlib's colours as 256 RGB triples, base64."""
    table = mpl.colormaps[name](np.arange(256), bytes=True)[:, :3]
    return base64.b64encode(table.tobytes()).decode()


def data_uri(image: Image.Image | None) -> str | None:
    """Return the picture as text for an <img>: lossless WebP, 2 to 6 kB for 64 x 64 pixels."""
    if image is None:
        return None
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _check_maps(maps: Mapping[str, np.ndarray], words: Sequence, timesteps: Sequence) -> None:
    if not maps:
        raise ValueError("there are no maps; give at least one layer")
    for name, array in maps.items():
        if array.ndim != 4 or array.shape[:2] != (len(timesteps), len(words)) or not array.size:
            raise ValueError(
                f"maps of {name!r} are {array.shape}; they must be (time, word, rows, columns) with"
                f" {len(timesteps)} timesteps and {len(words)} words"
            )
        if not (np.isfinite(array).all() and array.min() >= 0):
            raise ValueError(f"maps of {name!r} have negative or undefined values")


def _finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(v) if math.isfinite(v) else None for name, v in scores.items()}


def _plain(value):
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def as_text(mask: np.ndarray) -> str:
    """Return a mask by pixel, row by row, as a page and a request write it."""
    return "".join("1" if m else "0" for m in mask.flat)


def in_one_line(error: Exception) -> str:
    """Return what is said of an error in a page: its text, in one line that is not endless."""
    return " ".join(str(error).split())[:300]


def as_script(value) -> str:
    """JSON that may stand inside a <script>."""
    return json.dumps(value, allow_nan=False, sort_keys=True).replace("<", "\\u003c")
