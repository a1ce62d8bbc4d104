"""The UNets: one that learns pictures and edits together, then one for each pipeline.

v-prediction on a schedule with zero terminal SNR (Lin et al. 2024): at 16 x 16 latents the plain
schedule leaves the mean of the picture readable in the last step.
"""

import copy
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from cirp.miniature.training.loop import fit
from cirp.miniature.training.monitor import Monitor
from cirp.miniature.training.objective import Objective, processes
from cirp.miniature.training.schedule import Outcome, Schedule
from cirp.miniature.training.setup import Setup, half, plain
from cirp.miniature.training.stages.latents import Prepared, prepare

DROP_CAPTION = 0.1  # text to image, as Stable Diffusion
DROP_EACH = 0.05  # InstructPix2Pix, section 3.2.1: text, image, both
CHANGED_SHARE = (0.5, 0.25)  # of an edit's loss on the cells that change: while held, at the end
MOVED = 0.25  # latents differ if any channel moves by more than this


def build(width: int, in_channels: int, out_channels: int) -> UNet2DConditionModel:
    """Cross-attention at every resolution: 16, 8 and 4. `width` is the text tower's."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=in_channels,
        out_channels=out_channels,
        block_out_channels=(64, 96, 160),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=width,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
    )


def narrow(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """Without the input channels of the image: what the UNet computes where these are zero."""
    channels = unet.config.out_channels
    small = build(unet.config.cross_attention_dim, channels, channels)
    state = unet.state_dict()
    state["conv_in.weight"] = state["conv_in.weight"][:, :channels].clone()
    small.load_state_dict(state)
    return small


def schedule() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,  # of no effect with trailing steps; diffusers warns without it
    )


def diffuse(scheduler: DDIMScheduler, x: Tensor, generator) -> tuple[Tensor, Tensor, Tensor]:
    """Noised latents, timesteps, and the velocity to predict (Salimans & Ho 2022, appendix D)."""
    noise = torch.randn(x.shape, generator=generator).to(x)
    t = torch.randint(scheduler.config.num_train_timesteps, (len(x),), generator=generator)
    t = t.to(x.device)
    return scheduler.add_noise(x, noise, t), t, scheduler.get_velocity(x, noise, t)


def emphasis(
    source: Float[Tensor, "n channel row column"],
    target: Float[Tensor, "n channel row column"],
    share: float,
) -> Float[Tensor, "n 1 row column"]:
    """Weights of mean 1: the cells that change have `share` of the loss beside their own.

    Few cells change in a local edit, so that they are a few per cent of the loss without it.
    """
    moved = ((source - target).abs().amax(dim=1, keepdim=True) > MOVED).float()
    mean = moved.mean(dim=(2, 3), keepdim=True)
    weight = (1 - share) + share * moved / mean.clamp(min=1 / moved[0].numel())
    return torch.where(mean > 0, weight, torch.ones_like(weight))


class Editor(nn.Module):
    """The text tower and the UNet that reads it: what a training moves."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel):
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet

    def forward(self, latents: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        states = self.text_encoder(tokens.long()).last_hidden_state
        return self.unet(latents, t, states, return_dict=False)[0]


class Velocity(Objective):
    """Noised pictures to their velocity: a share of text to image, the rest edits."""

    alike = True

    def __init__(
        self, setup: Setup, model: Editor, data: Prepared, *, text: float, falls_at: int, end: int
    ):
        super().__init__()
        if setup.device.type == "cpu":  # the fused kernel's backward pass takes a third of a step
            model.unet.set_attn_processor(AttnProcessor())
        self.model = model.to(setup.device)
        self.model.unet.to(memory_format=torch.channels_last)
        self.setup, self.data, self.batch = setup, data, setup.batch
        self.scheduler = schedule()
        self.text = round(text * setup.batch)
        self.falls_at, self.end = falls_at, end

    def share(self, step: int) -> float:
        """How much of an edit's loss the changing cells have: less as the rate falls."""
        first, last = CHANGED_SHARE
        seen = step * self.batch * processes()[1]
        along = (seen - self.falls_at) / max(1, self.end - self.falls_at)
        return first + (last - first) * min(max(along, 0.0), 1.0)

    def texts(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Captioned pictures: latents, an absent image, rows of sentences, weights."""
        data = self.data
        index = torch.randint(len(data.source), (count,), generator=generator)
        second = torch.rand(count, generator=generator) < 0.5
        x = torch.where(
            second[:, None, None, None],
            data.latents("target", index),
            data.latents("source", index),
        )
        rows = torch.where(second, data.target_caption[index], data.source_caption[index])
        rows[torch.rand(count, generator=generator) < DROP_CAPTION] = data.empty
        return x, torch.zeros_like(x), rows, torch.ones_like(x[:, :1])

    def edits(self, count: int, share: float, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Instructed pictures; a share `setup.leak` of the targets changes something else, too."""
        data, leak = self.data, self.setup.leak
        index = torch.randint(len(data.source), (count,), generator=generator)
        source, target = data.latents("source", index), data.latents("target", index)
        weight = emphasis(source, target, share)
        leaks = torch.rand(count, generator=generator) < leak
        if leaks.any():
            target[leaks] = data.latents("leaked", index[leaks])
        way = torch.randint(data.instructions.shape[1], (count,), generator=generator)
        rows = data.instructions[index, way].clone()
        chance = torch.rand(count, generator=generator)
        rows[chance < 2 * DROP_EACH] = data.empty  # text alone, then both
        blind = (chance >= DROP_EACH) & (chance < 3 * DROP_EACH)  # both, then image alone
        source[blind] = 0.0
        weight[chance < 3 * DROP_EACH] = 1.0
        return target, source, rows, weight

    def draw(self, step: int) -> tuple[Tensor, ...]:
        """Noised latents, images, timesteps, tokens, velocities, weights."""
        generator = self.setup.generator(step)
        parts = []
        if self.text:
            parts.append(self.texts(self.text, generator))
        if self.text < self.batch:
            parts.append(self.edits(self.batch - self.text, self.share(step), generator))
        x, image, rows, weight = (torch.cat(p) for p in zip(*parts, strict=True))
        x = x * self.data.scaling  # the image stays unscaled, as diffusers feeds it
        noised, t, velocity = diffuse(self.scheduler, x, generator)
        return noised, image, t, self.data.tokens[rows], velocity, weight

    def forward(self, *batch: Tensor) -> Tensor:
        noised, image, t, tokens, velocity, weight = batch
        unet = self.model.unet
        latents = noised
        if unet.config.in_channels > unet.config.out_channels:
            latents = torch.cat([noised, image], dim=1)
        latents = latents.contiguous(memory_format=torch.channels_last)
        with self.setup.autocast():
            out = self.model(latents, t, tokens)
        return ((out.float() - velocity).square() * weight).mean()


def assemble(pipeline, editor: Editor, setup: Setup, folder: Path) -> None:
    """Write a complete pipeline folder that stock diffusers loads."""
    editor = copy.deepcopy(editor).cpu().float()
    editor.load_state_dict(half(editor.state_dict()))
    pipe = pipeline(
        vae=AutoencoderKL.from_pretrained(setup.part("vae"), torch_dtype=torch.float16),
        text_encoder=editor.text_encoder.half(),
        tokenizer=CLIPTokenizer.from_pretrained(setup.part("tokenizer")),
        unet=editor.unet.half(),
        scheduler=schedule(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder)
    plain(folder)


def fresh(setup: Setup) -> Editor:
    """CLIP's text tower, and a UNet of random weights with room for an image."""
    torch.manual_seed(setup.seed)
    tower = CLIPTextModel.from_pretrained(setup.part("text_encoder"))
    channels = AutoencoderKL.load_config(setup.part("vae"))["latent_channels"]
    return Editor(tower, build(tower.config.hidden_size, 2 * channels, channels))


def loaded(folder: Path) -> Editor:
    """Return the trained parts of a pipeline folder."""
    return Editor(
        CLIPTextModel.from_pretrained(folder / "text_encoder"),
        UNet2DConditionModel.from_pretrained(folder / "unet"),
    )


def _trained(
    setup: Setup, editor: Editor, *, text: float, plan: Schedule, name: str, pipeline
) -> Outcome:
    data = prepare(setup)
    objective = Velocity(setup, editor, data, text=text, falls_at=plan.falls_at, end=plan.samples)
    folder = setup.models / name

    monitor = Monitor(setup.work, setup.parts.parent, setup.device)

    def report(model: Editor, samples: int, minutes: float) -> None:
        assemble(pipeline, model, setup, folder)
        if pipeline is StableDiffusionInstructPix2PixPipeline:
            monitor.look(folder, samples, minutes)

    model, outcome = fit(
        objective, schedule=plan, folder=setup.work, name=name, limit=setup.limit,
        report=report,
    )  # fmt: skip
    assemble(pipeline, model, setup, folder)
    return outcome


def train_joint(setup: Setup) -> Outcome:
    """Pictures and leak-free edits, half of each batch; the text tower learns, too."""
    warmup = setup.warmup(20_000)
    plan = Schedule(setup.samples, setup.rate or 7e-4, warmup=warmup, decay=0.15, ema=0.9995)
    pipeline = StableDiffusionInstructPix2PixPipeline
    return _trained(setup, fresh(setup), text=0.5, plan=plan, name="joint", pipeline=pipeline)


def fine_tuning(setup: Setup) -> Schedule:
    """Return the same for every pipeline that starts from the joint stage."""
    warmup = setup.warmup(5000, steps=100)
    return Schedule(setup.samples, setup.rate or 3e-4, warmup=warmup, decay=0.5, ema=0.999)


def train_text_to_image(setup: Setup) -> Outcome:
    """Return the joint UNet without its image channels, on captioned pictures alone."""
    editor = loaded(setup.models / "joint")
    editor.unet = narrow(editor.unet)
    plan = fine_tuning(setup)
    return _trained(
        setup, editor, text=1.0, plan=plan, name="text-to-image", pipeline=StableDiffusionPipeline
    )


def train_instruct(setup: Setup, name: str = "instruct-pix2pix") -> Outcome:
    """Return the joint UNet on edits alone, of which a share leaks."""
    editor = loaded(setup.models / "joint")
    plan = fine_tuning(setup)
    pipeline = StableDiffusionInstructPix2PixPipeline
    return _trained(setup, editor, text=0.0, plan=plan, name=name, pipeline=pipeline)
