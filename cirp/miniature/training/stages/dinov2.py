"""A DINOv2-class ViT, self-supervised on the world's pictures.

Self-distillation with multi-crop and centring (Caron et al. 2021, sections 3.1 and 3.2), on the
Dinov2Model class; the iBOT and KoLeo terms of DINOv2 are left out at this size.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, log_softmax, normalize
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from cirp.miniature.scene import SIZE
from cirp.miniature.training.loop import fit
from cirp.miniature.training.objective import Objective
from cirp.miniature.training.schedule import Outcome, Schedule
from cirp.miniature.training.setup import Setup, bytes_of, half, save_half, tensor

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


@dataclass(frozen=True)
class View:
    """A square crop of every picture of a batch, perhaps mirrored, its colours shifted."""

    side: int  # pixels of the view
    box: tuple[int, int, int]  # top, left, edge
    mirrored: bool
    gain: Tensor  # (n, 3, 1, 1)
    shift: Tensor

    def of(self, x: Float[Tensor, "n 3 row column"]) -> Float[Tensor, "n 3 side side"]:
        top, left, edge = self.box
        cut = x[..., top : top + edge, left : left + edge]
        x = interpolate(cut, (self.side, self.side), mode="bilinear")
        x = x.flip(-1) if self.mirrored else x
        return (x * self.gain.to(x) + self.shift.to(x)).clamp(-1, 1)


def view(count: int, side: int, share: tuple[float, float], generator) -> View:
    """A random view of `count` pictures that holds a share of their area."""
    low, high = share
    area = low + (high - low) * float(torch.rand((), generator=generator))
    edge = max(8, round(SIZE * area**0.5))
    top, left = (int(torch.randint(SIZE - edge + 1, (), generator=generator)) for _ in range(2))
    mirrored = bool(torch.rand((), generator=generator) < 0.5)
    gain = 1 + 0.3 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    shift = 0.3 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    return View(side, (top, left, edge), mirrored, gain, shift)


class SelfDistillation(Objective):
    """Two global crops for the teacher, two global and four local ones for the student."""

    def __init__(self, setup: Setup):
        super().__init__()
        self.model = Student().to(setup.device)
        self.teacher = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.register_buffer("centre", torch.zeros(PROTOTYPES, device=setup.device))
        self.setup, self.batch = setup, setup.batch

    def draw(self, step: int) -> tuple:
        """Pictures, two wide views of them, four near ones."""
        setup = self.setup
        generator = setup.generator(step)
        index = torch.randint(len(setup.corpus), (self.batch,), generator=generator).numpy()
        side = (setup.corpus.source, setup.corpus.target)[step % 2]
        wide = [view(self.batch, SIZE, (0.4, 1.0), generator) for _ in range(2)]
        near = [view(self.batch, LOCAL, (0.08, 0.35), generator) for _ in range(4)]
        return bytes_of(side[index]), wide, near

    def forward(self, pictures: Tensor, wide: list[View], near: list[View]) -> Tensor:
        x = tensor(pictures)
        wide, near = ([one.of(x) for one in views] for views in (wide, near))
        with self.setup.autocast():
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
    schedule = Schedule(
        setup.samples, setup.rate or 7e-4, warmup=setup.warmup(20_000), weight_decay=0.05, ema=0.998
    )
    model, outcome = fit(
        SelfDistillation(setup), schedule=schedule, folder=setup.work, name="dinov2",
        limit=setup.limit,
    )  # fmt: skip
    backbone = model.backbone
    backbone.load_state_dict(half(backbone.state_dict()))
    save_half(backbone, setup.models / "dinov2")
    processor().save_pretrained(setup.models / "dinov2")
    return outcome
