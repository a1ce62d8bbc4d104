"""Tiny random pipelines of today's editors: stock classes, real tokenizers, no network."""

import json
from functools import lru_cache

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    AutoencoderTiny,
    DreamLitePipeline,
    DreamLiteUNetModel,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImageEditPipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from tokenizers import (
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

WORDS = """
a an the with of on in at to into and from by is it its his her no not this that
make turn replace change swap add remove put give let draw paint
cat dog hat sun sunhat hot hotdog man chair armchair ball football peach strawberry donut
chocolate icing topping ketchup mayonnaise burger sauce axolotl pikachu mouse trampoline
beach night sky brick wall snow kitchen grass table wooden red green blue yellow purple
happy sad smiling face flower rose car truck toy apple banana photo of sepia watercolour
""".split()

CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


@lru_cache
def tiny_tokenizer(model_max_length: int = 77) -> CLIPTokenizer:
    """Return a BPE of bytes with `</w>`, as CLIP's, in which each of `WORDS` is one token."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(
        WORDS,
        trainers.BpeTrainer(
            vocab_size=4096,
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    tokens = alphabet + [f"{letter}</w>" for letter in alphabet]
    tokens += [first + second for first, second in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=model_max_length)


PIECE = 3  # letters of a piece: longer words have several tokens


def t5_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of T5's kind, which cuts words into pieces of at most three letters."""
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


def tower(tokenizer: CLIPTokenizer, width: int) -> CLIPTextConfig:
    """Return the configuration of a tiny text tower."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        projection_dim=width,
    )


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
        t5=(T5EncoderModel(config).eval(), t5), tower=tower(tokenizer, 32),
    )  # fmt: skip


def tiny_flux(kind: type = FluxPipeline):
    """Return a fresh FLUX pipeline, or one of its kind, of one pixel a latent."""
    parts = _parts()
    (second, tokenizer_2), config = parts.pop("t5"), parts.pop("tower")
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
    )  # fmt: skip
    pipe = kind(
        **parts, text_encoder=CLIPTextModel(config).eval(), text_encoder_2=second,
        tokenizer_2=tokenizer_2, transformer=transformer.eval(),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_sd3() -> StableDiffusion3Pipeline:
    """Return a fresh Stable Diffusion 3 pipeline, of one pixel a latent."""
    parts = _parts()
    (third, tokenizer_3), config = parts.pop("t5"), parts.pop("tower")
    transformer = SD3Transformer2DModel(
        sample_size=32, patch_size=1, in_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=32, caption_projection_dim=32,
        pooled_projection_dim=64, out_channels=4,
    )  # fmt: skip
    pipe = StableDiffusion3Pipeline(
        **parts, text_encoder=CLIPTextModelWithProjection(config).eval(),
        text_encoder_2=CLIPTextModelWithProjection(config).eval(), tokenizer_2=parts["tokenizer"],
        text_encoder_3=third, tokenizer_3=tokenizer_3, transformer=transformer.eval(),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


class Chat:
    """Stands for Qwen's vision-language model: a state a token, of the template's text alone."""

    def __init__(self, pipe, width: int, template: str) -> None:
        self.pipe, self.template = pipe, template
        torch.manual_seed(1)
        self.states = torch.randn(4096, width)

    def __call__(self, prompt=None, image=None, device=None, dtype=None, *, mode="", prompts=None):
        """Return states and mask, as `encode_prompt` and Qwen's `_get_qwen_prompt_embeds` do."""
        prompt = prompts or ([prompt] if isinstance(prompt, str) else prompt)
        texts = [self.template.format(one) for one in prompt]
        ids = [self.pipe.tokenizer(text).input_ids[4:] for text in texts]  # the first are dropped
        longest = max(map(len, ids))
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
        padded = torch.tensor([one + [0] * (longest - len(one)) for one in ids])
        return self.states[padded] * mask[..., None], mask


def _whole_tokenizer() -> PreTrainedTokenizerFast:
    """Without the end that T5 adds: a chat's prompt is followed by its template."""
    tokenizer = t5_tokenizer()
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", special_tokens=[]
    )
    return tokenizer


def tiny_dreamlite(width: int = 16) -> DreamLitePipeline:
    """Return a fresh DreamLite pipeline of two pixels a latent, whose language model is a table."""
    torch.manual_seed(0)
    unet = DreamLiteUNetModel(
        sample_size=16, down_block_types=("DreamLiteCrossAttnNoSelfAttnDownBlock2D",
        "DreamLiteCrossAttnDownBlock2D"), up_block_types=("DreamLiteCrossAttnUpBlock2D",
        "DreamLiteCrossAttnNoSelfAttnUpBlock2D"), block_out_channels=(16, 32), layers_per_block=1,
        cross_attention_dim=width, attention_head_dim=(2, 4), norm_num_groups=8,
        addition_embed_type="time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16,
    )  # fmt: skip
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), latent_channels=4,
    )  # fmt: skip
    pipe = DreamLitePipeline(
        text_encoder=vae, tokenizer=_whole_tokenizer(), processor=None, vae=vae.eval(),
        unet=unet.eval(), scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip
    pipe.prompt_template_encode_edit = "a dog on the table {} make a red car"
    pipe.encode_prompt = Chat(pipe, width, pipe.prompt_template_encode_edit)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_qwen(kind: type = QwenImageEditPipeline):
    """Return a fresh Qwen-Image-Edit pipeline, or of its kind; its language model is a table."""
    torch.manual_seed(0)
    tokenizer = _whole_tokenizer()
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip
    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=16, guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    pipe = kind(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae.eval(), text_encoder=None,
        tokenizer=tokenizer, processor=None, transformer=transformer.eval(),
    )  # fmt: skip
    pipe.prompt_template_encode = "a dog on the table {} make a red car"
    pipe._get_qwen_prompt_embeds = Chat(pipe, 16, pipe.prompt_template_encode)
    pipe.set_progress_bar_config(disable=True)
    return pipe
