"""AutoencoderKL, f = 4: 64 x 64 x 3 -> 16 x 16 x 8 (Rombach et al. 2022, section 3.1).

Differs from the paper in what keeps the latents in order. Noise of a fixed share of their own
spread takes the place of the KL term: a channel that carries little would drown in it, so all of
them are used. Half of each batch is also decoded from latents of half the resolution to the
picture of half the resolution (Kouzelis et al. 2025, "EQ-VAE"), which keeps latents smooth and
easy to diffuse.
"""

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import avg_pool2d

from cirp.miniature.scene import CHANGED, SIZE
from cirp.miniature.training.loop import fit
from cirp.miniature.training.objective import Objective
from cirp.miniature.training.schedule import Outcome, Schedule
from cirp.miniature.training.setup import Setup, bytes_of, save_half, tensor

CHANNELS = 8
NOISE = 0.05  # of the latents' standard deviation
EDGE_WEIGHT = 0.5
COLOUR_WEIGHT = 3.0
SMALL_WEIGHT = 0.3  # share of a picture's loss that its edited region has, however small
HALF_WEIGHT = 0.25
DECODED_NOISE = 0.02  # of latents whose spread is 1, where the decoder alone is trained
SQUARES = 4.0  # weight of the plain squared error there: it is what the signal-to-noise ratio reads
KIND_WEIGHTS = {"change expression": 4.0, "change part": 2.0}  # where the decoder alone is trained
SIDES = ("source", "target")


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


def weights(
    source: Float[Tensor, "n 3 row column"], target: Float[Tensor, "n 3 row column"]
) -> Float[Tensor, "n 1 row column"]:
    """Mean 1 over each picture; the region that an edit changes has `SMALL_WEIGHT` of it."""
    changed = (source - target).abs().amax(dim=1, keepdim=True) > CHANGED / 127.5
    share = changed.float().mean(dim=(2, 3), keepdim=True)
    boost = (1 / share.clamp(min=0.01)).clamp(max=20)
    plain = torch.where(share > 0, 1 - SMALL_WEIGHT, 1.0)
    return plain + SMALL_WEIGHT * boost * changed


def error(
    x: Float[Tensor, "n 3 row column"],
    y: Float[Tensor, "n 3 row column"],
    weight: Float[Tensor, "n 1 row column"],
) -> Tensor:
    """L1 + L2, neighbouring pixels' differences, mean colours; no adversary."""
    slopes = [
        ((a - b).abs() * w).mean()
        for a, b, w in zip(
            edges(x), edges(y), (weight[..., 1:, :], weight[..., :, 1:]), strict=True
        )
    ]
    # hues are a small part of L1, and the last to be learnt without a term of their own
    colour = (avg_pool2d(x - y, 4)).abs().mean()
    pixels = ((x - y).abs() + 2 * (x - y).square()) * weight
    return pixels.mean() + EDGE_WEIGHT * sum(slopes) + COLOUR_WEIGHT * colour


