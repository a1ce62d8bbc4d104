"""The explorer's engine for a page without a kernel: the miniature as ONNX, for ONNX Runtime Web.

    cirp page-engine        writes it into the book's static files

The UNet is exported with all three of InstructPix2Pix's rows, with every cross-attention layer's
maps as further outputs, and with the interventions as inputs: weights of the tokens, their order
(to swap two), for each grid the region outside of which the text row attends as the row without
instruction, and for each layer the maps of another run and whether it is frozen to them. The
scheduler, guidance and holds are in `static/engine.js`, equal to `cirp.explorer.runs` to rounding
(`tests/test_explorer_page.py`).
"""

import gzip
import io
import json
import logging
import shutil
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from cirp.attention.record import grid_of
from cirp.data.edits import EditItem, load_edits
from cirp.diffusion.pipelines import Models, load
from cirp.diffusion.sampling import scheduler_of
from cirp.diffusion.tasks import initial_noise
from cirp.editing.driver import begin_edit
from cirp.experiments import cache
from cirp.experiments.records import item_hash, short_hash
from cirp.explorer.messages import PAGE_SEEDS, place_of
from cirp.explorer.widget import STATIC
from cirp.paths import EDITS, MODELS, ROOT, replacing

OUT = ROOT / "book" / "_extra" / "_static" / "explorer"
MOST_STEPS = 50
FRONT = "change-colour-3"  # the edit of the front page, which chapter 1 finds by its rule
LARGE = 256  # numbers from which a weight is worth storing in half


