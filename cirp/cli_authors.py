"""The commands with which the book, its tables and the miniature are made."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from cirp import paths
from cirp.cli import DEVICE, MODELS, app, assigned, in_checkout, one_line

AUTHORS = "For the authors of the book"
miniature = typer.Typer(help="Train and measure the miniature.", no_args_is_help=True)
cost = typer.Typer(help="Measure what methods cost on this machine.", no_args_is_help=True)
app.add_typer(miniature, name="miniature", rich_help_panel=AUTHORS)
app.add_typer(cost, name="cost", rich_help_panel=AUTHORS)

STEPS = Annotated[int, typer.Option(help="Sampling steps of each run.")]


@app.command(rich_help_panel=AUTHORS)
@one_line
@in_checkout
def tables(
    names: Annotated[
        list[str] | None, typer.Argument(help="Tables to make, such as main; all by default.")
    ] = None,
    models: MODELS = "miniature",
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that compute edits, with their own models.")
    ] = 1,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster to compute on, such as auto.")
    ] = None,
    device: DEVICE = "cpu",
) -> None:
    """Make the book's tables; finished edits are kept, so that a stopped run goes on.

    Started by torchrun or srun, each process computes its share of the edits.
    """
    from cirp.experiments.results import chosen, make

    if workers > 1 or address:
        from cirp.experiments.workers import fill

        failures = fill(chosen(names or []), workers, address=address, models=models, device=device)
        for one in failures:
            print(one, file=sys.stderr)
        if failures:
            raise typer.Exit(1)
    make(names or [], models=models, device=device)


@app.command(rich_help_panel=AUTHORS)
@one_line
@in_checkout
def notebooks(
    names: Annotated[
        list[str] | None, typer.Argument(help="Chapters, such as 03_attention; all by default.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="Parameter of the chapters, such as steps=20."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Folder of the notebooks.")] = Path("notebooks"),
    out: Annotated[Path, typer.Option(help="Folder for the executed notebooks.")] = Path(
        "book/notebooks"
    ),
    provenance: Annotated[
        Path | None, typer.Option(help="Folder for copies of the manifests.")
    ] = None,
    timeout: Annotated[int | None, typer.Option(help="Seconds that a cell may take.")] = None,
) -> None:
    """Execute the chapters with papermill."""
    from papermill.exceptions import PapermillExecutionError

    from cirp.commands.notebooks import execute_all

    given = assigned(parameter, "--parameter")
    try:
        execute_all(
            names or [], given, folder=folder, out=out, provenance=provenance, timeout=timeout
        )
    except PapermillExecutionError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from error


@app.command(rich_help_panel=AUTHORS)
@one_line
@in_checkout
def headline(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 if the README is stale.")
    ] = False,
) -> None:
    """Write the main tables into README.md."""
    from cirp.commands.headline import rewrite

    if not rewrite(check=check) and check:
        print("README.md is stale; run: cirp headline", file=sys.stderr)
        raise typer.Exit(1)


@app.command("page-engine", rich_help_panel=AUTHORS)
@one_line
@in_checkout
def page_engine(
    folder: Annotated[Path | None, typer.Option(help="Folder for the engine's files.")] = None,
) -> None:
    """Export the miniature for the explorer of the built pages."""
    from cirp.explorer import page

    page.main(folder or page.OUT)


def _measurement(name: str, module: str, table: str, steps: int, repeats: int, says: str) -> None:
    """Add a command of `cirp cost`: it measures, prints, and writes a table."""

    def command(
        steps: STEPS = steps,
        repeats: Annotated[int, typer.Option(help="Timed turns, after one to warm up.")] = repeats,
        device: DEVICE = "cpu",
        out: Annotated[Path, typer.Option(help="File for the table.")] = paths.RESULTS / table,
    ) -> None:
        import_module(f"cirp.commands.{module}").main(steps, repeats, device, out)

    cost.command(name, help=says)(one_line(in_checkout(command)))


for facts in (
    ("methods", "method_cost", "costs.csv", 20, 5,
     "Measure UNet rows, time and memory of each method beside the baseline's."),
    ("throughput", "throughput", "throughput.csv", 10, 3,
     "Measure edits a second in batches, beside the loop of stock diffusers."),
    ("attention", "attention_cost", "attention_cost.csv", 2, 5,
     "Measure what recording attention costs, beside daam's own trace."),
    ("editors", "editors_cost", "editors_cost.csv", 2, 1,
     "Measure what recording costs on today's editors at full size, with random weights."),
):  # fmt: skip
    _measurement(*facts)


@miniature.command()
@one_line
@in_checkout
def train(
    stage: Annotated[
        str | None, typer.Argument(help="Train only this stage, such as joint.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Samples to see; more than before goes on.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Samples a step, of all processes together.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    leak: Annotated[float, typer.Option(min=0, max=1, help="Share of targets that leak.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of order and noise.")] = 0,
    name: Annotated[
        str | None, typer.Option(help="Name of the weights, if not that of the stage.")
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(min=1, help="Pairs, pictures or scenes to draw and learn from.")
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of each stage, for a trial of all stages."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Weights to begin with (autoencoder, judge, dinov2).")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda. Default: cuda where there is one.")
    ] = None,
    work: Annotated[Path | None, typer.Option(help="Folder for pictures and checkpoints.")] = None,
    models: Annotated[
        Path | None, typer.Option(help="Folder for the weights. Default: within --work.")
    ] = None,
    bfloat16: Annotated[bool, typer.Option(help="Multiply in bfloat16.")] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after so many minutes; called again, go on.")
    ] = None,
    rehearse: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Train all models of the miniature, or one stage; it goes on where it was stopped."""
    from cirp.miniature.training.chain import main

    main(
        stage, samples, batch, rate, leak, seed, name, pairs, share, start, device, work, models,
        bfloat16, minutes, rehearse,
    )  # fmt: skip


@miniature.command()
@one_line
@in_checkout
def leak(
    models: Annotated[Path, typer.Argument(help="Folder that `cirp miniature train` wrote.")],
) -> None:
    """Write the trained editors of the leak experiment as differences from their start."""
    from cirp.experiments.leak import write

    for path in write(models):
        typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@miniature.command()
@one_line
@in_checkout
def quality(
    count: Annotated[int | None, typer.Option(min=8, help="Held-out test edits.")] = None,
    first: Annotated[int | None, typer.Option(min=0, help="Number of the first of them.")] = None,
    checks: Annotated[
        int | None, typer.Option(min=8, help="Edits whose fakes the judge is shown.")
    ] = None,
    text: Annotated[float, typer.Option(help="Scale of text guidance.")] = 2.5,
    image: Annotated[float, typer.Option(help="Scale of image guidance.")] = 1.5,
    models: MODELS = "miniature",
    out: Annotated[Path, typer.Option(help="File for the table.")] = paths.RESULTS / "bars.csv",
) -> None:
    """Measure every bar of the miniature on held-out edits."""
    from cirp.experiments.quality import main

    main(count, first, checks, text, image, models, out)


@miniature.command()
@one_line
@in_checkout
def cards(
    models: Annotated[Path, typer.Option(help="Folder of the models.")] = paths.MODELS,
) -> None:
    """Write the model cards from the logs of the training."""
    from cirp.miniature.cards import main

    main(models)


@miniature.command()
@one_line
@in_checkout
def edits(
    folder: Annotated[Path, typer.Option(help="Folder for the edits.")] = paths.EDITS,
) -> None:
    """Draw the book's 50 edits."""
    from cirp.miniature.export import main

    main(folder)
