"""A draw as a folder that every command and chapter takes, with a page of who made what.

What a licence does not allow to pass on is written as a reference: its collection, its id and the
hash of its pixels, from which the same draw can be made again where the collection is at hand.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from cirp.curation.candidate import Candidate
from cirp.curation.own import OWN, as_picture
from cirp.curation.sources import SOURCES
from cirp.data.edits import DRAFT, METADATA, EditRecord
from cirp.data.images import DataError, fingerprint
from cirp.paths import replacing

REFERENCES, ATTRIBUTIONS = "references.jsonl", "ATTRIBUTIONS.md"


def write(
    found: Sequence[Candidate],
    folder: Path,
    *,
    seed: int,
    pixels: bool = False,
    revisions: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write the draw; beside its place and then moved, so that it is whole or not there.

    Pictures of collections whose licence does not allow to pass them on are written only with
    `pixels`, for use at home; without, such edits are references alone. If a picture has no
    instruction yet, all rows go to `draft.jsonl`, from which a review goes on. `revisions` says of
    each collection which state of it was drawn from, so that the draw can be made again.

    Raises `DataError` if the folder is there already, or nothing could be written with its pixels.
    """
    with whole(Path(folder)) as half:
        rows, references = [], []
        for name, one in zip(names(found), found, strict=True):
            references.append(
                _reference(one, name, seed) | {"revision": revisions.get(one.source, "")}
            )
            if pixels or one.source == OWN or SOURCES[one.source].pixels_allowed:
                rows.append(_row(one, name, half))
        if not rows:
            raise DataError(
                "no licence in this draw allows to pass pictures on; give --pixels for use at home"
            )
        (half / REFERENCES).write_text(
            "".join(json.dumps(r) + "\n" for r in references), encoding="utf-8"
        )
        (half / ATTRIBUTIONS).write_text(_attributions(found, revisions), encoding="utf-8")
        file = METADATA if all(row.instruction for row in rows) else DRAFT
        (half / file).write_text(
            "".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8"
        )
    return Path(folder)


def names(found: Sequence[Candidate]) -> list[str]:
    """The id of each: a photograph's own name, else its collection and a hash of its content.

    Noise follows the id, so an id must not change when another picture is added.
    """
    given: set[str] = set()
    made = []
    for one in found:
        content = short_hash([fingerprint(one.image), one.instruction])
        if one.source == OWN:
            stem = one.source_id.rpartition(".")[0] if one.from_file else one.source_id
            name = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or content
        else:
            name = f"{one.source}-{content}"
        if name.lower() in given:  # some file systems know no case
            name = f"{name}-{short_hash([content, one.source_id])}"
        given.add(name.lower())
        made.append(name)
    return made


def short_hash(facts: list) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]


def check_new(folder: Path) -> None:
    """Raise `DataError` if the folder is there already."""
    if folder.exists():
        raise DataError(f"{folder} is there already; name another folder, or move it away")


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder to write into that becomes `folder` when the block ends well, and is gone else.

    Raises `DataError` if `folder` is there already.
    """
    check_new(folder)
    with replacing(folder) as half:
        half.mkdir()
        yield half


def _row(one: Candidate, name: str, folder: Path) -> EditRecord:
    (folder / name).mkdir()
    one.image.save(folder / name / "source.png")
    if one.target is not None:
        target = one.target
        if target.size != one.image.size:
            target = target.resize(one.image.size, Image.Resampling.LANCZOS)
        target.save(folder / name / "target.png")
    if one.mask is not None:
        as_picture(one.mask).save(folder / name / "mask.png")
    objects = [f"{name}/object_{i}.png" for i in range(len(one.objects))]
    for file, mask in zip(objects, one.objects, strict=True):
        as_picture(mask).save(folder / file)
    columns = dict(
        id=name,
        source_file_name=f"{name}/source.png",
        target_file_name=None if one.target is None else f"{name}/target.png",
        mask_file_name=None if one.mask is None else f"{name}/mask.png",
        instruction=one.instruction,
        source_caption=one.source_caption,
        target_caption=one.target_caption,
        edit_type=one.kind,
        is_global=one.kind == "restyle",
        source_dataset=f"{one.source} {one.source_id}",
        license=licence(one),
        author=one.author,
        notes=one.notes,
        object_mask_file_names=objects,
    ) | dict(one.further)
    if one.instruction:
        return EditRecord(**columns)
    return EditRecord.model_construct(**columns)  # a draft's, checked in all but the instruction


def licence(one: Candidate) -> str:
    """Of the picture itself, or of its collection."""
    stated = one.licence or (SOURCES[one.source].licence if one.source != OWN else "")
    return stated or "none stated"


def _reference(one: Candidate, name: str, seed: int) -> dict:
    return {
        "id": name, "source": one.source, "source_id": one.source_id, "seed": seed,
        "hub": "" if one.source == OWN else SOURCES[one.source].hub,
        "sha256": fingerprint(one.image), "instruction": one.instruction,
        "licence": licence(one), "author": one.author,
    }  # fmt: skip


def _attributions(found: Sequence[Candidate], revisions: Mapping[str, str]) -> str:
    lines = ["# Attributions", ""]
    for name in dict.fromkeys(one.source for one in found):
        mine = [one for one in found if one.source == name]
        some = [one.source_id for one in mine]
        if name == OWN:
            lines += ["## Own pictures", ""]
            lines += [
                f"- {o.source_id}: {o.author or 'no author given'}, {licence(o)}" for o in mine
            ]
            lines += ["", "Changed: turned upright, converted to RGB PNG.", ""]
            continue
        source = SOURCES[name]
        allowed = "" if source.pixels_allowed else "; its pictures may not be passed on"
        lines += [
            f"## {name}", "",
            f"{source.attribution}. Collection: `{source.hub}`"
            + (f", {revisions[name]}. " if revisions.get(name) else ". ")
            + f"Licence: {source.licence or 'none stated'}{allowed}.",
            f"Changed: turned upright, converted to RGB PNG. {len(some)} edits: "
            f"{', '.join(some)}.", "",
        ]  # fmt: skip
    return "\n".join(lines)
