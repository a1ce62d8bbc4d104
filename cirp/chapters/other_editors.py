"""The chapter on today's editors: what each runs, and that ours are their own pipelines' edits."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from diffusers import FluxKontextPipeline
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from cirp import figures
from cirp.attention.joint import JointRecord, watching
from cirp.attention.site import IMAGE, NEITHER, TEXT
from cirp.diffusion.editors import EDITORS
from cirp.diffusion.pipelines import Models
from cirp.experiments import tiny_editors as tiny
from cirp.figures.sentences import Paragraph, say

ROWS = {TEXT: "text and image", IMAGE: "image", NEITHER: "neither"}
SIDE, SAID = 16, "make the hat red"
TOKENS = {"text": 512, "picture": 4096, "source": 4096}  # FLUX.1 Kontext at 1024 x 1024
KINDS = {  # block of one softmax (who looks, at whom) -> what it says
    ("picture", "text"): "share",
    ("text", "picture"): "places",
    ("picture", "source"): "to the source",
}
HEADS = 24  # of a layer of FLUX.1 Kontext


def finding() -> Paragraph:
    """Return the chapter's answer."""
    total = sum(TOKENS.values())
    return say(
        "**In FLUX.1 Kontext a cell shares its attention among all tokens, of which "
        f"{TOKENS['text'] / total:.0%} are text.**",
        "To read a word's map, a recorder takes the text's columns alone, of a whole that would be "
        f"{HEADS * total**2 * 4 / 1e9:.1f} GB a layer.",
    )


def editors() -> pd.DataFrame:
    """Return what each editor runs, as its adapter says."""
    rows = {
        kind.__name__: {
            "rows a step": ", ".join(ROWS[branch] for branch in kind.branches),
            "remap's first step": len({*kind.branches, IMAGE}),
            "attention": "one softmax" if kind.joint else "cross-attention",
            "what is its own": (kind.__doc__ or "").strip().split("\n")[0],
        }
        for kind in EDITORS.values()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("editor").sort_index()


def anatomy() -> Figure:
    """Draw one softmax over text, picture and source, to scale, with what each block says."""
    names, sizes = list(TOKENS), np.array(list(TOKENS.values()), float)
    edges = np.concatenate([[0], np.cumsum(sizes)]) / sizes.sum()
    fig, ax = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
    for i, looks in enumerate(names):
        for j, at in enumerate(names):
            said = KINDS.get((looks, at), "")
            box = (edges[j], 1 - edges[i + 1]), edges[j + 1] - edges[j], edges[i + 1] - edges[i]
            colour = figures.PALETTE[1] if said else "none"
            ax.add_patch(Rectangle(*box, facecolor=colour, edgecolor="grey", alpha=0.6, lw=0.8))
            middle = (edges[j] + edges[j + 1]) / 2, 1 - (edges[i] + edges[i + 1]) / 2
            turned = 90 if at == "text" else 0
            ax.text(*middle, said, ha="center", va="center", rotation=turned, fontsize=10)
    middles = (edges[:-1] + edges[1:]) / 2
    ax.set_xticks(middles, [f"{n}\n{int(s)}" for n, s in zip(names, sizes, strict=True)])
    ax.set_yticks(1 - middles, names)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.set(xlabel="looked at (tokens)", ylabel="looks", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.spines[:].set_visible(False)
    return fig


def picture() -> Image.Image:
    """Return a small picture of many colours."""
    one = Image.linear_gradient("L").resize((SIDE, SIDE))
    return Image.merge("RGB", (one, one.rotate(90), one.rotate(180)))


def small() -> dict[str, tuple[Models, Callable[[int], Image.Image]]]:
    """Return tiny random editors, each with a function that calls its own pipeline for some steps.

    Qwen-Image-Edit's own pipeline brings every input to a million pixels, which is no job for a
    page: its equality is a test.
    """
    made = {
        "DreamLite": (tiny.tiny_dreamlite(), dict(guidance_scale=3.5, image_guidance_scale=1.5)),
        "FLUX.1 Kontext": (
            tiny.tiny_flux(FluxKontextPipeline),
            dict(guidance_scale=3.5, max_area=SIDE**2, _auto_resize=False),
        ),
    }
    found = {}
    for name, (pipe, call) in made.items():
        models = Models(name, pipe, pipe, "")
        models.editor.resolution = SIDE

        def own(steps: int, pipe=pipe, call=call) -> Image.Image:
            return pipe(
                prompt=SAID, image=picture(), height=SIDE, width=SIDE, num_inference_steps=steps,
                generator=torch.Generator().manual_seed(0), **call,
            ).images[0]  # fmt: skip

        found[name] = models, own
    return found


def equal(edit: Callable, record: Callable, steps: int = 3) -> pd.DataFrame:
    """Return how far `cirp.edit`, and what `cirp.record` sees of it, is from each own pipeline."""
    rows = {}
    for name, (models, own) in small().items():
        with record(models.instruct) as theirs:
            stock = own(steps)
        with record(models.instruct) as ours:
            made = edit(models, picture(), SAID, method="ip2p", steps=steps, quiet=True)
        apart = np.abs(np.asarray(stock).astype(int) - np.asarray(made.image))
        maps = np.abs(theirs.word_map("hat") - ours.word_map("hat"))
        rows[name] = {
            "network rows an edit": made.unet_calls,
            "pixels, of 255": int(apart.max()),
            "a word's map": f"{maps.max():.1e}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("largest difference")


def peers(steps: int = 2) -> pd.DataFrame:
    """Return how far our maps are from attention-map-diffusers', by layer, step and head."""
    from attention_map_diffusers import AttentionCapture

    rows = {}
    for name, pipe in {"SD3": tiny.tiny_sd3(), "FLUX": tiny.tiny_flux()}.items():
        call = dict(prompt=SAID, height=SIDE, width=SIDE, num_inference_steps=steps,
                    max_sequence_length=48, output_type="latent", guidance_scale=1.0)  # fmt: skip
        with watching(pipe.transformer, JointRecord()) as mine:
            pipe(**call, generator=torch.Generator().manual_seed(0))
        asked = dict(relations="image->text,text->image", timesteps="all", heads="all")
        with AttentionCapture(pipe, **asked) as capture:
            pipe(**call, generator=torch.Generator().manual_seed(0))
        theirs = {}
        for one in capture.compute():
            key = one.layer_id.removeprefix("transformer."), one.relation
            theirs.setdefault(key, {})[float(one.timestep)] = one.data
        far, maps = 0.0, 0
        for (layer, relation), by_time in theirs.items():
            for step, time in enumerate(sorted(by_time, reverse=True)):
                seen = next(c for c in mine.calls if (c.layer, c.step) == (layer, step))
                ours = seen.image_to_text if relation == "image->text" else seen.text_to_image.mT
                far, maps = max(far, float((ours - by_time[time]).abs().max())), maps + 1
        rows[name] = {"maps compared": maps, "largest difference": f"{far:.1e}"}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("pipeline")


def cost(table: pd.DataFrame) -> pd.DataFrame:
    """Return time and memory of recording at full size."""
    wide = table.pivot(index="editor", columns="way", values=["seconds_a_step", "peak_gib"])
    return pd.DataFrame(
        {
            "parameters (10⁹)": table.groupby("editor")["parameters"].first().round(2),
            "time, recorded over stock": (
                wide["seconds_a_step", "recorded"] / wide["seconds_a_step", "stock"]
            ).round(2),
            "peak of a step, GiB": wide["peak_gib", "stock"].round(2),
            "recorded, GiB": wide["peak_gib", "recorded"].round(2),
        }
    )
