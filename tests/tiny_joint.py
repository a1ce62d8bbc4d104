"""Tiny random pipelines of SD3's and FLUX's kind: stock classes, real tokenizers, no network."""

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImageEditPipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from tests.tiny import WORDS, _tower, tiny_tokenizer

PIECE = 3  # letters of a piece: longer words have several tokens


def t5_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of T5's kind, which cuts words into pieces of at most three letters."""
    pieces = {f"▁{word[:PIECE]}" for word in WORDS}
    pieces |= {word[i : i + PIECE] for word in WORDS for i in range(PIECE, len(word), PIECE)}
    vocabulary = {name: i for i, name in enumerate(["<pad>", "</s>", "<unk>", *sorted(pieces)])}
    made = Tokenizer(models.Unigram([(name, -1.0) for name in vocabulary], unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        model_max_length=512,
    )  # fmt: skip


def _parts() -> dict:
    torch.manual_seed(0)
    tokenizer, t5 = tiny_tokenizer(), t5_tokenizer()
    config = T5Config(
        vocab_size=len(t5), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4
    )  # fmt: skip
    vae = AutoencoderKL(
        sample_size=32, block_out_channels=(8,), layers_per_block=1, latent_channels=4,
        norm_num_groups=4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06,
        scaling_factor=1.5,
    )  # fmt: skip
    return dict(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae.eval(), tokenizer=tokenizer,
        t5=(T5EncoderModel(config).eval(), t5), tower=_tower(tokenizer, 32),
    )  # fmt: skip


def tiny_flux(kind: type = FluxPipeline):
    """A fresh FLUX pipeline, or one of its kind, of one pixel a latent."""
    parts = _parts()
    (second, tokenizer_2), tower = parts.pop("t5"), parts.pop("tower")
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
    )  # fmt: skip
    pipe = kind(
        **parts, text_encoder=CLIPTextModel(tower).eval(), text_encoder_2=second,
        tokenizer_2=tokenizer_2, transformer=transformer.eval(),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_sd3() -> StableDiffusion3Pipeline:
    """A fresh Stable Diffusion 3 pipeline, of one pixel a latent."""
    parts = _parts()
    (third, tokenizer_3), tower = parts.pop("t5"), parts.pop("tower")
    transformer = SD3Transformer2DModel(
        sample_size=32, patch_size=1, in_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=32, caption_projection_dim=32,
        pooled_projection_dim=64, out_channels=4,
    )  # fmt: skip
    pipe = StableDiffusion3Pipeline(
        **parts, text_encoder=CLIPTextModelWithProjection(tower).eval(),
        text_encoder_2=CLIPTextModelWithProjection(tower).eval(), tokenizer_2=parts["tokenizer"],
        text_encoder_3=third, tokenizer_3=tokenizer_3, transformer=transformer.eval(),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


class Chat:
    """Stands for Qwen's vision-language model: a state a token, of the template's text alone."""

    def __init__(self, pipe, width: int) -> None:
        self.pipe = pipe
        torch.manual_seed(1)
        self.states = torch.randn(4096, width)

    def __call__(self, prompt, image=None, device=None, dtype=None):
        prompt = [prompt] if isinstance(prompt, str) else prompt
        texts = [self.pipe.prompt_template_encode.format(one) for one in prompt]
        ids = [self.pipe.tokenizer(text).input_ids[4:] for text in texts]  # the first are dropped
        longest = max(map(len, ids))
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
        padded = torch.tensor([one + [0] * (longest - len(one)) for one in ids])
        return self.states[padded] * mask[..., None], mask


def tiny_qwen() -> QwenImageEditPipeline:
    """A fresh Qwen-Image-Edit pipeline, whose language model is a table of states."""
    torch.manual_seed(0)
    tokenizer = t5_tokenizer()
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", special_tokens=[]
    )
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip
    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=16, guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    pipe = QwenImageEditPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae.eval(), text_encoder=None,
        tokenizer=tokenizer, processor=None, transformer=transformer.eval(),
    )  # fmt: skip
    pipe.prompt_template_encode = "a dog on the table {} make a red car"
    pipe._get_qwen_prompt_embeds = Chat(pipe, 16)
    pipe.set_progress_bar_config(disable=True)
    return pipe
