"""What a UNet is told in words: the text towers' states, and with SDXL what else it asks for.

Stable Diffusion 1 and 2 attend to the last hidden states of one CLIP tower. SDXL (Podell et al.
2023, section 2.1) attends to the last hidden states but one of two towers side by side, and is also
told the second tower's pooled embedding and the sizes of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Text:
    """Prompts as a UNet takes them, one row each."""

    states: Float[Tensor, "prompt token channel"]
    pooled: Float[Tensor, "prompt width"] | None = None  # SDXL's second tower
    pixels_per_cell: int = 8  # of the latents, from which SDXL's UNet is told the picture's size

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, rows: Sequence[int] | slice) -> "Text":
        pooled = None if self.pooled is None else self.pooled[rows]
        return Text(self.states[rows], pooled, self.pixels_per_cell)

    def repeated(self, count: int) -> "Text":
        """Return a single prompt for `count` images."""
        pooled = None if self.pooled is None else self.pooled.expand(count, -1)
        return Text(self.states.expand(count, -1, -1), pooled, self.pixels_per_cell)


def joined(parts: Sequence[Text]) -> Text:
    """Return the rows of all, one after the other."""
    first = parts[0]
    pooled = None if first.pooled is None else torch.cat([part.pooled for part in parts])
    return Text(torch.cat([part.states for part in parts]), pooled, first.pixels_per_cell)


def is_xl(pipe) -> bool:
    """Whether a pipeline is of SDXL's kind, with a second text tower."""
    return getattr(pipe, "text_encoder_2", None) is not None


@torch.no_grad()
def states(prompts: Sequence[str], pipe) -> Float[Tensor, "prompt token channel"]:
    """A single text tower's last hidden states, padded to its full length, as pipelines feed them.

    Raises `ValueError` for a pipeline with two towers; see `encode_prompts`.
    """
    if is_xl(pipe):
        raise ValueError(f"{type(pipe).__name__} has two text towers; this needs a pipeline of one")
    ids = pipe.tokenizer(
        list(prompts),
        padding="max_length",
        max_length=pipe.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return pipe.text_encoder(ids.to(pipe.unet.device))[0].to(pipe.unet.dtype)


@torch.no_grad()
def encode_prompts(prompts: Sequence[str], pipe) -> Text:
    """Return the prompts as the pipeline's own text towers read them.

    An empty prompt is what the pipeline takes for none: SDXL's are often all zeros
    (`force_zeros_for_empty_prompt`).
    """
    if not is_xl(pipe):
        return Text(states(prompts, pipe), None, pipe.vae_scale_factor)
    found, _, pooled, _ = pipe.encode_prompt(list(prompts), do_classifier_free_guidance=False)
    if pipe.config.force_zeros_for_empty_prompt:
        said = torch.tensor([bool(prompt) for prompt in prompts], device=found.device)
        found, pooled = found * said[:, None, None], pooled * said[:, None]
    dtype = pipe.unet.dtype
    return Text(found.to(dtype), pooled.to(dtype), pipe.vae_scale_factor)


def predict(
    unet, latents: Float[Tensor, "row channel y x"], timestep: Tensor, text: Text
) -> Float[Tensor, "row _channel y x"]:
    """The UNet's output on scaled latents (and what is concatenated), each row told its prompt.

    SDXL is told that the picture was neither scaled nor cropped, as its pipelines do by default.
    """
    if text.pooled is None:
        return unet(latents, timestep, encoder_hidden_states=text.states, return_dict=False)[0]
    size = [side * text.pixels_per_cell for side in latents.shape[-2:]]
    sizes = torch.tensor([[*size, 0, 0, *size]], dtype=latents.dtype, device=latents.device)
    added = {"text_embeds": text.pooled, "time_ids": sizes.expand(len(latents), -1)}
    return unet(
        latents, timestep, encoder_hidden_states=text.states, added_cond_kwargs=added,
        return_dict=False,
    )[0]  # fmt: skip
