"""`cirp review`: look through a draw on the command line; regions are painted in JupyterLab."""

from pathlib import Path

import typer

from cirp.curation.folder import check_new
from cirp.curation.review import DROP, KEEP, Review, open_review

HELP = "k keep, d drop, c correct the instruction, u undo, q stop (all is saved)"


def main(folder: Path, out: Path | None = None) -> None:
    """Keep, drop or correct each edit; saved after each decision, and gone on with."""
    if out is not None:
        check_new(out)
    review = open_review(folder)
    while review.left:
        if not _asked(review):
            typer.echo(f"{len(review.left)} of {len(review.rows)} left; call it again to go on")
            return
    kept = sum(one.verdict == KEEP for one in review.decided.values())
    typer.echo(f"all {len(review.rows)} decided, {kept} kept")
    if out is not None:
        typer.echo(f"{kept} edits in {review.finish(out)}")


def _asked(review: Review) -> bool:
    """One question; False to stop."""
    name = review.left[0]
    row, done = review.row(name), len(review.rows) - len(review.left)
    typer.echo(f"\n[{done + 1}/{len(review.rows)}] {review.folder / row['source_file_name']}")
    typer.echo(f"    {row['instruction'] or '(no instruction yet)'}")
    try:
        said = typer.prompt(HELP, prompt_suffix=": ").strip().lower()
        if said == "q":
            return False
        if said == "u":
            last = review.undo()
            typer.echo(f"undone: {last.verdict} {last.id}" if last else "nothing to undo")
        elif said == "d":
            review.decide(name, DROP)
        elif said in ("k", "c"):
            written = typer.prompt("instruction") if said == "c" or not row["instruction"] else None
            review.decide(name, KEEP, instruction=written)
        else:
            typer.echo(f"{said!r}; {HELP}")
    except ValueError as error:
        typer.echo(str(error))
    except typer.Abort:
        return False
    return True
