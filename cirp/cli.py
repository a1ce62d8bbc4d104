"""The package from the command line. Errors: one line, exit code 2."""

import functools
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


class Method(StrEnum):
    ip2p = "ip2p"
    noisy = "noisy"


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


@app.command()
@one_line
def check(edits: Annotated[Path, typer.Option(help="A folder of edits.")]) -> None:
    """Check a folder of edits, completely, without loading a model."""
    from cirp.data.edits import load_edits

    items = load_edits(edits)
    masks = sum(item.record.mask_file_name is not None for item in items)
    typer.echo(f"{edits}: {len(items)} edits, {masks} with a mask, all readable")


@app.command()
@one_line
def run(
    edits: Annotated[Path, typer.Option(help="A folder of edits.")] = Path("data/edits"),
    models: Annotated[str, typer.Option(help="Preset, folder, or two hub names.")] = "miniature",
    shard: Annotated[int, typer.Option(help="Which share of the images.")] = 0,
    shards: Annotated[int, typer.Option(help="Of how many, one process each.")] = 1,
) -> None:
    """Compute what is not recorded of the full study; resumable, and shared between processes."""
    from cirp.experiments.study import fill

    fill(edits=str(edits.resolve()), models=models, shard=shard, shards=shards)


@app.command()
@one_line
def search(
    models: Annotated[str, typer.Option(help="Preset, folder, or two hub names.")] = "miniature",
    count: Annotated[int, typer.Option(help="Validation edits.")] = 24,
    shard: Annotated[int, typer.Option(help="Which share of the edits.")] = 0,
    shards: Annotated[int, typer.Option(help="Of how many; 1 writes the choice.")] = 1,
    only: Annotated[str | None, typer.Option(help="Renew one contender alone.")] = None,
) -> None:
    """Choose every contender's settings on validation edits, with one budget for all."""
    from cirp.experiments.search import search

    found = search(models=models, count=count, shard=shard, shards=shards, only=only)
    if found is not None:
        typer.echo(found.round(4).to_string(index=False))


@app.command()
@one_line
def benchmark(
    models: Annotated[str, typer.Option(help="Preset, folder, or two hub names.")] = "miniature",
    count: Annotated[int, typer.Option(help="Test edits.")] = 500,
    shard: Annotated[int, typer.Option(help="Which share of the edits.")] = 0,
    shards: Annotated[int, typer.Option(help="Of how many, one process each.")] = 1,
) -> None:
    """Compute what is not recorded of all methods on the held-out test edits; resumable, shared."""
    from cirp.experiments.benchmark import fill

    fill(models=models, count=count, shard=shard, shards=shards)


@app.command()
@one_line
def edit(
    image: Annotated[Path, typer.Option(help="The image to edit.")],
    out: Annotated[Path, typer.Option(help="Where the edited image goes.")],
    instruction: Annotated[str, typer.Option(help="What to do.")] = "",
    caption: Annotated[str, typer.Option(help="What the result shows (noisy input).")] = "",
    method: Annotated[Method, typer.Option(help="How.")] = Method.ip2p,
    models: Annotated[str, typer.Option(help="Preset, folder, or two hub names.")] = "miniature",
    seed: int = 0,
    steps: int = 150,
    text_scale: Annotated[float | None, typer.Option(help="Text guidance.")] = None,
    image_scale: Annotated[float | None, typer.Option(help="Image guidance (ip2p).")] = None,
    strength: Annotated[float | None, typer.Option(help="Noise share (noisy).")] = None,
    device: str = "cpu",
) -> None:
    """Edit one image."""
    from cirp.data.images import open_image
    from cirp.diffusion.pipelines import load, load_tokenizer, resolve
    from cirp.diffusion.sampling import Task, check_prompts, check_settings
    from cirp.methods import METHODS

    resolve(models)
    opened = open_image(image)
    if method is Method.ip2p and strength is not None:
        raise ValueError(f"strength={strength} belongs to the noisy method; drop it")
    given = dict(text_scale=text_scale, image_scale=image_scale, strength=strength)
    settings = {name: value for name, value in given.items() if value is not None}
    check_settings(steps=steps, **settings)
    words = instruction if method is Method.ip2p else caption
    if not words.strip():
        wanted = "--instruction" if method is Method.ip2p else "--caption"
        raise ValueError(f"no prompt; give {wanted}")
    task = Task(opened, instruction, caption or None, seed, key=image.name)
    said = "instruction" if method is Method.ip2p else "caption"
    check_prompts(load_tokenizer(models), [task], said)
    (made,) = METHODS[method.value](load(models, device=device), [task], steps=steps, **settings)
    made.image.save(out)
    typer.echo(f"{out}: {made.unet_calls} UNet rows, {made.seconds:.1f} s")


if __name__ == "__main__":
    app()
