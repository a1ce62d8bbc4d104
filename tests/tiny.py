"""Tiny random pipelines: stock classes and a real BPE tokenizer, made in a moment, no network.

Nothing here is trained. Query and key projections of cross-attention are multiplied by `sharpness`,
because an untrained model attends almost evenly, and an even map cannot tell a right row from a
wrong one.
"""

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
)

from cirp.experiments.tiny_editors import tiny_tokenizer, tower

# Not among them, so always split into pieces: for tests of words of many tokens.
RARE_WORDS = ("zyzzogeton", "quokkasaurus", "glockenspiel")


def tiny_unet(
    *,
    in_channels: int = 4,
    sample_size: int = 16,
    channels: tuple[int, ...] = (32, 64),
    heads: int = 4,
    text_width: int = 32,
    sharpness: float = 6.0,
    seed: int = 0,
    plain_last: bool = False,
) -> UNet2DConditionModel:
    """A UNet with cross-attention at every level and in the middle, in evaluation mode.

    With `plain_last` the coarsest level has none, as in Stable Diffusion: the middle block has a
    resolution of its own.
    """
    down = ["CrossAttnDownBlock2D"] * len(channels)
    if plain_last:
        down[-1] = "DownBlock2D"
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=tuple(down),
        up_block_types=tuple(name.replace("Down", "Up") for name in reversed(down)),
        cross_attention_dim=text_width,
        attention_head_dim=heads,  # diffusers' name for the number of heads
        norm_num_groups=8,
    )
    for name, module in unet.named_modules():
        if name.endswith("attn2"):
            module.to_q.weight.data *= sharpness
            module.to_k.weight.data *= sharpness
    return unet.eval().requires_grad_(False)


def _parts(
    unet: UNet2DConditionModel,
    *,
    vae_scale: int,
    text_width: int,
    scheduler,
    max_length: int,
    seed: int,
) -> dict:
    tokenizer = tiny_tokenizer(max_length)
    torch.manual_seed(seed + 1)
    levels = vae_scale.bit_length()  # 4 -> 3 levels, 8 -> 4: each after the first halves the size
    vae = AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=unet.config.sample_size * vae_scale,
    )
    text_encoder = CLIPTextModel(tower(tokenizer, text_width))
    if scheduler is None:
        scheduler = DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            steps_offset=1,  # of no effect with trailing steps; other values make diffusers warn
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            clip_sample=False,
        )
    return {
        "vae": vae.eval().requires_grad_(False),
        "text_encoder": text_encoder.eval().requires_grad_(False),
        "tokenizer": tokenizer,
        "unet": unet,
        "scheduler": scheduler,
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def tiny_sd(
    *,
    sample_size: int = 16,
    vae_scale: int = 4,
    heads: int = 4,
    sharpness: float = 6.0,
    scheduler=None,
    max_length: int = 77,
    seed: int = 0,
) -> StableDiffusionPipeline:
    """A fresh text-to-image pipeline of `sample_size` latent cells of `vae_scale` pixels a side.

    Fresh every time (a test may break it), and the same for the same seed. Without `scheduler`
    it is the miniature's: DDIM, v-prediction, zero terminal SNR, trailing.
    """
    unet = tiny_unet(sample_size=sample_size, heads=heads, sharpness=sharpness, seed=seed)
    parts = _parts(
        unet,
        vae_scale=vae_scale,
        text_width=32,
        scheduler=scheduler,
        max_length=max_length,
        seed=seed,
    )
    pipe = StableDiffusionPipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_ip2p(
    *,
    sample_size: int = 16,
    vae_scale: int = 4,
    heads: int = 4,
    sharpness: float = 6.0,
    scheduler=None,
    max_length: int = 77,
    seed: int = 0,
) -> StableDiffusionInstructPix2PixPipeline:
    """A fresh InstructPix2Pix pipeline (8 channels in); the arguments are `tiny_sd`'s."""
    unet = tiny_unet(
        in_channels=8, sample_size=sample_size, heads=heads, sharpness=sharpness, seed=seed
    )
    parts = _parts(
        unet,
        vae_scale=vae_scale,
        text_width=32,
        scheduler=scheduler,
        max_length=max_length,
        seed=seed,
    )
    pipe = StableDiffusionInstructPix2PixPipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_xl_unet(*, in_channels: int = 4, sample_size: int = 32, seed: int = 0):
    """SDXL's shape: no attention at the finest level, more heads and deeper blocks below it."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=24 + 32,  # both towers' states, side by side
        attention_head_dim=(2, 2, 4),
        transformer_layers_per_block=(1, 1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
        norm_num_groups=8,
    )
    for name, module in unet.named_modules():
        if name.endswith("attn2"):
            module.to_q.weight.data *= 6.0
            module.to_k.weight.data *= 6.0
    return unet.eval().requires_grad_(False)


def tiny_xl(kind: type, *, sample_size: int = 32, zeros_for_empty: bool = True, seed: int = 0):
    """A fresh SDXL pipeline: `StableDiffusionXLPipeline`, or InstructPix2Pix's of that kind."""
    instruct = kind is StableDiffusionXLInstructPix2PixPipeline
    unet = tiny_xl_unet(in_channels=8 if instruct else 4, sample_size=sample_size, seed=seed)
    parts = _parts(unet, vae_scale=4, text_width=24, scheduler=None, max_length=77, seed=seed)
    for name in ("safety_checker", "feature_extractor", "requires_safety_checker"):
        parts.pop(name)
    torch.manual_seed(seed + 2)
    second = CLIPTextModelWithProjection(tower(parts["tokenizer"], 32))
    parts |= {"text_encoder_2": second.eval().requires_grad_(False)}
    parts |= {"tokenizer_2": parts["tokenizer"]}
    pipe = kind(
        **parts, force_zeros_for_empty_prompt=zeros_for_empty, add_watermarker=False
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_xl_pair():
    """An instruction editor of SDXL's kind, and a text-to-image model."""
    return tiny_xl(StableDiffusionXLInstructPix2PixPipeline), tiny_xl(StableDiffusionXLPipeline)
