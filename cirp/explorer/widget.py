"""The explorer's Python half: what the page asks for is checked, run in a thread, and sent back.

The front end (`static/live.js`) knows nothing of Python: it asks with one small message, and is
told steps, results and errors. A run never blocks the kernel, and a second explorer waits for the
first one, since both share the models.
"""

import hashlib
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache as cached
from functools import partial
from pathlib import Path
from string import Template

import anywidget
import numpy as np
import traitlets
from PIL import Image
from pydantic import ValidationError

from cirp.data.edits import EditItem, load_edits
from cirp.data.images import open_image
from cirp.diffusion.pipelines import Models, has_bfloat16_units, load, quiet, resolve
from cirp.experiments import cache
from cirp.explorer.by_name import (
    BASELINE,
    dials,
    is_one_call,
    names_for,
    prompt_of,
    public_snippet,
    run_method,
    snippet,
    task_of,
)
from cirp.explorer.maps import KeepMaps, Kept
from cirp.explorer.messages import PAGE_SEEDS, maps_message, png, scores_of
from cirp.explorer.pictures import SceneRequest, own, received, scene
from cirp.explorer.runs import Request, Seen, found_region, names_of, region_of, run
from cirp.explorer.words import unknown_words
from cirp.figures.explorers import as_script, as_text, colour_table, data_uri, in_one_line, module
from cirp.metrics.features import FeatureExtractor, load_features
from cirp.metrics.regions import split
from cirp.metrics.repair import keep
from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.kinds import SETTINGS
from cirp.paths import EDITS

STATIC = Path(__file__).parent / "static"
SCRIPTS = ("controls", "drawing", "maps", "npz", "tour", "live")  # one module, in this order
SCORES = {
    "success": "edit success",
    "l1_source_outside_excess": "excess outside change (L1)",
    "l1_source_inside": "change inside (L1)",
    "clip_i_source": "CLIP-I to the input",
}
PADDING = "padding"  # the map of all positions after the end of the text
ONE_AT_A_TIME = threading.Lock()  # the models are shared


