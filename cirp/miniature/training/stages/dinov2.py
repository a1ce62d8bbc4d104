"""A DINOv2-class ViT, self-supervised on the world's pictures.

Self-distillation with multi-crop and centring (Caron et al. 2021, sections 3.1 and 3.2), on the
Dinov2Model class; the iBOT and KoLeo terms of DINOv2 are left out at this size.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, log_softmax, normalize
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from cirp.miniature.scene import SIZE
from cirp.miniature.training.loop import Objective, fit
from cirp.miniature.training.schedule import Outcome, Schedule
from cirp.miniature.training.setup import Setup, half, save_half, tensor

PROTOTYPES = 1024
STUDENT, TEACHER = 0.1, 0.04  # temperatures
MOMENTUM = 0.994  # of the teacher
LOCAL = 32  # pixels of a local crop


def build() -> Dinov2Model:
    return Dinov2Model(
        Dinov2Config(
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            mlp_ratio=4,
            image_size=SIZE,
            patch_size=8,
            drop_path_rate=0.0,
        )
    )


class Projector(nn.Module):
    """The head of DINO: two layers, a narrow normalised bottleneck, prototypes."""

    def __init__(self, width: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, 512), nn.GELU(), nn.Linear(512, 128))
        self.prototypes = nn.Linear(128, PROTOTYPES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return normalize(self.mlp(x), dim=-1) @ normalize(self.prototypes.weight, dim=-1).T


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = build()
        self.head = Projector(self.backbone.config.hidden_size)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.backbone(pixel_values=pictures).pooler_output)


def processor() -> BitImageProcessorPil:
    side = {"height": SIZE, "width": SIZE}
    return BitImageProcessorPil(
        size=side, crop_size=side, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )


def crop(x: Tensor, side: int, share: tuple[float, float], generator) -> Tensor:
    """One random square crop for the whole batch, flipped half of the time, colours shifted."""
    low, high = share
    area = low + (high - low) * float(torch.rand((), generator=generator))
    edge = max(8, round(SIZE * area**0.5))
    top, left = (int(torch.randint(SIZE - edge + 1, (), generator=generator)) for _ in range(2))
    x = interpolate(x[..., top : top + edge, left : left + edge], (side, side), mode="bilinear")
    if torch.rand((), generator=generator) < 0.5:
        x = x.flip(-1)
    gain = 1 + 0.3 * (torch.rand(len(x), 3, 1, 1, generator=generator) - 0.5)
    shift = 0.3 * (torch.rand(len(x), 3, 1, 1, generator=generator) - 0.5)
    return (x * gain.to(x) + shift.to(x)).clamp(-1, 1)


class SelfDistillation(Objective):
    """Two global crops for the teacher, two global and four local ones for the student."""

    def __init__(self, setup: Setup):
        super().__init__()
        self.model = Student().to(setup.device)
        self.teacher = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.register_buffer("centre", torch.zeros(PROTOTYPES, device=setup.device))
        self.setup, self.batch = setup, setup.batch

    def forward(self, step: int) -> Tensor:
        setup = self.setup
        generator = setup.generator(step)
        index = torch.randint(len(setup.corpus), (self.batch,), generator=generator).numpy()
        side = (setup.corpus.source, setup.corpus.target)[step % 2]
        x = tensor(side[index], setup.device)
        wide = [crop(x, SIZE, (0.4, 1.0), generator) for _ in range(2)]
        near = [crop(x, LOCAL, (0.08, 0.35), generator) for _ in range(4)]
        with setup.autocast():
            with torch.no_grad():
                seen = self.teacher.eval()(torch.cat(wide)).float()
            views = torch.cat([self.model(torch.cat(wide)), self.model(torch.cat(near))]).float()
        truths = ((seen - self.centre) / TEACHER).softmax(dim=-1).chunk(2)
        guesses = log_softmax(views / STUDENT, dim=-1).chunk(6)
        with torch.no_grad():
            self.centre.lerp_(seen.mean(dim=0), 0.1)
        terms = [
            -(truth * guess).sum(dim=-1).mean()
            for i, truth in enumerate(truths)
            for j, guess in enumerate(guesses)
            if i != j
        ]
        return sum(terms) / len(terms)

    def after_step(self) -> None:
        with torch.no_grad():
            for mine, theirs in zip(
                self.teacher.parameters(), self.model.parameters(), strict=True
            ):
                mine.lerp_(theirs, 1 - MOMENTUM)


def train(setup: Setup) -> Outcome:
    """The averaged student's backbone is what is shipped."""
    torch.manual_seed(setup.seed)
    schedule = Schedule(setup.samples, setup.rate or 7e-4, weight_decay=0.05, ema=0.998)
    model, outcome = fit(
        SelfDistillation(setup), schedule=schedule, folder=setup.work, name="dinov2",
        rehearsal=setup.rehearsal,
    )  # fmt: skip
    backbone = model.backbone
    backbone.load_state_dict(half(backbone.state_dict()))
    save_half(backbone, setup.models / "dinov2")
    processor().save_pretrained(setup.models / "dinov2")
    return outcome
