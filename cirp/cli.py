"""The package from the command line. Errors: one line, exit code 2."""

import functools
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # our own errors are one line
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads sleep; read when torch is loaded

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
miniature = typer.Typer(help="Make and measure the miniature.", no_args_is_help=True)
cost = typer.Typer(help="Measure what things cost on this machine.", no_args_is_help=True)
app.add_typer(miniature, name="miniature")
app.add_typer(cost, name="cost")

MODELS = Annotated[str, typer.Option(help="Preset, folder, or two hub names.")]
SHARD = Annotated[int, typer.Option(help="Which share of the edits.")]
SHARDS = Annotated[int, typer.Option(help="Of how many, one process each.")]
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def one_line(command):
    """What is wrong with the input is said in one line; anything else is our own mistake."""

    @functools.wraps(command)
    def guarded(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError) as error:
            print(f"cirp: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(2) from error

    return guarded


def assigned(pairs: list[str], option: str) -> dict[str, str]:
    """["a=1", "b=x"] -> {"a": "1", "b": "x"}."""
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"{option} {pair!r}; give NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


@app.command()
@one_line
def check(
    edits: Annotated[Path, typer.Option(help="A folder of edits.")],
    models: MODELS = "miniature",
) -> None:
    """Check a folder of edits, completely, without loading a model."""
    from cirp.data.edits import load_edits
    from cirp.diffusion.pipelines import load_tokenizer
    from cirp.experiments.cache import check_items

    items = load_edits(edits)
    check_items(items, load_tokenizer(models))
    masks = sum(item.record.mask_file_name is not None for item in items)
    typer.echo(f"{edits}: {len(items)} edits, {masks} with a mask, all readable")


@app.command()
@one_line
def methods(name: Annotated[str | None, typer.Argument(help="Only this one.")] = None) -> None:
    """List the editing methods with their settings, defaults and ranges."""
    from cirp.methods import METHODS

    if name is not None and name not in METHODS:
        raise ValueError(f"unknown method {name!r}; there are {', '.join(METHODS)}")
    for method in METHODS.values() if name is None else [METHODS[name]]:
        typer.echo(f"{method.name}: {method.summary}")
        for row in method.table():
            typer.echo("    {:<22} {:<28} {}".format(*row))


@app.command()
@one_line
def edit(
    image: Annotated[Path, typer.Option(help="The image to edit.")],
    out: Annotated[Path, typer.Option(help="Where the edited image goes.")],
    instruction: Annotated[str, typer.Option(help="What to do.")] = "",
    caption: Annotated[str, typer.Option(help="What the result shows.")] = "",
    source_caption: Annotated[str, typer.Option(help="What the image shows.")] = "",
    mask: Annotated[Path | None, typer.Option(help="White where it may change.")] = None,
    method: Annotated[str, typer.Option(help="How; see: cirp methods.")] = "ip2p",
    settings: Annotated[
        list[str], typer.Option("--set", help="NAME=VALUE of the method's settings.")
    ] = [],  # noqa: B006  (typer reads it, nothing writes to it)
    models: MODELS = "miniature",
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Edit one image by any method."""
    from cirp.data.images import check_destination, fingerprint, open_image, open_mask_for
    from cirp.diffusion.pipelines import check_device, load, load_tokenizer, resolve
    from cirp.diffusion.tasks import Task, missing_texts
    from cirp.explorer.words import warnings_for
    from cirp.methods import METHODS

    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
    chosen = METHODS[method]
    given = assigned(settings, "--set")
    if mask is not None:
        given = chosen.with_region(given)
    configured = chosen.parsed(given)
    resolve(models)
    check_device(device)
    check_destination(out, image, mask)
    opened = open_image(image)
    task = Task(
        opened,
        instruction,
        caption or None,
        seed,
        key=fingerprint(opened),  # the same noise, wherever the file lies
        source_caption=source_caption or None,
        mask=None if mask is None else open_mask_for(opened, mask),
    )
    if lacking := missing_texts(task, configured.reads):
        options = " and ".join(f"--{name.replace('_', '-')}" for name in lacking)
        raise ValueError(f"{method} needs {options}")
    chosen.refuse([task], configured, load_tokenizer(models))
    loaded = load(models, device=device)
    for line in warnings_for(loaded, task, configured.reads):
        print(f"cirp: {line}", file=sys.stderr)
    (made,) = chosen(loaded, [task], **configured.model_dump())
    made.image.save(out)
    smaller = "" if made.image.size == opened.size else f" (from {_size(opened)})"
    typer.echo(
        f"{out}: {_size(made.image)}{smaller}, {made.unet_calls} UNet rows, {made.seconds:.1f} s"
    )


@app.callback()
def in_utf8() -> None:
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"  # locale C: names and texts are UTF-8 all the same
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _size(image) -> str:
    return f"{image.width}x{image.height}"


@app.command()
@one_line
def refine(
    edits: Annotated[Path | None, typer.Option(help="A folder of edits.")] = None,
    out: Annotated[Path | None, typer.Option(help="New metadata, in that folder.")] = None,
    backend: Annotated[str, typer.Option(help="grammar, local or endpoint.")] = "grammar",
    model: Annotated[str, typer.Option(help="Folder, hub id, or the endpoint's name.")] = "",
    url: Annotated[str | None, typer.Option(help="Of the endpoint.")] = None,
    anew: Annotated[bool, typer.Option(help="Also edits that have a target caption.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Show what would be sent, and send nothing.")
    ] = False,
    agreement: Annotated[
        bool,
        typer.Option(help="Measure agreement with the true captions instead of refining."),
    ] = False,
    models: Annotated[
        str, typer.Option(help="Models that will read the captions; longer ones are refused.")
    ] = "miniature",
    device: str = "cpu",
) -> None:
    """Target captions and the words that carry the edit, by rules or by a language model."""
    from cirp.commands.refine import measure, refine_file

    if agreement:
        return measure(backend, model=model, url=url, device=device)
    if edits is None:
        raise ValueError("no edits; give --edits FOLDER, or --agreement")
    refine_file(
        edits, out or edits / "metadata.refined.jsonl", backend, model=model, url=url, anew=anew,
        dry_run=dry_run, device=device, models=models,
    )  # fmt: skip


@app.command()
@one_line
def study(
    edits: Annotated[Path, typer.Option(help="A folder of edits.")] = Path("data/edits"),
    models: MODELS = "miniature",
    shard: SHARD = 0,
    shards: SHARDS = 1,
) -> None:
    """Compute what is not recorded of the full study; resumable, and shared between processes."""
    from cirp.experiments.full_study import fill

    fill(edits=str(edits.resolve()), models=models, shard=shard, shards=shards)


@app.command()
@one_line
def evidence(
    names: Annotated[list[str] | None, typer.Argument(help="Tables; by default all.")] = None,
    models: MODELS = "miniature",
    shard: SHARD = 0,
    shards: SHARDS = 1,
) -> None:
    """The experiments on planned edits: compute what is missing; without shards, write tables."""
    from cirp.experiments.evidence import compute

    compute(names or [], models=models, shard=shard, shards=shards)


@app.command()
@one_line
def notebooks(
    names: Annotated[list[str] | None, typer.Argument(help="Such as 03_attention.")] = None,
    parameter: Annotated[
        list[str], typer.Option("--parameter", "-p", help="NAME=VALUE, for all of them.")
    ] = [],  # noqa: B006
    folder: Annotated[Path, typer.Option(help="Of the notebooks.")] = Path("notebooks"),
    out: Annotated[Path, typer.Option(help="Of the executed ones.")] = Path("book/notebooks"),
    provenance: Annotated[Path | None, typer.Option(help="For copies of the manifests.")] = None,
    timeout: Annotated[int | None, typer.Option(help="Seconds a cell may take.")] = None,
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


@app.command()
@one_line
def book(
    edits: Annotated[
        Path | None, typer.Option(help="Your folder of edits; by default the book's 50.")
    ] = None,
    models: MODELS = "miniature",
    out: Annotated[
        Path, typer.Option(help="Folder for your book; it must not exist, or be from this command.")
    ] = Path("_build/own"),
    parameter: Annotated[
        list[str],
        typer.Option("--parameter", "-p", help="NAME=VALUE of the chapters, such as steps=20."),
    ] = [],  # noqa: B006
) -> None:
    """Make a book of your own pictures, or of other models: your pictures first."""
    import yaml

    from cirp.commands.own_book import build

    given = assigned(parameter, "--parameter")
    given = {name: yaml.safe_load(value) for name, value in given.items()}
    without = build(out, given, edits=edits, models=models)
    if without:
        typer.echo(f"Left out: {', '.join(without)}; the front page says why.")


@app.command()
@one_line
def headline(
    check: Annotated[
        bool, typer.Option("--check", help="Only look; exit code 1 if stale.")
    ] = False,
) -> None:
    """Write the full run's main tables into README.md."""
    from cirp.commands.headline import rewrite

    if not rewrite(check=check) and check:
        print("README.md is stale; run: cirp headline", file=sys.stderr)
        raise typer.Exit(1)


def _program(module: str, context: typer.Context) -> None:
    """Hand the arguments on to the `main` of a module, which is read only now."""
    import importlib

    program = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    program.command()(one_line(importlib.import_module(module).main))
    program(context.args, prog_name=context.command_path)


def _pass_on(group: typer.Typer, name: str, module: str, about: str) -> None:
    """A command whose options are those of a module's `main`, which is read when it is called."""

    @group.command(name, help=about, context_settings=PASSED_ON, add_help_option=False)
    def command(context: typer.Context) -> None:
        _program(module, context)


for _group, _name, _module, _about in (
    (cost, "methods", "cirp.commands.method_cost",
     "UNet rows, time and memory of each method, over the baseline's."),
    (cost, "attention", "cirp.commands.attention_cost",
     "What recording attention costs, beside daam's own trace."),
    (app, "page-engine", "cirp.explorer.page",
     "Export the miniature for the explorer of the built pages."),
    (app, "curate", "cirp.commands.curate",
     "Draw real edits from published collections, or your own, into a folder."),
    (app, "review", "cirp.commands.review",
     "Keep, drop or correct each edit of a folder; in JupyterLab: cirp.review(FOLDER)."),
    (app, "guidance", "cirp.experiments.guidance",
     "InstructPix2Pix over the plane of its two guidance scales."),
    (miniature, "train", "cirp.miniature.training.chain",
     "Train all models of the miniature, or one stage; goes on where it was stopped."),
    (miniature, "quality", "cirp.experiments.quality",
     "Measure every bar of the miniature on held-out edits."),
    (miniature, "cards", "cirp.miniature.cards",
     "Write the model cards from the logs of the training."),
    (miniature, "leak", "cirp.experiments.leak",
     "Write the trained editors of the leak experiment as differences."),
    (miniature, "edits", "cirp.miniature.export", "Draw the book's 50 edits."),
):  # fmt: skip
    _pass_on(_group, _name, _module, _about)


if __name__ == "__main__":
    app(prog_name="cirp")