@dataclass
class Work:
    """A run that is under way."""

    cancel: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class LiveExplorer(anywidget.AnyWidget):
    """Run an edit, watch its attention, intervene, run it again; see `cirp.explore`."""

    _esm = module(*(STATIC / f"{name}.js" for name in SCRIPTS))
    _css = (STATIC / "live.css").read_text(encoding="utf-8")
    items = traitlets.List().tag(sync=True)  # id, instruction, picture, true mask, caption
    colours = traitlets.Unicode().tag(sync=True)
    methods = traitlets.Dict().tag(sync=True)  # what can be run by its name: the dials it reads
    world = traitlets.Dict().tag(sync=True)  # what a scene drawn anew can be asked to be
    request = traitlets.Dict().tag(sync=True)  # what is chosen

    def __init__(
        self,
        models: Models,
        items: Sequence[EditItem],
        features: FeatureExtractor,
        *,
        in_page: bool = False,
        **chosen,
    ) -> None:
        self._models, self._features, self._in_page = models, features, in_page
        self._items = {item.id: item for item in cache.fitted(items, models)}
        if not self._items:
            raise ValueError("no edits to explore; give at least one")
        name = chosen.get("item", next(iter(self._items)))
        if name not in self._items:
            raise ValueError(f"no picture {name!r}; there are {', '.join(self._items)}")
        first = self._items[name]
        request = Request.model_validate(
            {"item": first.id, "instruction": first.record.instruction} | chosen
        )
        self._work = Work()
        self._kept: tuple[Request | None, Kept] = (None, ())  # the last run not frozen, its maps
        self._brought = tempfile.TemporaryDirectory(prefix="cirp-")  # pictures brought along
        super().__init__(
            items=[self._shown(item) for item in self._items.values()],
            colours=colour_table(),
            methods={name: dials(name) for name in (BASELINE, *names_for(models))},
            world={"kinds": list(EDIT_KINDS), "settings": sorted(SETTINGS)},
            request=request.model_dump(),
        )
        self.on_msg(self._told)

    def _shown(self, item: EditItem) -> dict:
        mask = item.mask()
        outside = None
        if mask is not None and not item.record.is_global:
            outside = split(mask, shape=mask.shape).outside
        return {
            "id": item.id,
            "instruction": item.record.instruction,
            "size": list(item.size),
            "picture": data_uri(item.source()),
            "target": data_uri(item.target()),
            "mask": "" if mask is None else as_text(mask),
            "outside": "" if outside is None else as_text(outside),
        }

    def opened(self) -> tuple[Models, EditItem, Request]:
        """Return what is chosen now, with what it takes to run it."""
        request = Request.model_validate(self.request)
        return self._models, self._items[request.item], request

    def _told(self, _, message: object, buffers: Sequence[bytes]) -> None:
        """One message of the page. Whatever is wrong with it is answered in one line."""
        kind = message.get("kind") if isinstance(message, Mapping) else None
        if kind == "cancel":
            self._work.cancel.set()
            return
        if kind in ("scene", "picture"):
            self._bring(kind, message, buffers)
            return
        if kind not in ("run", "tokens", "region", "snippet", "repair"):
            return
        try:
            request = Request.model_validate(message.get("request"))
            if request.item not in self._items:
                raise ValueError(f"no picture {request.item!r}")
            answer = getattr(self, f"_{kind}")
            if kind == "repair":
                data = bytes(buffers[0]) if buffers else b""
                answer = partial(answer, output=received(data, "output", Path(self._brought.name)))
        except (ValidationError, ValueError) as error:
            self._wrong(error)
            return
        if kind in ("run", "region", "repair"):
            self._begin(answer, request)
        else:
            try:
                answer(request)
            except ValueError as error:
                self._wrong(error)

    def _bring(self, kind: str, message: Mapping, buffers: Sequence[bytes]) -> None:
        """A scene that is drawn anew, or a picture of the reader's own, joins the others."""
        folder = Path(self._brought.name)
        try:
            if kind == "scene":
                item = scene(SceneRequest.model_validate(message.get("scene")), folder)
            else:
                item = own(bytes(buffers[0]) if buffers else b"", len(self._items), folder)
            (item,) = cache.fitted([item], self._models)
        except (ValidationError, ValueError) as error:
            self._wrong(error)
            return
        self._items[item.id] = item
        self.send({"kind": "item", "item": self._shown(item)})

    def _wrong(self, error: Exception) -> None:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            text = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        else:
            text = in_one_line(error)
        self.send({"kind": "error", "text": text[:300]})

    def _begin(self, answer, request: Request) -> None:
        """Stop what runs, then run `answer` in a thread."""
        self._work.cancel.set()
        work = self._work = Work()

        def go() -> None:
            with ONE_AT_A_TIME:
                if work.cancel.is_set():
                    return
                try:
                    answer(request, work)
                except Exception as error:  # a thread has nobody else to tell
                    self._wrong(error)

        work.thread = threading.Thread(target=go, daemon=True)
        work.thread.start()

    def _task(self, request: Request):
        return task_of(self._items[request.item], request)

    def _tokens(self, request: Request) -> None:
        tokens = names_of(self._models, request.instruction)
        unknown = self._unknown(request)
        self.send({"kind": "tokens", "tokens": [*tokens, PADDING], "unknown": unknown})

    def _unknown(self, request: Request) -> list[str]:
        """Words that the miniature was not trained on; none of another model's are known to us."""
        if not self._models.is_miniature:
            return []
        return unknown_words(request.instruction)

    def _snippet(self, request: Request) -> None:
        if self._items[request.item].folder.is_relative_to(self._brought.name):
            raise ValueError("a picture that was brought along is in no folder of edits; give "
                             "its file to cirp edit or cirp curate --photos")  # fmt: skip
        if is_one_call(request):
            item = self._items[request.item]
            text = public_snippet(self._task(request), request, self._models.name, item.folder)
        else:
            text = snippet(request, self._kept[0])
        self.send({"kind": "snippet", "text": text})

    def _region(self, request: Request, work: Work) -> None:
        mask = found_region(self._models, self._task(request))
        if not work.cancel.is_set():
            self.send({"kind": "region", "region": as_text(mask)})

    def _repair(self, request: Request, work: Work, *, output: Path) -> None:
        """Keep of an edit made elsewhere what is an edit; the picture is at its own full size."""
        item = self._items[request.item]
        whole = item.at(None).source()
        mask = None
        if request.region is not None:
            mask = region_of(request, item.size)
            mask = np.asarray(Image.fromarray(mask).resize(whole.size, Image.Resampling.NEAREST))
        edited = open_image(output)
        kept = keep(whole, edited, mask)
        shown = Image.fromarray(kept.region).resize(item.size, Image.Resampling.NEAREST)
        if work.cancel.is_set():
            return
        changes = ({"change outside the region (L1)": one if np.isfinite(one) else None}
                   for one in (kept.before, kept.after))  # fmt: skip
        self.send(
            {"kind": "repaired", "text": kept.registration.said, "scores": list(changes),
             "worked": as_text(np.asarray(shown))},
            [png(edited.resize(whole.size, Image.Resampling.LANCZOS)), png(kept.image)],
        )  # fmt: skip

    def _run(self, request: Request, work: Work) -> None:
        task, plain = self._task(request), request.method == BASELINE
        said = request.instruction if plain else prompt_of(task, request.method)
        tokens = names_of(self._models, said)
        steps = request.ran if plain else 1
        self.send({"kind": "begin", "tokens": [*tokens, PADDING], "steps": steps,
                   "method": request.method})  # fmt: skip

        def step(seen: Seen) -> None:
            found = maps_message(seen)
            data = found.pop("data")
            picture = png(seen.picture)
            message = {"kind": "step", "step": seen.step, "steps": seen.steps, **found}
            self.send(message, [data, picture])

        how = dict(on_step=step, cancelled=work.cancel.is_set)
        keep = None
        if plain:
            if self._models.is_miniature and not request.freeze:  # larger ones would fill memory
                keep = KeepMaps()
            how |= dict(keep=keep, before=self._kept[1])
        edit = (run if plain else run_method)(self._models, task, request, **how)
        if edit is None:
            self.send({"kind": "cancelled"})
            return
        if keep:
            self._kept = (request, keep.steps)
        made = edit if plain else edit.image
        worked = "" if plain or edit.mask is None else as_text(np.asarray(edit.mask) > 127)
        scores = self._scored(request, made)
        self.send({"kind": "done", "scores": scores, "worked": worked}, [png(made)])

    def _scored(self, request: Request, made: Image.Image) -> dict[str, float | None]:
        """Return what the edit is worth, where the instruction is the picture's own."""
        item = self._items[request.item]
        found = scores_of(self._models, item, made, self._features, SCORES)
        if request.instruction != item.record.instruction:
            found[SCORES["success"]] = None  # the judge knows what the picture's own asks for
        return found

    def to_html(self, *, root: str = "../_static/explorer/") -> str:
        """The explorer as a piece of a page, with the engine at `root`, from the page's address."""
        state = {name: getattr(self, name) for name in ("items", "colours", "request")}
        state = as_script(state | {"engine": "page", "seeds": PAGE_SEEDS})
        module = as_script(self._esm)
        digest = hashlib.sha256((module + state).encode()).hexdigest()[:12]
        return Template((STATIC / "page.html").read_text(encoding="utf-8")).substitute(
            style=self._css, name=digest, state=state, module=module, root=root
        )

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {
            **(data or {}),
            "text/plain": type(self).__name__,
            "text/html": self.to_html() if self._in_page else self.still(),
        }, metadata

    def still(self) -> str:
        """What a page without a kernel shows of other pictures or models than the page has."""
        first = self.items[0]
        return (
            f'<figure><img src="{first["picture"]}" alt="An input picture" width="192">'
            "<figcaption>This explorer needs a kernel: open the chapter in JupyterLab "
            "(<code>make lab</code>).</figcaption></figure>"
        )


@cached
def loaded(models: str, device: str) -> tuple[Models, FeatureExtractor]:
    """One set of models for all explorers of a kernel."""
    own = Path(models).is_dir() and len(resolve(models)) > 1  # a single editor has no encoders
    named = models if own or models == "miniature" else "real"
    with quiet():
        known = load(models, device=device, bfloat16=device == "cpu" and has_bfloat16_units())
        return known, load_features(named, device=device)


def explore(
    *, models: str = "miniature", edits: str | Path = EDITS, device: str = "cpu", **chosen
) -> LiveExplorer:
    """Return an explorer over a folder of edits: type, run, watch, intervene, run again.

    `chosen` is what it opens with: `item`, `instruction`, `text_scale`, `image_scale`, `steps`,
    `seed` and the rest of `cirp.explorer.runs.Request`.

    Raises `ValueError` in one line for unknown models, bad edits, or a value out of range.
    """
    known, features = loaded(models, device)
    return LiveExplorer(known, load_edits(edits), features, **{**known.editor.defaults, **chosen})
