"""CLIP: two small towers, contrastive, with the edited twin of every picture as hard negative.

Radford et al. 2021. Source and target of one pair are in the same batch: without such twins the
towers learn settings only. A caption in which one state is changed is a further negative.
"""

import random

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from cirp.miniature.kinds import KINDS
from cirp.miniature.scene import SIZE
from cirp.miniature.training.loop import fit
from cirp.miniature.training.objective import Objective
from cirp.miniature.training.schedule import Outcome, Schedule
from cirp.miniature.training.setup import (
    Setup,
    bytes_of,
    first_makes,
    half,
    save_half,
    tensor,
)
from cirp.miniature.training.stages.tokenizer import LENGTH
from cirp.miniature.training.stages.tokenizer import train as train_tokenizer

WIDTH = 128  # of the text tower and of the shared space
VISION = dict(hidden_size=160, intermediate_size=640, num_hidden_layers=5, num_attention_heads=5)
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
    vision = CLIPVisionConfig(**VISION, image_size=SIZE, patch_size=8, projection_dim=WIDTH)
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


def altered(caption: str, rng: random.Random) -> str | None:
    """Return the caption with one state changed to another of the same thing, if it names any."""
    options = []
    for kind in KINDS.values():
        for attribute in kind.attributes:
            for state in attribute.states:
                phrase = attribute.phrase.format(noun=kind.name, state=state)
                if phrase in caption:
                    options.append((kind.name, attribute, state, phrase))
    if not options:
        return None
    noun, attribute, state, phrase = rng.choice(options)
    other = rng.choice([s for s in attribute.states if s != state])
    return caption.replace(phrase, attribute.phrase.format(noun=noun, state=other), 1)


class Contrast(Objective):
    """Symmetric cross-entropy over source-target twins, altered captions as further negatives."""

    def __init__(self, setup: Setup, model: CLIPModel, tokenizer: CLIPTokenizer):
        super().__init__()
        self.model, self.tokenizer = model.to(setup.device), tokenizer
        self.setup, self.batch = setup, setup.batch

    def draw(self, step: int) -> tuple:
        """Pictures, tokens and their mask, and which captions are no negatives of which picture."""
        corpus, generator = self.setup.corpus, self.setup.generator(step)
        chosen = torch.randint(len(corpus), (self.batch // 2,), generator=generator).numpy()
        rng = random.Random(int(torch.randint(2**31, (), generator=generator)))
        plain = [corpus.rows[i][s] for s in ("source_caption", "target_caption") for i in chosen]
        captions = [rng.choice(LEADS) + caption for caption in plain]
        wrong = [(i, altered(c, rng)) for i, c in enumerate(plain)]
        wrong = [(i, c) for i, c in wrong if c]
        sides = (corpus.source[chosen], corpus.target[chosen])
        tokens = self.tokenizer(captions + [c for _, c in wrong], padding=True, return_tensors="pt")
        # captions that say the same, in the same words, are no negatives of each other
        said = np.array(plain + [c for _, c in wrong])
        same = torch.from_numpy(said[: len(plain), None] == said[None])
        same.fill_diagonal_(False)
        pictures = torch.cat([bytes_of(side) for side in sides])
        return pictures, tokens.input_ids, tokens.attention_mask, same

    def forward(
        self, pictures: Tensor, input_ids: Tensor, attention_mask: Tensor, same: Tensor
    ) -> Tensor:
        with self.setup.autocast():
            logits = self.model(
                pixel_values=tensor(pictures), input_ids=input_ids, attention_mask=attention_mask
            ).logits_per_image.float()
        logits = logits.masked_fill(same, -1e4)
        square = logits[:, : len(pictures)]
        truth = torch.arange(len(pictures), device=logits.device)
        return 0.5 * (cross_entropy(logits, truth) + cross_entropy(square.T, truth))

    def after_step(self) -> None:  # as in the paper: the temperature must not run away
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=4.6052)


def train(setup: Setup) -> Outcome:
    """Both towers from nothing; the text tower goes to the UNets, too."""
    torch.manual_seed(setup.seed)
    tokenizer = first_makes(
        setup.parts / "tokenizer",
        lambda folder: train_tokenizer(setup.corpus, folder),
        CLIPTokenizer.from_pretrained,
    )
    objective = Contrast(setup, build(tokenizer), tokenizer)
    schedule = Schedule(
        setup.samples, setup.rate or 1e-3, warmup=setup.warmup(20_000), weight_decay=0.05, ema=0.998
    )
    model, outcome = fit(
        objective, schedule=schedule, folder=setup.work, name="clip", limit=setup.limit
    )
    model.load_state_dict(half(model.state_dict()))
    save_half(text_encoder(model), setup.parts / "text_encoder")
    save_half(model, setup.models / "clip")
    tokenizer.save_pretrained(setup.models / "clip")
    processor().save_pretrained(setup.models / "clip")
    return outcome


def text_encoder(model: CLIPModel) -> CLIPTextModel:
    """Return the text tower alone, as Stable Diffusion takes it."""
    tower = CLIPTextModel(model.config.text_config)
    known = tower.state_dict().keys()
    prefix = "" if any(k.startswith("text_model.") for k in known) else "text_model."
    state = {k.removeprefix(prefix): v for k, v in model.state_dict().items() if "text_model" in k}
    tower.load_state_dict(state)
    return tower.to(next(model.parameters()).dtype)