class Maps:
    """A plain attention processor whose cross-attention can be weighed, reordered and held."""

    def __init__(self, inputs: dict[str, Tensor], kept: list[Tensor]) -> None:
        self.inputs, self.kept = inputs, kept

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_) -> Tensor:
        cross = encoder_hidden_states is not None
        context = encoder_hidden_states if cross else hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        rows, cells, width = query.shape
        heads = attn.heads

        def split(x: Tensor) -> Tensor:
            return x.reshape(rows, -1, heads, width // heads).transpose(1, 2)

        probs = (split(query) @ split(key).transpose(-1, -2) * attn.scale).softmax(-1)
        if cross:
            text, image = probs[0:1], probs[1:2]
            inside = self.inputs[f"inside{cells}"].reshape(1, 1, cells, 1)
            text = inside * text + (1 - inside) * image
            text = text.index_select(3, self.inputs["order"]) * self.inputs["weights"]
            layer = len(self.kept)
            before, frozen = self.inputs[f"before{layer}"], self.inputs["frozen"][layer]
            text = frozen * before.unsqueeze(0) + (1 - frozen) * text
            probs = torch.cat([text, probs[1:]])
            self.kept.append(probs)
        out = (probs @ split(value)).transpose(1, 2).reshape(rows, cells, width)
        return attn.to_out[0](out)


class Step(nn.Module):
    """One call of the UNet: velocity, and every layer's maps (branch, head, cell, token)."""

    def __init__(self, unet, names: Sequence[str]) -> None:
        super().__init__()
        self.unet, self.names = unet, tuple(names)

    def forward(self, x: Tensor, t: Tensor, states: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        kept: list[Tensor] = []
        inputs = dict(zip(self.names, given, strict=True))
        self.unet.set_attn_processor(Maps(inputs, kept))
        velocity = self.unet(x, t, states, return_dict=False)[0]
        return velocity, *kept


class Text(nn.Module):
    """Tokens to hidden states."""

    def __init__(self, tower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, tokens: Tensor) -> Tensor:
        return self.tower(tokens).last_hidden_state


class Decoder(nn.Module):
    """Scaled latents to a picture, 0 to 1."""

    def __init__(self, vae) -> None:
        super().__init__()
        self.vae, self.scaling = vae, float(vae.config.scaling_factor)

    def forward(self, latents: Tensor) -> Tensor:
        picture = self.vae.decode(latents / self.scaling, return_dict=False)[0]
        return (picture / 2 + 0.5).clamp(0, 1)


def layers_of(models: Models) -> list[dict]:
    """Name, grid and heads of each cross-attention layer, in the order the UNet calls them."""
    seen: list[dict] = []
    side = models.instruct.unet.config.sample_size

    class Look:
        def __call__(self, attn, hidden_states, encoder_hidden_states=None, **rest):
            if encoder_hidden_states is not None:
                rows, columns = grid_of(hidden_states.shape[1], (side, side))
                seen.append({"rows": rows, "columns": columns, "heads": attn.heads, "branches": 3})
            return torch.zeros_like(hidden_states)

    unet = models.instruct.unet
    before = dict(unet.attn_processors)
    names = []
    hooks = [
        layer.register_forward_pre_hook(lambda *_, name=name: names.append(name))
        for name, layer in unet.named_modules()
        if name.endswith("attn2")
    ]
    unet.set_attn_processor(Look())
    with torch.no_grad():
        width = models.instruct.text_encoder.config.hidden_size
        unet(torch.zeros(3, unet.config.in_channels, side, side), 1, torch.zeros(3, 4, width))
    unet.set_attn_processor(before)
    for hook in hooks:
        hook.remove()
    return [{"name": name, **one} for name, one in zip(names, seen, strict=True)]


def _export(module: nn.Module, arguments: tuple, path: Path, inputs, outputs) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    said = io.StringIO()  # the exporter fills screens; what it says is shown if it fails
    with torch.no_grad(), warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said):
        warnings.simplefilter("ignore")
        try:
            made = torch.onnx.export(
                module.eval(), arguments, dynamo=True, input_names=list(inputs),
                output_names=list(outputs), verbose=False,
            )  # fmt: skip
            made.optimize()
        except Exception as error:
            raise RuntimeError(f"{path.name} could not be exported:\n{said.getvalue()}") from error
    onnx.save(halved(made.model_proto), path)


def halved(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with each weight that float16 holds exactly stored so, and cast when loaded.

    The runtime folds the casts away once: what it computes is unchanged, what is loaded is less.
    """
    casts = []
    for weight in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < LARGE:
            continue
        with np.errstate(over="ignore"):
            small = values.astype(np.float16)
        if not np.array_equal(small.astype(np.float32), values):
            continue
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(small, f"{name}.half"))
        casts.append(
            onnx.helper.make_node("Cast", [weight.name], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return graph


def packed(path: Path) -> Path:
    """Return the file gzipped beside itself, without a time in it; the plain one is deleted."""
    made = path.with_name(f"{path.name}.gz")
    made.write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    path.unlink()
    return made


def export(models: Models, folder: Path) -> dict:
    """Write the three graphs, gzipped; what the page has to know of them."""
    folder.mkdir(parents=True, exist_ok=True)
    unet, tower = models.instruct.unet, models.instruct.text_encoder
    before = dict(unet.attn_processors)
    side, length = unet.config.sample_size, models.instruct.tokenizer.model_max_length
    layers = layers_of(models)
    grids = sorted({one["rows"] * one["columns"] for one in layers}, reverse=True)
    tokens = torch.zeros(1, length, dtype=torch.int64)
    _export(Text(tower), (tokens,), folder / "text.onnx", ["tokens"], ["states"])
    more = {"weights": torch.ones(length), "order": torch.arange(length)}
    more |= {f"inside{cells}": torch.ones(cells) for cells in grids}
    more |= {"frozen": torch.zeros(len(layers))}
    more |= {
        f"before{i}": torch.zeros(one["heads"], one["rows"] * one["columns"], length)
        for i, one in enumerate(layers)
    }
    step = (
        torch.randn(3, unet.config.in_channels, side, side), torch.tensor(500.0),
        torch.randn(3, length, tower.config.hidden_size), *more.values(),
    )  # fmt: skip
    names = ["x", "t", "states", *more]
    outputs = ["velocity", *(f"map{i}" for i in range(len(layers)))]
    try:
        _export(Step(unet, list(more)), step, folder / "unet.onnx", names, outputs)
    finally:
        unet.set_attn_processor(before)
    channels = unet.config.out_channels
    latents = torch.randn(1, channels, side, side)
    _export(Decoder(models.vae), (latents,), folder / "decoder.onnx", ["latents"], ["picture"])
    for name in ("text", "unet", "decoder"):
        packed(folder / f"{name}.onnx")
    scheduler = models.instruct.scheduler
    return {
        "layers": layers,
        "grids": grids,
        "side": side,
        "channels": channels,
        "length": length,
        "scaling": float(models.vae.config.scaling_factor),
        "alphas": [float(a) for a in scheduler.alphas_cumprod],
        "final": float(scheduler.final_alpha_cumprod),
        "shown": [{**one, "name": place_of(one["name"])} for one in layers],
        "timesteps": {
            steps: scheduler_of(models.instruct, steps).timesteps.tolist()
            for steps in range(1, MOST_STEPS + 1)
        },
        "begin": models.instruct.tokenizer.bos_token_id,
        "end": models.instruct.tokenizer.eos_token_id,
        "pad": models.instruct.tokenizer.pad_token_id,
    }


def pictures(models: Models, items: Sequence[EditItem], folder: Path) -> list[dict]:
    """Latents and noises of each picture as float32 in one file; where each begins."""
    found, parts = [], []
    for item in items:
        start = begin_edit(models, [cache.task(item, 0)])
        parts.append(start.source.numpy().astype("<f4"))
        for seed in range(PAGE_SEEDS):
            noise, _ = initial_noise([cache.task(item, seed)], start.source)
            parts.append(noise.numpy().astype("<f4"))
        found.append({"id": item.id, "offset": len(found) * (1 + PAGE_SEEDS)})
    (folder / "pictures.f32").write_bytes(b"".join(part.tobytes() for part in parts))
    packed(folder / "pictures.f32")
    return found


def shown_items() -> list[EditItem]:
    """The book's edits as the page shows them: the front page's, one of each kind, the rest."""
    every = load_edits(EDITS)
    others = [item for item in every if not item.record.example]
    firsts = list({item.record.edit_type: item for item in reversed(others)}.values())[::-1]
    examples = [item for item in every if item.record.example]
    rest = [item for item in others if item not in firsts]
    return sorted([*firsts, *examples, *rest], key=lambda item: item.id != FRONT)


def main(folder: Path = OUT) -> None:
    """Write the page's engine: graphs, pictures, tokenizer, and what ties them together."""
    models = load("miniature")
    shown = shown_items()
    pictures_of = [PAGE_SEEDS, *(item_hash(item) for item in shown)]
    made_of = [
        models.state,
        short_hash([Path(__file__).read_text(encoding="utf-8"), *pictures_of]),
    ]
    stamp = folder / "engine.json"
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")).get("made of") == made_of:
        shutil.copy(STATIC / "engine.js", folder / "engine.js")  # it may have changed
        print(f"{folder} is of these weights already")
        return
    known = export(models, folder)
    items = cache.fitted(shown, models)
    known |= {
        "made of": made_of,
        "seeds": PAGE_SEEDS,
        "items": pictures(models, items, folder),
    }
    tokenizer = json.loads(
        (MODELS / "instruct-pix2pix" / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8")
    )["model"]
    known["vocabulary"] = tokenizer["vocab"]
    known["merges"] = [
        pair if isinstance(pair, list) else pair.split(" ") for pair in tokenizer["merges"]
    ]
    known["megabytes"] = {path.name: path.stat().st_size / 1e6 for path in folder.glob("*.gz")}
    shutil.copy(STATIC / "engine.js", folder / "engine.js")
    with replacing(stamp) as half:
        half.write_text(json.dumps(known), encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB")
