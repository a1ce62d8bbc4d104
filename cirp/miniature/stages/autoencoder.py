"""AutoencoderKL, f = 4: 64 x 64 x 3 -> 16 x 16 x 4 (Rombach et al. 2022, section 3.1)."""

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.functional import avg_pool2d

from cirp.miniature.fit import Budget, Outcome, fit
from cirp.miniature.scene import SIZE
from cirp.miniature.stages.setup import Setup, half, save_half, tensor

KL_WEIGHT = 1e-5
EDGE_WEIGHT = 0.5
COLOUR_WEIGHT = 3.0


def build() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 128),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
    )


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def train(setup: Setup) -> Outcome:
    """L1 + L2, neighbouring pixels' differences, mean colours, a whisper of KL; no adversary."""
    corpus, sides = setup.corpus, ("source", "target", "leaked")
    model = build().to(setup.device, memory_format=torch.channels_last)

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
        model, losses, budget=budget, folder=setup.work, batch=setup.batch, name="autoencoder"
    )
    model.load_state_dict(state)
    model.eval()
    model.register_to_config(scaling_factor=round(1 / spread(model, setup), 4))
    model.load_state_dict(half(state))
    save_half(model, setup.models / "vae")
    return outcome


@torch.no_grad()
def spread(model: AutoencoderKL, setup: Setup) -> float:
    """The standard deviation of the latents, whose inverse is the `scaling_factor`."""
    x = tensor(setup.corpus.source[:512], setup.device)
    return float(model.encode(x).latent_dist.mode().std())
