"""`cirp curate`: edits from published collections or of one's own pictures, as a folder of ours."""

from pathlib import Path

import typer

from cirp.curation import folder as folders
from cirp.curation.drawing import balanced, unlike
from cirp.curation.loading import POOL, rows
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
    out: Path = typer.Option(..., help="The folder to write; it must not be there yet."),
    source: list[str] = typer.Option(list(SOURCES), help="Collections to draw from."),
    copies: list[str] = typer.Option([], "--from", help="SOURCE=FOLDER: a local copy."),
    photos: Path | None = typer.Option(None, help="A folder of your own; then nothing else."),
    count: int | None = typer.Option(None, min=1, help="Edits to draw; 50, or all of --photos."),
    pool: int = typer.Option(POOL, min=1, help="Rows of each collection to draw from."),
    seed: int = typer.Option(0, help="Of the draw; printed with it."),
    revision: str | None = typer.Option(None, help="Of a single collection on the hub."),
    pixels: bool = typer.Option(False, help="Also pictures that may not be passed on, for home."),
) -> None:
    """Draw edits and write them with references, hashes and attributions."""
    try:
        folders.check_new(out)
        if revision and len(source) > 1:
            raise DataError(f"--revision is of one collection; {len(source)} are asked for")
        known, found, revisions = _copies(copies), [], {}
        if photos is not None:
            found, source = list(own(photos)), []
            typer.echo(f"{photos}: {len(found)} pictures")
            if names := left_alone(photos):
                typer.echo(f"left alone: {', '.join(names)}")
        for name in source:
            some, commit = rows(name, path=known.get(name), revision=revision, seed=seed, pool=pool)
            mine = list(candidates(name, some))
            revisions[name] = commit
            typer.echo(f"{name}: {len(mine)} candidates of {SOURCES[name].hub}, {commit}")
            found += mine
        if photos is None:  # photographs of one's own may look alike, and all are kept
            different = unlike(found)
            typer.echo(f"{len(found) - len(different)} of {len(found)} are there twice")
            found = different
        chosen = found if photos and not count else balanced(found, count or 50, seed)
        folders.write(chosen, out, seed=seed, pixels=pixels, revisions=revisions)
    except ValueError as error:  # DataError is one
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{len(chosen)} edits in {out}, seed {seed}; who made them is in ATTRIBUTIONS.md")
    if without := sum(not one.instruction for one in chosen):
        beside = "write it into a text file beside each (cat.png: cat.txt) and draw again, or "
        typer.echo(f"{without} have no instruction yet: {beside * (photos is not None)}"
                   f"cirp review {out}, or in JupyterLab cirp.review({str(out)!r})")  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
