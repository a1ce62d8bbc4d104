"""What the UNets read, computed once: latents of every picture, tokens of every sentence."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKL
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTokenizer

from cirp.miniature.training.objective import processes
from cirp.miniature.training.setup import Setup, first_makes, tensor
from cirp.miniature.training.stages.tokenizer import LENGTH

CHUNK = 2000
SIDES = ("source", "target", "leaked")


@dataclass(frozen=True)
class Prepared:
    """Latents are means of the posterior, unscaled, float16, read lazily from disk."""

    source: np.ndarray  # (pair, channel, row, column)
    target: np.ndarray
    leaked: np.ndarray
    tokens: Int[Tensor, "sentence token"]
    instructions: Int[Tensor, "pair wording"]  # rows of `tokens`, some several times
    source_caption: Int[Tensor, " pair"]
    target_caption: Int[Tensor, " pair"]
    empty: int  # the row of ""
    scaling: float

    def latents(self, side: str, index: Tensor) -> Float[Tensor, "n channel row column"]:
        """Unscaled, float32."""
        return torch.from_numpy(np.asarray(getattr(self, side)[index.numpy()])).float()


def _chunk(folder: Path, side: str, start: int) -> Path:
    return folder / f"{side}-{start:08d}.npy"


@torch.no_grad()
def encode(setup: Setup, folder: Path) -> None:
    """Encode all pictures, chunk by chunk; chunks that are there are not encoded again."""
    folder.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderKL.from_pretrained(setup.part("vae")).to(setup.device).eval()
    vae.to(memory_format=torch.channels_last)
    rank, world = processes()
    count = len(setup.corpus)
    jobs = [(side, s) for side in SIDES for s in range(0, count, CHUNK)]
    todo = [job for job in jobs[rank::world] if not _chunk(folder, *job).exists()]
    for side, start in tqdm(todo, desc="latents", unit="chunk", disable=rank > 0):
        pictures = getattr(setup.corpus, side)[start : start + CHUNK]
        found = []
        for some in np.array_split(pictures, max(1, len(pictures) // 100)):
            with setup.autocast():
                mode = vae.encode(tensor(some, setup.device)).latent_dist.mode()
            found.append(mode.contiguous(memory_format=torch.contiguous_format).half().cpu())
        half = _chunk(folder, side, start).with_suffix(".tmp.npy")
        np.save(half, torch.cat(found).numpy())
        half.replace(_chunk(folder, side, start))
    if world > 1:
        dist.barrier()


def _joined(folder: Path, side: str, count: int) -> np.ndarray:
    parts = [np.load(_chunk(folder, side, s), mmap_mode="r") for s in range(0, count, CHUNK)]
    return np.concatenate(parts)


def sentences(setup: Setup, path: Path) -> None:
    """Tokens of every sentence, and which pair says which; written to `path`."""
    rows = setup.corpus.rows
    tokenizer = CLIPTokenizer.from_pretrained(setup.part("tokenizer"))
    wordings = [[row["instruction"], *row["wordings"]] for row in rows]
    captions = {f"{side}_caption": [row[f"{side}_caption"] for row in rows] for side in SIDES[:2]}
    said = sorted({s for some in (*wordings, *captions.values()) for s in some} | {""})
    place = {s: i for i, s in enumerate(said)}
    ids = tokenizer(
        said, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="np"
    )
    most = max(map(len, wordings))
    half = path.with_suffix(".tmp.npz")
    np.savez(
        half,
        tokens=ids.input_ids.astype(np.int32),
        instructions=[[place[some[i % len(some)]] for i in range(most)] for some in wordings],
        empty=place[""],
        **{side: [place[s] for s in some] for side, some in captions.items()},
    )
    half.replace(path)


def prepare(setup: Setup) -> Prepared:
    """Compute what is missing, load the rest."""
    folder, count = setup.parts / "latents", len(setup.corpus)
    encode(setup, folder)
    path = folder / f"sentences-{count}.npz"
    first_makes(path, lambda path: sentences(setup, path), lambda path: None)
    scaling = AutoencoderKL.load_config(setup.part("vae"))["scaling_factor"]
    with np.load(path) as words:
        empty = int(words["empty"])
        words = {name: torch.from_numpy(words[name]) for name in words.files if name != "empty"}
    latents = {side: _joined(folder, side, count) for side in SIDES}
    return Prepared(**latents, **words, empty=empty, scaling=float(scaling))
