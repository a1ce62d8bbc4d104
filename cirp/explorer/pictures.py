"""Pictures that a reader brings into the explorer: a scene drawn anew, or a file of their own.

Both become edits of a folder of their own, so that everything treats them like any other.
"""

import io
import random
from pathlib import Path
from typing import Annotated, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from cirp.data.edits import EditItem, EditRecord
from cirp.data.images import DataError, open_image
from cirp.miniature import export
from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.kinds import SETTINGS

ANY = "any"
FIRST = 100_000  # numbers of scenes drawn here; the plan's edits are far below
TRIES = 3000
FIRST_SAID = "make it a pencil sketch"  # of a picture of one's own, until something else is typed
BYTES, SIDE = 20_000_000, 6000  # the largest file, and the longest side of a picture
FORMATS = ("PNG", "JPEG", "WEBP")


class SceneRequest(BaseModel):
    """What a scene should be like. Raises `ValidationError` for what the world does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    kind: Literal[(ANY, *EDIT_KINDS)] = ANY
    setting: Literal[(ANY, *sorted(SETTINGS))] = ANY
    count: Annotated[int, Field(ge=0, le=3)] = 0  # of things that stand in it; 0 is any


def scene(request: SceneRequest, folder: Path) -> EditItem:
    """Return the first held-out scene from this seed on that is as asked for, with its instruction.

    Raises `ValueError` if the world draws none in a few thousand.
    """
    kind = None if request.kind == ANY else request.kind
    start = FIRST + random.Random(request.seed).getrandbits(30)
    for number in range(start, start + TRIES):
        pair = draw_pair(number, "test", kind=kind)
        fits = request.setting in (ANY, pair.source.setting)
        if fits and request.count in (0, len(pair.source.things)):
            name = f"scene-{number}"
            record = export.record(pair, name, split="test").model_copy(update={"split": ""})
            export.write([(pair, record)], folder / name)
            return EditItem(record, folder / name)
    raise ValueError(
        f"no scene of {request.count} things, {request.setting}, {request.kind} in {TRIES} drawn; "
        "ask for less"
    )


def own(data: bytes, number: int, folder: Path) -> EditItem:
    """An edit of a picture that was dropped, pasted or chosen; its instruction is still to come.

    Raises `DataError` in one line for what is no picture, or too large a one.
    """
    name = f"own-{number}"
    path = received(data, name, folder)
    record = EditRecord(id=name, source_file_name=path.name, instruction=FIRST_SAID)
    return EditItem(record, folder)


def received(data: bytes, name: str, folder: Path) -> Path:
    """Save the bytes of a picture and return where; they come from a page and are not trusted.

    Raises `DataError` as `own` does.
    """
    if not data or len(data) > BYTES:
        raise DataError(f"a file of {len(data):,} bytes; give a picture of at most {BYTES:,}")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            kind, size = opened.format, opened.size
    except Exception as error:  # whatever a decoder says of bytes that are no picture
        raise DataError(f"no picture; give a file of {', '.join(FORMATS)}") from error
    if not all(8 <= side <= SIDE for side in size):
        raise DataError(f"a picture of {size[0]} x {size[1]}; give sides of 8 to {SIDE} pixels")
    path = folder / f"{name}.{kind.lower()}"
    path.write_bytes(data)
    try:
        open_image(path)
    except DataError as error:  # a broken file; its place is nobody's business
        raise DataError(str(error).replace(f"{path}: ", "")) from error
    return path
