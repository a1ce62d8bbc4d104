"""InstructPix2Pix (Brooks et al. 2023), of Stable Diffusion and of SDXL."""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from cirp.attention.site import IMAGE, NEITHER, TEXT
from cirp.diffusion.editors.base import Editor, Latents, editor
from cirp.diffusion.text import encode_prompts, joined, predict


def scheduler_of(pipe: Any, steps: int) -> Any:
    """Return a copy of the pipeline's scheduler of its own, set to `steps`."""
    scheduler = copy.deepcopy(pipe.scheduler)
    scheduler.set_timesteps(steps, device=pipe.unet.device)
    times = scheduler.timesteps
    if hasattr(scheduler, "set_begin_index") and (times == times[0]).sum() > 1:
        # Karras' noise levels, rounded to timesteps, may begin with several equal ones. Schedulers
        # take the second of them for the first, and run out of levels at the end.
        scheduler.set_begin_index(0)
    return scheduler


@editor(
    "StableDiffusionInstructPix2PixPipeline", "StableDiffusionXLInstructPix2PixPipeline",
    "StableDiffusionPipeline", "StableDiffusionXLPipeline",
)  # fmt: skip
class InstructPix2Pix(Editor):
    """The source's latents are more channels of the UNet's input.

    Of the text-to-image pipelines that its weights come from, it only encodes and decodes.
    """

    controllable = True

    @property
    def resolution(self) -> int:
        return self.network.config.sample_size * self.factor

    @property
    def multiple(self) -> int:
        return math.lcm(8, self.factor)

    def encode(self, images) -> Latents:  # unscaled, as they are concatenated
        return self.pipe.vae.encode(self.pixels(images)).latent_dist.mode()

    def clean(self, shown: Latents) -> Latents:
        return shown * self.pipe.vae.config.scaling_factor

    def decode(self, latents: Latents) -> Tensor:
        scaling = self.pipe.vae.config.scaling_factor
        return self.pipe.vae.decode(latents / scaling, return_dict=False)[0]

    def schedule(self, steps: int, grid) -> Any:
        return scheduler_of(self.pipe, steps)

    def read(self, prompts, images, shown: Latents, scale: float):
        empty = encode_prompts([""], self.pipe).repeated(len(shown))
        text = {TEXT: encode_prompts(prompts, self.pipe), IMAGE: empty, NEITHER: empty}
        return text, {TEXT: shown, IMAGE: shown, NEITHER: torch.zeros_like(shown)}

    def rows(self, latents: Latents, time: Tensor, read, branches) -> Tensor:
        text, image = read
        x = torch.cat([latents] * len(branches))
        x = torch.cat([x, torch.cat([image[b] for b in branches])], dim=1)
        return predict(self.network, x, time, joined([text[b] for b in branches]))
