"""Qwen-Image-Edit (2508.02324): joint attention, and the change with the text for free."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cirp.attention.site import IMAGE, TEXT
from cirp.diffusion.editors.base import JointEditor, Latents, combine, editor


@editor("QwenImageEditPipeline")
class QwenImageEdit(JointEditor):
    """Both rows see the picture; its guidance keeps the length of the row with the text."""

    branches = (TEXT, IMAGE)
    defaults = {"steps": 50, "text_scale": 4.0}

    def _moments(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config = self.pipe.vae.config
        mean, std = torch.tensor([config.latents_mean, config.latents_std]).to(like)
        return mean[:, None, None], std[:, None, None]

    def encode(self, images) -> Latents:
        x = self.pipe.vae.encode(self.pixels(images)[:, :, None]).latent_dist.mode()[:, :, 0]
        mean, std = self._moments(x)
        return (x - mean) / std

    def decode(self, latents: Latents) -> Tensor:
        mean, std = self._moments(latents)
        x = (latents * std + mean)[:, :, None]  # a film of one picture
        return self.pipe.vae.decode(x, return_dict=False)[0][:, :, 0]

    def read(self, prompts, images, shown: Latents, scale: float):
        both = [
            self.pipe.encode_prompt(said, image=images[0], device=self.network.device)[0][0]
            for said in (prompts[0], " ")
        ]
        mask = pad_sequence([torch.ones(len(one), dtype=torch.long) for one in both], True)
        return pad_sequence(both, True), mask.to(shown.device), self.pack(shown)

    def rows(self, latents: Latents, time: Tensor, read, branches) -> Tensor:
        states, mask, shown = read
        who = [(TEXT, IMAGE).index(branch) for branch in branches]
        grid = latents.shape[-2:]
        x = torch.cat([self.pack(latents), shown], dim=1)
        shape = (1, grid[0] // 2, grid[1] // 2)
        said = self.network(
            hidden_states=x.expand(len(who), -1, -1),
            timestep=time.expand(len(who)).to(latents.dtype) / 1000,
            encoder_hidden_states=states[who],
            encoder_hidden_states_mask=mask[who],
            img_shapes=[[shape, shape]] * len(who), return_dict=False,
        )[0]  # fmt: skip
        return self.unpack(said, grid)

    def guided(self, said, *, text_scale: float, image_scale: float) -> Latents:
        mixed = combine(said[TEXT], said[IMAGE], said[IMAGE], text_scale=text_scale, image_scale=1)
        text, both = self.pack(said[TEXT]), self.pack(mixed)
        share = text.norm(dim=-1, keepdim=True) / both.norm(dim=-1, keepdim=True)
        return self.unpack(both * share, mixed.shape[-2:])
