"""DreamLite (2603.28713): InstructPix2Pix's guidance on a small UNet, target and source in one."""

import torch
from torch import Tensor

from cirp.attention.record import grid_of
from cirp.attention.site import NEITHER, TEXT
from cirp.diffusion.editors.base import Editor, Latents, editor


@editor("DreamLitePipeline")
class DreamLite(Editor):
    """The UNet's input is twice as wide: the target on the left, the source on the right."""

    most = 1
    before = (
        "[Edit]: A diptych with two side-by-side images of the same scene. "
        "Compared to the right side, the left one has "
    )
    defaults = {"steps": 30, "text_scale": 3.5, "image_scale": 1.5}

    def encode(self, images) -> Latents:
        return self.pipe.vae.encode(self.pixels(images)).latents

    def _shift(self) -> float:
        return getattr(self.pipe.vae.config, "shift_factor", 0.0) or 0.0

    def clean(self, shown: Latents) -> Latents:
        return (shown - self._shift()) * self.pipe.vae.config.scaling_factor

    def decode(self, latents: Latents) -> Tensor:
        x = latents / self.pipe.vae.config.scaling_factor + self._shift()
        return self.pipe.vae.decode(x, return_dict=False)[0]

    def read(self, prompts, images, shown: Latents, scale: float):
        states, mask = self.pipe.encode_prompt(
            mode="edit", prompts=["", self.before + prompts[0]], image=images[0],
            device=self.network.device, dtype=self.network.dtype,
        )  # fmt: skip
        return states, mask, shown, images[0].size

    def rows(self, latents: Latents, time: Tensor, read, branches) -> Tensor:
        states, mask, shown, size = read
        who = [int(branch == TEXT) for branch in branches]
        beside = [torch.zeros_like(shown) if b == NEITHER else shown for b in branches]
        x = torch.cat([latents] * len(branches))
        said = self.network(
            torch.cat([x, torch.cat(beside)], dim=3),
            timestep=time.expand(len(x)).to(latents.dtype),
            encoder_hidden_states=states[who], encoder_attention_mask=mask[who],
            added_cond_kwargs={"time_ids": torch.tensor([size] * len(x)).to(latents)},
            return_dict=False,
        )[0]  # fmt: skip
        return said[..., : latents.shape[-1]]

    def cells(self, queries: int, grid):
        return grid_of(queries // 2, grid)

    def target(self, picture: Tensor, grid) -> Tensor:
        rows, columns = self.cells(picture.shape[1], grid)
        return picture.unflatten(1, (rows, 2 * columns))[:, :, :columns]

    def spread(self, weights: Tensor) -> Tensor:
        return weights.repeat(1, 1, 2).flatten(1)
