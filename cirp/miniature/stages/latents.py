"""What the UNets read, computed once: latents of every picture, states of every sentence."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKL
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from cirp.miniature.stages.setup import Setup, tensor


@dataclass(frozen=True)
class Prepared:
    """Latents are unscaled means of the posterior; the states are one row a sentence."""

    source: Float[Tensor, "pair channel row column"]
    target: Float[Tensor, "pair channel row column"]
    leaked: Float[Tensor, "pair channel row column"]
    states: Float[Tensor, "sentence token channel"]
    instruction: Tensor  # (pair,) row of `states`
    source_caption: Tensor
    target_caption: Tensor
    empty: int  # the row of ""
    scaling: float


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, pictures: np.ndarray, device, batch: int = 128) -> Tensor:
    share = pictures[mine()]
    found = []
    for start in tqdm(range(0, len(share), batch), desc="latents", unit="batch"):
        with torch.autocast(device.type, torch.bfloat16):
            mode = vae.encode(tensor(share[start : start + batch], device)).latent_dist.mode()
        found.append(mode.half().cpu())
    part = torch.cat(found).contiguous(memory_format=torch.contiguous_format)
    return gathered(part, len(pictures))


def mine() -> slice:
    """This process's share of the work: every n-th row."""
    if not dist.is_initialized():
        return slice(None)
    return slice(dist.get_rank(), None, dist.get_world_size())


def gathered(part: Tensor, count: int) -> Tensor:
    """All processes' shares in the original order."""
    if not dist.is_initialized():
        return part
    world = dist.get_world_size()
    padded = part.new_zeros(-(-count // world), *part.shape[1:])
    padded[: len(part)] = part
    shares = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(shares, padded)
    return torch.stack(shares, dim=1).flatten(0, 1)[:count]


@torch.no_grad()
def encode_sentences(
    tower: CLIPTextModel, tokenizer: CLIPTokenizer, sentences: list[str], device, batch: int = 256
) -> Tensor:
    """Exactly what the pipelines feed: padded to the full length, last hidden state."""
    share, found = sentences[mine()], []
    for start in tqdm(range(0, len(share), batch), desc="sentences", unit="batch"):
        ids = tokenizer(
            share[start : start + batch],
            padding="max_length",
            truncation=True,
            max_length=tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids.to(device)
        found.append(tower(ids)[0].half().cpu())
    return gathered(torch.cat(found), len(sentences))


def prepare(setup: Setup, cache: Path) -> Prepared:
    """Compute or load; the cache is one safetensors file."""
    vae = AutoencoderKL.from_pretrained(setup.part("vae")).to(setup.device).eval()
    rows = setup.corpus.rows
    fields = ("instruction", "source_caption", "target_caption")
    sentences = sorted({row[f] for row in rows for f in fields} | {""})
    place = {s: i for i, s in enumerate(sentences)}
    if not cache.exists():
        tower = CLIPTextModel.from_pretrained(setup.part("text_encoder")).to(setup.device).eval()
        tokenizer = CLIPTokenizer.from_pretrained(setup.part("tokenizer"))
        vae.to(memory_format=torch.channels_last)
        kept = {
            name: encode_pictures(vae, getattr(setup.corpus, name), setup.device)
            for name in ("source", "target", "leaked")
        }
        kept["states"] = encode_sentences(tower, tokenizer, sentences, setup.device)
        cache.parent.mkdir(parents=True, exist_ok=True)
        if not dist.is_initialized() or dist.get_rank() == 0:
            save_file(kept, cache)
        if dist.is_initialized():
            dist.barrier()
    kept = {k: v.to(setup.device) for k, v in load_file(cache).items()}
    if len(kept["source"]) != len(rows) or len(kept["states"]) != len(sentences):
        raise ValueError(f"{cache} was made from another corpus; delete it and run again")
    where = {f: torch.tensor([place[row[f]] for row in rows]) for f in fields}
    return Prepared(**kept, **where, empty=place[""], scaling=vae.config.scaling_factor)
