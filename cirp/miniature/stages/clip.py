"""CLIP: two small towers, contrastive, with the edited twin of every picture as hard negative.

Radford et al. 2021. Source and target of one pair are in the same batch: without such twins the
towers learn settings only.
"""

import random

import torch
from torch import Tensor
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from cirp.miniature.fit import Budget, Outcome, fit
from cirp.miniature.scene import SIZE
from cirp.miniature.stages.setup import Setup, half, save_half, tensor
from cirp.miniature.stages.tokenizer import LENGTH
from cirp.miniature.stages.tokenizer import train as train_tokenizer

WIDTH = 128
LEADS = ("", "", "", "", "a picture of ", "make it ", "turn it into ", "change it into ", "add ")


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    ends = dict(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=WIDTH,
        **ends,
    )
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=8,
        projection_dim=WIDTH,
    )
    return CLIPModel(
        CLIPConfig(
            text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH, **ends
        )
    )


def processor() -> CLIPImageProcessorPil:
    side = {"height": SIZE, "width": SIZE}
    return CLIPImageProcessorPil(
        size=side, crop_size=side, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )


def train(setup: Setup) -> Outcome:
    """Both towers from nothing; the text tower goes to the UNets, too."""
    tokenizer = train_tokenizer(setup.corpus, setup.parts / "tokenizer")
    model, outcome = _train(setup, build(tokenizer).to(setup.device), tokenizer, "clip")
    save_half(text_encoder(model), setup.parts / "text_encoder")
    return outcome


def train_vision(setup: Setup) -> Outcome:
    """More training for the image tower, against the text tower as it is.

    The UNets have learnt that text tower's states, so it must not move any more (locked-image
    tuning the other way round; Zhai et al. 2022).
    """
    model = CLIPModel.from_pretrained(setup.models / "clip").to(setup.device)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith("text_"))
    tokenizer = CLIPTokenizer.from_pretrained(setup.models / "clip")
    return _train(setup, model, tokenizer, "clip-vision")[1]


def _train(
    setup: Setup, model: CLIPModel, tokenizer: CLIPTokenizer, name: str
) -> tuple[CLIPModel, Outcome]:
    """Symmetric cross-entropy over a batch of source-target twins; saved as "clip"."""
    corpus = setup.corpus

    def losses(step: int) -> Tensor:
        generator = setup.generator(step)
        chosen = torch.randint(len(corpus), (setup.batch // 2,), generator=generator).numpy()
        rng = random.Random(step)
        captions = [
            rng.choice(LEADS) + corpus.rows[i][side]
            for side in ("source_caption", "target_caption")
            for i in chosen
        ]
        x = torch.cat([tensor(a[chosen], setup.device) for a in (corpus.source, corpus.target)])
        tokens = tokenizer(captions, padding=True, return_tensors="pt").to(setup.device)
        out = model(**tokens, pixel_values=x)
        logits = out.logits_per_text
        # twins that share their caption (a leak-free "remove" never does) are not negatives
        same = torch.tensor([[a == b for b in captions] for a in captions], device=setup.device)
        same.fill_diagonal_(False)
        logits = logits.masked_fill(same, -1e4)
        truth = torch.arange(len(captions), device=setup.device)
        return 0.5 * (
            torch.nn.functional.cross_entropy(logits, truth)
            + torch.nn.functional.cross_entropy(logits.T, truth)
        )

    def cap() -> None:  # as in the paper: the temperature must not run away
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.6052)

    budget = Budget(setup.minutes, setup.rate or 1e-3, weight_decay=0.05, ema=0.998)
    state, outcome = fit(
        model,
        losses,
        budget=budget,
        folder=setup.work,
        batch=setup.batch,
        name=name,
        after_step=cap,
    )
    model.load_state_dict(half(state))
    save_half(model, setup.models / "clip")
    tokenizer.save_pretrained(setup.models / "clip")
    processor().save_pretrained(setup.models / "clip")
    return model, outcome


def text_encoder(model: CLIPModel) -> CLIPTextModel:
    """The text tower alone, as Stable Diffusion takes it."""
    tower = CLIPTextModel(model.config.text_config)
    known = tower.state_dict().keys()
    prefix = "" if any(k.startswith("text_model.") for k in known) else "text_model."
    state = {k.removeprefix(prefix): v for k, v in model.state_dict().items() if "text_model" in k}
    tower.load_state_dict(state)
    return tower.to(next(model.parameters()).dtype)
