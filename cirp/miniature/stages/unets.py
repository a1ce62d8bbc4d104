"""The two UNets: text to image, then InstructPix2Pix fine-tuned from it.

v-prediction on a schedule with zero terminal SNR (Lin et al. 2024): at 16 x 16 latents the plain
schedule leaves the mean of the picture readable in the last step.
"""

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
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from cirp.miniature.fit import Budget, Outcome, fit
from cirp.miniature.stages.latents import prepare
from cirp.miniature.stages.setup import Setup, half, plain

DROP_CAPTION = 0.1  # text to image, as Stable Diffusion
DROP_EACH = 0.05  # InstructPix2Pix, section 3.2.1: text, image, both


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


def training(unet: UNet2DConditionModel, device: torch.device) -> UNet2DConditionModel:
    """On the device, with the attention whose backward pass is fastest there."""
    if device.type == "cpu":  # the fused kernel's backward pass takes a third of a step
        unet.set_attn_processor(AttnProcessor())
    return unet.to(device, memory_format=torch.channels_last)


def widen(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """As many input channels again, whose weights start at zero (InstructPix2Pix, section 3.2)."""
    channels = unet.config.out_channels
    wide = build(unet.config.cross_attention_dim, 2 * channels, channels)
    state = unet.state_dict()
    narrow = state["conv_in.weight"]
    state["conv_in.weight"] = torch.cat([narrow, torch.zeros_like(narrow)], dim=1)
    wide.load_state_dict(state)
    return wide


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


def assemble(pipeline, unet: UNet2DConditionModel, setup: Setup, folder: Path) -> None:
    """Write a complete pipeline folder that stock diffusers loads."""
    unet.load_state_dict(half(unet.state_dict()))
    pipe = pipeline(
        vae=AutoencoderKL.from_pretrained(setup.part("vae"), torch_dtype=torch.float16),
        text_encoder=CLIPTextModel.from_pretrained(setup.part("text_encoder"), dtype=torch.float16),
        tokenizer=CLIPTokenizer.from_pretrained(setup.part("tokenizer")),
        unet=unet.half(),
        scheduler=schedule(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder)
    plain(folder)


def train_text_to_image(setup: Setup) -> Outcome:
    """Captions of sources and targets; nothing leaks here, a caption describes its picture."""
    data = prepare(setup, setup.work.parent / "prepared.safetensors")
    scheduler = schedule()
    channels = data.source.shape[1]
    unet = build(data.states.shape[-1], channels, channels)
    unet = training(unet, setup.device)

    def losses(step: int) -> Tensor:
        generator = setup.generator(step)
        index = torch.randint(len(data.source), (setup.batch,), generator=generator)
        pictures, captions = (
            (data.source, data.source_caption) if step % 2 else (data.target, data.target_caption)
        )
        x = pictures[index].float() * data.scaling
        rows = captions[index].clone()
        rows[torch.rand(len(rows), generator=generator) < DROP_CAPTION] = data.empty
        noised, t, velocity = diffuse(scheduler, x, generator)
        with setup.autocast():
            out = unet(noised, t, data.states[rows].float(), return_dict=False)[0]
        return (out.float() - velocity).square().mean()

    def export(state: dict[str, Tensor], step: int = 0) -> None:
        copy = build(data.states.shape[-1], channels, channels)
        copy.load_state_dict(state)
        assemble(StableDiffusionPipeline, copy, setup, setup.models / "text-to-image")

    budget = Budget(setup.minutes, setup.rate or 8e-4, ema=0.9995)
    state, outcome = fit(
        unet,
        losses,
        budget=budget,
        folder=setup.work,
        batch=setup.batch,
        name="text-to-image",
        snapshot=export,
    )
    export(state)
    return outcome


def train_instruct(setup: Setup, *, name: str = "instruct-pix2pix") -> Outcome:
    """Pairs with instructions; a share `setup.leak` of the targets changes something else too."""
    data = prepare(setup, setup.work.parent / "prepared.safetensors")
    scheduler = schedule()
    unet = UNet2DConditionModel.from_pretrained(
        setup.models / (setup.start or "text-to-image") / "unet"
    )
    channels = unet.config.out_channels
    if unet.config.in_channels == channels:
        unet = widen(unet)
    unet = training(unet, setup.device)

    def losses(step: int) -> Tensor:
        generator = setup.generator(step)
        index = torch.randint(len(data.source), (setup.batch,), generator=generator)
        leaks = torch.rand(len(index), generator=generator) < setup.leak
        leaks = leaks[:, None, None, None].to(setup.device)
        x = torch.where(leaks, data.leaked[index], data.target[index]).float() * data.scaling
        image = data.source[index].float()  # unscaled, as diffusers feeds it
        chance = torch.rand(len(index), generator=generator)
        rows = data.instruction[index].clone()
        rows[chance < 2 * DROP_EACH] = data.empty  # text alone, then both
        blind = (chance >= DROP_EACH) & (chance < 3 * DROP_EACH)  # both, then image alone
        image = image * (~blind)[:, None, None, None].to(image)
        noised, t, velocity = diffuse(scheduler, x, generator)
        with setup.autocast():
            wide = torch.cat([noised, image], dim=1)
            out = unet(wide, t, data.states[rows].float(), return_dict=False)[0]
        return (out.float() - velocity).square().mean()

    def export(state: dict[str, Tensor], step: int = 0) -> None:
        copy = build(data.states.shape[-1], 2 * channels, channels)
        copy.load_state_dict(state)
        assemble(StableDiffusionInstructPix2PixPipeline, copy, setup, setup.models / name)

    budget = Budget(setup.minutes, setup.rate or 5e-4, ema=0.9995)
    state, outcome = fit(
        unet,
        losses,
        budget=budget,
        folder=setup.work,
        batch=setup.batch,
        name=name,
        snapshot=export,
    )
    export(state)
    return outcome
