"""AutoencoderKL, f = 4: 64 x 64 x 3 -> 16 x 16 x 8 (Rombach et al. 2022, section 3.1).

Eight channels, not the four of Stable Diffusion: with the hour of two cores that these weights had,
four kept the outlines and lost the hues.
"""

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.functional import avg_pool2d

from cirp.miniature.fit import Budget, Outcome, fit
from cirp.miniature.scene import SIZE
from cirp.miniature.stages.setup import Setup, half, save_half, tensor

KL_WEIGHT = 1e-9  # of the sum over latents, beside means over pixels; more empties channels
EDGE_WEIGHT = 0.5
COLOUR_WEIGHT = 3.0
CHANNELS = 8


def build(channels: int = CHANNELS) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 128),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
    )


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def widen(narrow: AutoencoderKL) -> AutoencoderKL:
    """The same autoencoder with `CHANNELS` latent channels, all of them nearly free of noise."""
    wide = build()
    state, old = wide.state_dict(), narrow.state_dict()
    k = narrow.config.latent_channels
    for name, value in old.items():
        if state[name].shape == value.shape:
            state[name] = value
            continue
        grown = state[name]
        if name.startswith(("encoder.conv_out", "quant_conv")):  # means, then log variances
            rows = torch.cat([torch.arange(k), CHANNELS + torch.arange(k)])
            if name == "quant_conv.weight":
                grown[rows] = 0.0  # what was known does not hear of the new
                grown[rows[:, None], rows[None]] = value
            else:
                grown[rows] = value
        elif name == "post_quant_conv.weight":
            grown[:k, :k] = value
        elif name.endswith("bias"):
            grown[:k] = value
        else:  # decoder.conv_in
            grown[:, :k] = value
        state[name] = grown
    state["quant_conv.bias"][CHANNELS:] = -6.0  # log variances
    state["quant_conv.weight"][CHANNELS:] = 0.0
    wide.load_state_dict(state)
    return wide


def train(setup: Setup) -> Outcome:
    """Both halves, from nothing or from `setup.start`."""
    model = build()
    if setup.start:
        model = AutoencoderKL.from_pretrained(setup.parts / setup.start)
        model = model if model.config.latent_channels == CHANNELS else widen(model)
    outcome = _train(setup, model, "autoencoder")
    model.register_to_config(scaling_factor=round(1 / spread(model, setup), 4))
    save_half(model, setup.parts / "vae")
    return outcome


def train_decoder(setup: Setup) -> Outcome:
    """The decoder alone: latents, and the UNets that were trained on them, stay what they are."""
    model = AutoencoderKL.from_pretrained(setup.part("vae"))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(("decoder", "post_quant")))
    outcome = _train(setup, model, "decoder")
    for folder in (setup.parts / "vae", *setup.models.glob("*/vae")):
        save_half(model, folder)
    return outcome


def _train(setup: Setup, model: AutoencoderKL, name: str) -> Outcome:
    """L1 + L2, neighbouring pixels' differences, mean colours, a whisper of KL; no adversary."""
    corpus, sides = setup.corpus, ("source", "target", "leaked")
    model = model.to(setup.device, memory_format=torch.channels_last)

    def losses(step: int) -> Tensor:
        generator = setup.generator(step)
        index = torch.randint(len(corpus), (setup.batch,), generator=generator).numpy()
        x = tensor(getattr(corpus, sides[step % 3])[index], setup.device)
        if step % 2:
            x = x.flip(-1)
        with setup.autocast():
            posterior = model.encode(x).latent_dist
            y = model.decode(posterior.sample()).sample
        y = y.float()
        # hues are a small part of L1, and the last to be learnt without a term of their own
        colour = (avg_pool2d(x, 4) - avg_pool2d(y, 4)).abs().mean()
        edge = sum((a - b).abs().mean() for a, b in zip(edges(x), edges(y), strict=True))
        return (
            (x - y).abs().mean()
            + 2 * (x - y).square().mean()
            + EDGE_WEIGHT * edge
            + COLOUR_WEIGHT * colour
            + KL_WEIGHT * posterior.kl().mean().float()
        )

    budget = Budget(setup.minutes, setup.rate or 1.5e-3, ema=0.998)
    state, outcome = fit(
        model, losses, budget=budget, folder=setup.work, batch=setup.batch, name=name
    )
    model.load_state_dict(half(state))
    model.eval()
    return outcome


@torch.no_grad()
def spread(model: AutoencoderKL, setup: Setup) -> float:
    """The standard deviation of the latents, whose inverse is the `scaling_factor`."""
    x = tensor(setup.corpus.source[:512], setup.device)
    return float(model.encode(x).latent_dist.mode().std())
