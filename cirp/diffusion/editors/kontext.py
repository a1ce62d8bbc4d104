"""FLUX.1 Kontext (2506.15742): joint attention, and guidance that was distilled into one row."""

import torch
from torch import Tensor

from cirp.attention.site import TEXT
from cirp.diffusion.editors.base import JointEditor, Latents, editor


@editor("FluxKontextPipeline")
class Kontext(JointEditor):
    """The text scale is told to the network, so a row without text is run only to compare."""

    branches = (TEXT,)
    defaults = {"steps": 28, "text_scale": 3.5}
    tokens = "tokenizer_2"

    def encode(self, images) -> Latents:
        config = self.pipe.vae.config
        x = self.pipe.vae.encode(self.pixels(images)).latent_dist.mode()
        return (x - config.shift_factor) * config.scaling_factor

    def decode(self, latents: Latents) -> Tensor:
        config = self.pipe.vae.config
        x = latents / config.scaling_factor + config.shift_factor
        return self.pipe.vae.decode(x, return_dict=False)[0]

    def read(self, prompts, images, shown: Latents, scale: float):
        both = [
            self.pipe.encode_prompt(said, None, device=self.network.device)
            for said in (prompts[0], "")
        ]
        states, pooled = (torch.cat([one[i] for one in both]) for i in range(2))
        text_ids = both[0][2]
        rows, columns = shown.shape[-2] // 2, shown.shape[-1] // 2
        target = self.pipe._prepare_latent_image_ids(1, rows, columns, states.device, states.dtype)
        source = target.clone()
        source[..., 0] = 1
        ids = torch.cat([target, source])
        return states, pooled, text_ids, ids, self.pack(shown), scale

    def rows(self, latents: Latents, time: Tensor, read, branches) -> Tensor:
        states, pooled, text_ids, ids, shown, scale = read
        who = [int(branch != TEXT) for branch in branches]
        x = torch.cat([self.pack(latents), shown], dim=1)
        told = self.network.config.guidance_embeds
        said = self.network(
            hidden_states=x.expand(len(who), -1, -1),
            timestep=time.expand(len(who)).to(latents.dtype) / 1000,
            guidance=torch.full([len(who)], scale, device=x.device) if told else None,
            pooled_projections=pooled[who], encoder_hidden_states=states[who],
            txt_ids=text_ids, img_ids=ids, return_dict=False,
        )[0]  # fmt: skip
        return self.unpack(said, latents.shape[-2:])

    def guided(self, said, *, text_scale: float, image_scale: float) -> Latents:
        return said[TEXT]
