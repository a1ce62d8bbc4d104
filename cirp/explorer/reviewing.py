"""`cirp.review`: a draw is looked through in JupyterLab; the front end is `static/review.js`.

The page asks with one small message; each decision is on disk before the next picture is shown.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from PIL import Image

from cirp.curation.review import DROP, KEEP, Review, open_review
from cirp.data.images import fit_mask, fit_size
from cirp.figures.explorers import as_text, data_uri, in_one_line, module

STATIC = Path(__file__).parent / "static"
SHOWN = 512  # pixels of the longer side that are shown and painted on


class Reviewer(anywidget.AnyWidget):
    """Keep, drop, correct, paint, undo; see `cirp.review`."""

    _esm = module(STATIC / "controls.js", STATIC / "review.js")
    _css = (STATIC / "live.css").read_text(encoding="utf-8")
    state = traitlets.Dict().tag(sync=True)  # the edit that is shown, and how far the review is

    def __init__(self, review: Review) -> None:
        self._review = review
        super().__init__(state=self._state(self._next(), ""))
        self.on_msg(self._told)

    def _next(self) -> str:
        left = self._review.left
        return left[0] if left else self._review.rows[-1]["id"]

    def _state(self, name: str, said: str) -> dict:
        review, row = self._review, self._review.row(name)
        picture, mask = review.picture(name), review.mask(name)
        size = shown_size(picture)
        if mask is not None:
            mask = fit_mask(mask, size=size)
        decided = review.decided
        return {
            "id": name,
            "instruction": row["instruction"],
            "caption": row.get("source_caption") or "",
            "origin": row.get("source_dataset") or "",
            "picture": data_uri(picture.resize(size, Image.Resampling.LANCZOS)),
            "size": list(size),
            "mask": "" if mask is None else as_text(mask),
            "items": [
                [r["id"], decided[r["id"]].verdict if r["id"] in decided else ""]
                for r in review.rows
            ],
            "said": said,
        }

    def _told(self, _, message: object, buffers: Sequence[bytes]) -> None:
        """One message of the page. Whatever is wrong with it is answered in one line."""
        if not isinstance(message, Mapping):
            return
        name = str(message.get("id", ""))
        try:
            shown, said = self._done(str(message.get("kind")), name, message, buffers)
        except (ValueError, OSError) as error:
            said = in_one_line(error)
            self.state = self.state | {"said": said, "wrong": True, "turn": self._turn()}
            return
        self.state = self._state(shown, said) | {"turn": self._turn()}

    def _turn(self) -> int:
        """Two equal answers are still two."""
        return self.state.get("turn", 0) + 1

    def _done(
        self, kind: str, name: str, message: Mapping, buffers: Sequence[bytes]
    ) -> tuple[str, str]:
        """Do what is asked; the edit to show then, and what to say."""
        review = self._review
        if kind in (KEEP, DROP):
            mask = self._painted(name, message, buffers)
            text = message.get("instruction")
            review.decide(name, kind, instruction=None if text is None else str(text), mask=mask)
            return self._next(), f"{'kept' if kind == KEEP else 'dropped'} {name}"
        if kind == "undo":
            last = review.undo()
            if last is None:
                return name, "nothing to undo"
            return last.id, f"undone: {last.verdict} {last.id}"
        if kind == "show":
            review.row(name)
            return name, ""
        if kind == "finish":
            out = str(message.get("out", "")).strip()
            if not out:
                raise ValueError("no folder; say where the kept edits go")
            return name, f"kept edits are in {review.finish(Path(out))}"
        raise ValueError(f"unknown request {kind!r}")

    def _painted(self, name: str, message: Mapping, buffers: Sequence[bytes]) -> np.ndarray | None:
        """Return the region as the page has painted it; None if it was not touched."""
        if not message.get("painted") or not buffers:
            return None
        width, height = shown_size(self._review.picture(name))
        cells = np.frombuffer(buffers[0], np.uint8)
        if cells.size != width * height:
            raise ValueError(f"a region of {cells.size} pixels for a picture of {width}x{height}")
        return cells.reshape(height, width) > 0


def shown_size(picture: Image.Image) -> tuple[int, int]:
    """(width, height) at which a picture is shown and painted on."""
    if max(picture.size) <= SHOWN:
        return picture.size
    return fit_size(picture.size, multiple=1, longest=SHOWN)


def review(folder: str | Path) -> Reviewer:
    """Look through a folder that `cirp curate` has made; a review goes on where it was.

    Raises `DataError` in one line for a folder that is none.
    """
    return Reviewer(open_review(folder))
