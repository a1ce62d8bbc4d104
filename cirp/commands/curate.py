"""`cirp curate`: edits from published collections or of one's own pictures, as a folder of ours."""

from pathlib import Path

from cirp.curation import folder as folders
from cirp.curation.own import left_alone, own
from cirp.curation.sources import SOURCES, candidates
from cirp.data.images import DataError


def _copies(given: list[str]) -> dict[str, Path]:
    found = {}
    for one in given:
        name, _, path = one.partition("=")
        if not path or name not in SOURCES:
            raise DataError(f"--from {one!r}; give SOURCE=FOLDER, SOURCE of {', '.join(SOURCES)}")
        found[name] = Path(path)
    return found


def main(
    out: Path, source: list[str] | None = None, copies: list[str] | None = None,
    photos: Path | None = None, count: int | None = None, pool: int = 400, seed: int = 0,
    revision: str | None = None, pixels: bool = False,
) -> None:  # fmt: skip
    """Draw edits and write them with references, hashes and attributions."""
    source = source or list(SOURCES)
    folders.check_new(out)
    if revision and len(source) > 1:
        raise DataError(f"--revision is of one collection; {len(source)} are asked for")
    known, found, revisions = _copies(copies or []), [], {}
    if photos is not None:
        found, source = list(own(photos)), []
        print(f"{photos}: {len(found)} pictures")
        if names := left_alone(photos):
            print(f"left alone: {', '.join(names)}")
    if source:
        from cirp.curation.drawing import unlike
        from cirp.curation.loading import rows
    for name in source:
        some, commit = rows(name, path=known.get(name), revision=revision, seed=seed, pool=pool)
        mine = list(candidates(name, some))
        revisions[name] = commit
        print(f"{name}: {len(mine)} candidates of {SOURCES[name].hub}, {commit}")
        found += mine
    if photos is None:  # photographs of one's own may look alike, and all are kept
        different = unlike(found)
        print(f"{len(found) - len(different)} of {len(found)} are there twice")
        found = different
    if photos is None or count:
        from cirp.curation.drawing import balanced

        found = balanced(found, count or 50, seed)
    chosen = found
    folders.write(chosen, out, seed=seed, pixels=pixels, revisions=revisions)
    print(f"{len(chosen)} edits in {out}, seed {seed}; who made them is in ATTRIBUTIONS.md")
    if without := sum(not one.instruction for one in chosen):
        beside = "write it into a text file beside each (cat.png: cat.txt) and draw again, or "
        print(f"{without} have no instruction yet: {beside * (photos is not None)}"
                   f"cirp review {out}, or in JupyterLab cirp.review({str(out)!r})")  # fmt: skip