class Reconstruction(Objective):
    """Pictures through noisy latents and back."""

    alike = True

    def __init__(self, setup: Setup, model: AutoencoderKL):
        super().__init__()
        self.model = model.to(setup.device, memory_format=torch.channels_last)
        self.setup, self.batch = setup, setup.batch

    def draw(self, step: int) -> tuple[Tensor, ...]:
        """Pictures, what the pairs' other sides are, noise of the latents."""
        corpus, generator = self.setup.corpus, self.setup.generator(step)
        index = self.chosen(generator).numpy()
        shown, other = (bytes_of(getattr(corpus, SIDES[(step + k) % 2])[index]) for k in (0, 1))
        if torch.rand((), generator=generator) < 0.5:
            shown, other = shown.flip(2), other.flip(2)
        config = self.model.config
        side = SIZE // 2 ** (len(config.block_out_channels) - 1)
        shape = (self.batch, config.latent_channels, side, side)
        return shown, other, torch.randn(shape, generator=generator)

    def chosen(self, generator: torch.Generator) -> Int64[Tensor, " pair"]:
        """Which pairs of the corpus a batch has: any, alike often."""
        return torch.randint(len(self.setup.corpus), (self.batch,), generator=generator)

    def forward(self, shown: Tensor, other: Tensor, noise: Tensor) -> Tensor:
        x = tensor(shown)
        weight = weights(x, tensor(other))
        half = -(-len(x) // 2)  # of the batch is also decoded at half the resolution
        with self.setup.autocast():
            latents = self.model.encode(x).latent_dist.mean
            noisy = latents + NOISE * latents.detach().std() * noise.to(latents)
            y = self.model.decode(noisy).sample
            small = self.model.decode(avg_pool2d(noisy[:half], 2)).sample
        aim, some = avg_pool2d(x[:half], 2), avg_pool2d(weight[:half], 2)
        return error(x, y.float(), weight) + 0.5 * HALF_WEIGHT * error(aim, small.float(), some)


class Decoding(Reconstruction):
    """Latents, as good as they are, to pictures: the encoder is not moved, nor what reads it."""

    def __init__(self, setup: Setup, model: AutoencoderKL):
        super().__init__(setup, model)
        self.model.encoder.requires_grad_(False)
        self.model.quant_conv.requires_grad_(False)
        kinds = (row["kind"] for row in setup.corpus.rows)
        self.often = torch.tensor([KIND_WEIGHTS.get(kind, 1.0) for kind in kinds])

    def chosen(self, generator: torch.Generator) -> Int64[Tensor, " pair"]:
        """More pairs of the kinds whose change is small: a mouth is a few pixels."""
        return torch.multinomial(self.often, self.batch, replacement=True, generator=generator)

    def forward(self, shown: Tensor, other: Tensor, noise: Tensor) -> Tensor:
        x = tensor(shown)
        with torch.no_grad():
            latents = self.model.encode(x).latent_dist.mean
        with self.setup.autocast():
            y = self.model.decode(latents + DECODED_NOISE * noise.to(latents)).sample
        return error(x, y.float(), weights(x, tensor(other))) + SQUARES * (x - y).square().mean()


def train_decoder(setup: Setup) -> Outcome:
    """The finished vae's decoder alone, for longer: what was trained on its latents stays valid."""
    model = AutoencoderKL.from_pretrained(setup.start or setup.part("vae"))
    schedule = Schedule(
        setup.samples, setup.rate or 1e-3, warmup=setup.warmup(2000), decay=0.5, ema=0.998
    )
    model, outcome = fit(
        Decoding(setup, model), schedule=schedule, folder=setup.work, name="decoder",
        limit=setup.limit,
    )  # fmt: skip
    save_half(model, setup.parts / "vae")
    return outcome


def train(setup: Setup) -> Outcome:
    """Both halves, from nothing or `setup.start`; then whitened and written as a stock vae."""
    torch.manual_seed(setup.seed)
    model = AutoencoderKL.from_pretrained(setup.start) if setup.start else build()
    objective = Reconstruction(setup, model)
    schedule = Schedule(
        setup.samples, setup.rate or 1.5e-3, warmup=setup.warmup(4000), decay=0.3, ema=0.9985
    )
    model, outcome = fit(
        objective, schedule=schedule, folder=setup.work, name="autoencoder",
        limit=setup.limit,
    )  # fmt: skip
    x = torch.cat([setup.corpus_sample(256, side) for side in SIDES])
    save_half(whitened(model, x), setup.parts / "vae")
    return outcome


@torch.no_grad()
def whitened(
    model: AutoencoderKL, pictures: Float[Tensor, "n 3 row column"], power: float = 0.4
) -> AutoencoderKL:
    """The same autoencoder with decorrelated latents of mean 0, the map folded into 1 x 1 layers.

    Along each eigenvector of the latents' covariance the spread s becomes s^(1 - 2 power): all
    alike at power 0.5. The posterior's variance is that of the noise it was trained with.
    """
    latents = torch.cat([model.encode(x).latent_dist.mean for x in pictures.split(64)])
    flat = latents.movedim(1, -1).flatten(0, -2).double()
    mean, covariance = flat.mean(dim=0), flat.T.cov()
    values, vectors = torch.linalg.eigh(covariance)
    spread = values.clamp(min=1e-12 * float(values.max()))
    forth = torch.diag(spread**-power) @ vectors.T
    back = vectors @ torch.diag(spread**power)
    scale = float((spread ** (1 - 2 * power)).mean().sqrt())  # so that the latents' spread is 1
    forth, back = forth / scale, back * scale
    channels = len(values)

    quant = model.quant_conv
    weight, bias = quant.weight[:channels, :, 0, 0].double(), quant.bias[:channels].double()
    quant.weight[:channels] = (forth @ weight)[..., None, None].to(quant.weight)
    quant.bias[:channels] = (forth @ (bias - mean)).to(quant.bias)
    quant.weight[channels:] = 0.0
    noise = (NOISE**2 * values.mean() * (forth**2).sum(dim=1)).log()
    quant.bias[channels:] = noise.to(quant.bias)

    post = model.post_quant_conv
    weight = post.weight[..., 0, 0].double()
    post.bias.copy_((post.bias.double() + weight @ mean).to(post.bias))
    post.weight.copy_((weight @ back)[..., None, None].to(post.weight))
    model.register_to_config(scaling_factor=1.0)
    return model
