"""Edit images by instruction, see what changes beside the edit, and keep it from changing."""

import functools
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cirp import paths

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # our own errors are one line
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads sleep; read when torch is loaded

app = typer.Typer(
    help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)

MODELS = Annotated[
    str,
    typer.Option(
        help="Models to run: miniature, real, real-xl, dreamlite, qwen-image-edit, kontext, a "
        "folder, one editor's hub name, or two hub names with a comma."
    ),
]
DEVICE = Annotated[str, typer.Option(help="Where the models run: cpu, cuda or mps.")]
EXTRAS = {  # package -> the extra that brings it
    **dict.fromkeys(("datasets", "imagehash", "openai"), "curate"),
    **dict.fromkeys(("anywidget", "ipywidgets", "jupyterlab", "nbformat"), "lab"),
    **dict.fromkeys(("jupytext", "onnx", "papermill"), "book"),
    "resvg_py": "train",
    **dict.fromkeys(("ray", "upath"), "cluster"),
}


def in_checkout(command):
    """Refuse a command of the repository where only the package is installed."""

    @functools.wraps(command)
    def guarded(*args, **kwargs):
        paths.check_checkout()
        return command(*args, **kwargs)

    return guarded


def one_line(command):
    """Print what is wrong with the input in one line and exit with 2; let other errors through."""

    @functools.wraps(command)
    def guarded(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError) as error:
            print(f"cirp: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(2) from error
        except ModuleNotFoundError as error:
            if (package := (error.name or "").split(".")[0]) not in EXTRAS:
                raise
            extra = EXTRAS[package]
            print(f'cirp: {package} is missing; run: pip install "cirp[{extra}]"', file=sys.stderr)
            raise typer.Exit(2) from error

    return guarded


def assigned(pairs: list[str] | None, option: str) -> dict[str, str]:
    """["a=1", "b=x"] -> {"a": "1", "b": "x"}. Raises `ValueError` for a pair without "="."""
    for pair in pairs or ():
        if "=" not in pair:
            raise ValueError(f"{option} {pair!r}; give NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs or ())


@app.callback()
def in_utf8() -> None:
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"  # locale C: names and texts are UTF-8 all the same
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


@app.command()
@one_line
def edit(
    image: Annotated[Path, typer.Argument(help="The picture to edit, such as photo.png.")],
    instruction: Annotated[
        str, typer.Argument(help='What to do with it, such as "make it snow".')
    ] = "",
    out: Annotated[
        Path, typer.Option(help="File for the edited picture; replaced if it is there.")
    ] = Path("edited.png"),
    method: Annotated[
        str, typer.Option(help="Editing method, such as remap; `cirp methods` lists them.")
    ] = "remap",
    caption: Annotated[
        str,
        typer.Option(help='What the result shows, for p2p, diffedit and noisy: "a dog in snow".'),
    ] = "",
    source_caption: Annotated[
        str,
        typer.Option(
            "--source-caption",
            "--source",
            help='What the picture shows now, for p2p and diffedit: "a dog on grass".',
        ),
    ] = "",
    mask: Annotated[
        Path | None, typer.Option(help="Picture that is white where the edit may change something.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the method, such as steps=50; repeatable."),
    ] = None,
    models: MODELS = "miniature",
    seed: Annotated[int, typer.Option(help="Seed of the noise, as in diffusers.")] = 0,
    device: DEVICE = "cpu",
) -> None:
    """Edit one picture.

    Example: cirp edit photo.png "make it snow" --out snow.png
    """
    from cirp.methods import check_name

    check_name(method)
    from cirp.commands.edit import edit_file

    edit_file(
        image, out, method=method, instruction=instruction, caption=caption,
        source_caption=source_caption, mask=mask, given=assigned(settings, "--set"), models=models,
        seed=seed, device=device,
    )  # fmt: skip


@app.command()
@one_line
def score(
    source: Annotated[
        Path | None, typer.Argument(help="The picture before the edit.", show_default=False)
    ] = None,
    edited: Annotated[
        Path | None,
        typer.Argument(help="The picture after the edit, of the same size.", show_default=False),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Picture that is white where the edit was to change it.")
    ] = None,
    caption: Annotated[
        str | None, typer.Option(help="What the result should show; adds CLIP-T.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Encoders for CLIP-I and DINOv2: real (photographs), miniature, a folder."
        ),
    ] = None,
    vae: Annotated[
        str | None,
        typer.Option(help="Folder of the autoencoder that made the edit; adds the excess outside."),
    ] = None,
    change: Annotated[
        Path | None, typer.Option(help="File for a picture of how much each pixel changed.")
    ] = None,
    edits: Annotated[
        Path | None, typer.Option(help="Folder of edits, or of a published benchmark.")
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option(help="An editor's outputs, as NAME=FOLDER with <id>.png in it; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for scores.csv and a page of the outputs.")
    ] = None,
    align: Annotated[
        bool, typer.Option(help="Align each output with its source before it is scored.")
    ] = True,
) -> None:
    """Score an edited picture, or folders of outputs: how much changed, inside and outside.

    Examples:

    cirp score photo.png edited.png --mask region.png --change change.png

    cirp score --edits my-edits --outputs mine=my-outputs --out my-scores
    """
    if edits is not None:
        if given := [name for name, value in (("pictures", source), ("--mask", mask),
                     ("--caption", caption), ("--change", change)) if value]:  # fmt: skip
            raise ValueError(f"{given[0]} and --edits do not go together; give one of them")
        if out is None:
            raise ValueError("--edits needs --out FOLDER, for the scores and the page")
        named = {name: Path(one) for name, one in assigned(outputs, "--outputs").items()}
        if len(named) < len(outputs or ()):
            raise ValueError("two of --outputs have one name; give each editor its own")
        from cirp.commands.score import score_outputs

        return score_outputs(edits, named, out, align=align, features=features, vae=vae)
    if source is None or edited is None:
        raise ValueError("give two pictures, or --edits FOLDER --outputs NAME=FOLDER --out FOLDER")
    if outputs or out:
        raise ValueError("--outputs and --out belong to --edits FOLDER; give it, too")
    if caption and not features:
        raise ValueError("--caption is compared by CLIP; give --features real, too")
    if vae and not mask:
        raise ValueError("--vae adds the excess outside of a mask; give --mask, too")
    from cirp.commands.score import score_file

    score_file(source, edited, mask, caption=caption, features=features, vae=vae, change=change)


@app.command()
@one_line
def keep(
    source: Annotated[Path, typer.Argument(help="The picture before the edit.")],
    edited: Annotated[Path, typer.Argument(help="The output of any editor.")],
    out: Annotated[Path, typer.Option(help="File for the result, such as kept.png.")],
    mask: Annotated[
        Path | None, typer.Option(help="Picture that is white where the edit was to change it.")
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Also keep an edit of the whole picture."),
    ] = False,
    region: Annotated[
        Path | None, typer.Option(help="File for the region that was found, as a mask.")
    ] = None,
) -> None:
    """Keep an edit alone: align the output, find what it changed, put the source back elsewhere.

    Example: cirp keep photo.png edited.png --out kept.png
    """
    from cirp.commands.keep import keep_file

    keep_file(source, edited, out, mask=mask, whole=whole, region=region)


@app.command()
@one_line
def methods(
    name: Annotated[str | None, typer.Argument(help="Show only this method.")] = None,
) -> None:
    """List the editing methods with their settings, defaults and ranges."""
    from cirp.methods import METHODS, check_name

    if name is not None:
        check_name(name)
    for method in METHODS.values() if name is None else [METHODS[name]]:
        every = " (runs on every editor)" if method.any_editor else ""
        typer.echo(f"{method.name}: {method.summary.removesuffix('.')}{every}.")
        for row in method.table():
            typer.echo("    {:<22} {:<28} {}".format(*row))
    typer.echo(
        "Defaults are those of real models. The miniature takes 20 steps, and for InstructPix2Pix "
        "text_scale 2.5 and image_scale 1.5."
    )


@app.command()
@one_line
def curate(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist yet.")],
    photos: Annotated[
        Path | None,
        typer.Option(help="Folder of your own photographs; then no collection is read."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="Collection to draw from, such as magicbrush; repeatable. Default: all."),
    ] = None,
    copies: Annotated[
        list[str] | None,
        typer.Option("--from", help="A local copy of a collection, such as magicbrush=FOLDER."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Edits to draw. Default: 50, or all photographs.")
    ] = None,
    pool: Annotated[int, typer.Option(min=1, help="Rows of each collection to draw from.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    revision: Annotated[
        str | None, typer.Option(help="Revision of a single collection on the hub.")
    ] = None,
    pixels: Annotated[
        bool, typer.Option(help="Also write pictures that may not be passed on, for use at home.")
    ] = False,
) -> None:
    """Turn photographs, or rows of published collections, into a folder of edits.

    Example: cirp curate --photos my-photos --out my-edits
    """
    from cirp.commands.curate import main

    main(out, source, copies, photos, count, pool, seed, revision, pixels)


@app.command()
@one_line
def review(
    folder: Annotated[Path, typer.Argument(help="Folder that `cirp curate` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the edits that were kept, once all are decided.")
    ] = None,
) -> None:
    """Keep, drop or correct each edit of a folder; in JupyterLab: cirp.review(FOLDER).

    Example: cirp review my-edits --out my-kept-edits
    """
    from cirp.commands.review import main

    main(folder, out)


@app.command()
@one_line
def refine(
    edits: Annotated[Path | None, typer.Option(help="Folder of edits.")] = None,
    out: Annotated[Path | None, typer.Option(help="New .jsonl metadata, in that folder.")] = None,
    backend: Annotated[
        str, typer.Option(help="Who writes the captions: grammar, local or endpoint.")
    ] = "grammar",
    model: Annotated[
        str, typer.Option(help="Folder or hub id of a local model, or the endpoint's model name.")
    ] = "",
    url: Annotated[
        str | None, typer.Option(help="URL of the endpoint, such as http://localhost:8000/v1.")
    ] = None,
    anew: Annotated[
        bool, typer.Option(help="Also edits that have a target caption already.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Show what would be sent, and send nothing.")
    ] = False,
    agreement: Annotated[
        bool, typer.Option(help="Measure agreement with the true captions instead of refining.")
    ] = False,
    models: Annotated[
        str, typer.Option(help="Models that will read the captions; longer captions are refused.")
    ] = "miniature",
    device: DEVICE = "cpu",
) -> None:
    """Write target captions from instructions, by rules or by a language model.

    Example: cirp refine --edits my-edits
    """
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
def check(
    edits: Annotated[Path, typer.Argument(help="Folder of edits, such as my-edits.")],
    models: MODELS = "miniature",
) -> None:
    """Check a folder of edits completely, without loading a model."""
    from cirp.data.edits import load_edits
    from cirp.diffusion.pipelines import load_tokenizer
    from cirp.experiments.cache import check_items

    items = load_edits(edits)
    check_items(items, load_tokenizer(models))
    masks = sum(item.record.mask_file_name is not None for item in items)
    typer.echo(f"{edits}: {len(items)} edits, {masks} with a mask, all readable")


@app.command()
@one_line
def explore() -> None:
    """Open JupyterLab with the explorer; it needs the extra `lab`."""
    from cirp.commands.explore import main

    main()


@app.command()
@one_line
@in_checkout
def book(
    edits: Annotated[
        Path | None, typer.Option(help="Your folder of edits. Default: the book's own 50.")
    ] = None,
    models: MODELS = "miniature",
    out: Annotated[
        Path, typer.Option(help="Folder for the book; new, or one that this command made before.")
    ] = Path("_build/own"),
    more: Annotated[
        list[str] | None,
        typer.Option(help="A further chapter: 05_sweeps or 06_tables; repeatable."),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="Parameter of the chapters, such as steps=20."),
    ] = None,
) -> None:
    """Make a book of your own pictures, or of other models; needs the checkout.

    Example: cirp book --edits my-edits --out my-book
    """
    import yaml

    from cirp.commands.own_book import build

    given = {k: yaml.safe_load(v) for k, v in assigned(parameter, "--parameter").items()}
    without = build(out, given, edits=edits, models=models, more=more or ())
    if without:
        typer.echo(f"Left out: {', '.join(without)}; the front page says why.")


from cirp import cli_authors  # noqa: E402, F401  (it adds its commands to `app`)
