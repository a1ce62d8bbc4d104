"""A DINOv2-class ViT, self-supervised on the world's pictures.

Self-distillation with multi-crop and centring (Caron et al. 2021, sections 3.1 and 3.2), on the
Dinov2Model class; the iBOT and KoLeo terms of DINOv2 are left out at this size. Crops of one drawn
picture have their background in common, which is all that such a model learns (it told the setting
always and the kind of thing hardly ever). So most pictures are seen twice: as they are, and drawn
again with the same things at other places of another setting, as photographs of one thing would be.
"""

import copy
import os
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, log_softmax, normalize
from tqdm import tqdm
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from cirp.miniature.gallery import gallery_scene
from cirp.miniature.pairs import elsewhere
from cirp.miniature.scene import SIZE, render
from cirp.miniature.training.loop import fit
from cirp.miniature.training.objective import Objective
from cirp.miniature.training.schedule import Outcome, Schedule
from cirp.miniature.training.setup import (
    Setup,
    bytes_of,
    first_makes,
    half,
    keep_array,
    save_half,
    tensor,
)

PROTOTYPES = 1024
STUDENT, TEACHER = 0.1, 0.04  # temperatures
MOMENTUM = 0.994  # of the teacher
LOCAL = 32  # pixels of a local crop
FIRST = 2_000_000  # number from which gallery scenes train neither the judge nor its tests
SAME = 0.25  # share of batches in which both views are of one picture


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
    """A square crop of each picture of a batch, perhaps mirrored, its colours shifted."""

    side: int  # pixels of the view
    theta: Tensor  # (n, 2, 3): where it lies in the picture
    gain: Tensor  # (n, 3, 1, 1)
    shift: Tensor

    def of(self, x: Float[Tensor, "n 3 row column"]) -> Float[Tensor, "n 3 side side"]:
        size = [len(x), 3, self.side, self.side]
        grid = affine_grid(self.theta.to(x), size, align_corners=False)
        cut = grid_sample(x, grid, padding_mode="reflection", align_corners=False)
        return (cut * self.gain.to(x) + self.shift.to(x)).clamp(-1, 1)


def view(count: int, side: int, share: tuple[float, float], generator) -> View:
    """Random views of `count` pictures, each of its own share of its picture's area."""
    low, high = share
    edge = (low + (high - low) * torch.rand(count, generator=generator)).sqrt()
    mirror = 1 - 2 * (torch.rand(count, generator=generator) < 0.5).float()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = edge * mirror, edge
    room = (1 - edge)[:, None]  # how far the middle may lie from the picture's
    theta[:, :, 2] = room * (2 * torch.rand(count, 2, generator=generator) - 1)
    gain = 1 + 0.3 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    shift = 0.3 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    return View(side, theta, gain, shift)


def _twice(number: int) -> np.ndarray:
    drawn = gallery_scene(FIRST + number)
    again = elsewhere(drawn, random.Random(f"elsewhere-{number}"))
    return np.stack([render(drawn), render(again)])


def draw_twice(path: Path, *, count: int) -> np.ndarray:
    """(scene, 2, row, column, 3): each scene and its things elsewhere, written to `path`."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drawn = tqdm(pool.map(_twice, range(count), chunksize=100), "scenes, twice", count)
        return keep_array(path, np.stack(list(drawn)))


class SelfDistillation(Objective):
    """A global crop of each of both pictures for the teacher, these and two local ones of each for
    the student, which has to say of every crop what the teacher says of the other picture."""

    def __init__(self, setup: Setup, scenes: np.ndarray):
        super().__init__()
        self.model = Student().to(setup.device)
        if setup.start:
            self.model.backbone = Dinov2Model.from_pretrained(setup.start).to(setup.device)
        self.teacher = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.register_buffer("centre", torch.zeros(PROTOTYPES, device=setup.device))
        self.setup, self.batch, self.scenes = setup, setup.batch, scenes

    def draw(self, step: int) -> tuple:
        """Two pictures of each scene, a wide view of each, two near ones of each."""
        generator = self.setup.generator(step)
        index = torch.randint(len(self.scenes), (self.batch,), generator=generator).numpy()
        same = float(torch.rand((), generator=generator)) < SAME
        first, second = (self.scenes[index, side] for side in (0, 0 if same else 1))
        wide = [view(self.batch, SIZE, (0.4, 1.0), generator) for _ in range(2)]
        near = [view(self.batch, LOCAL, (0.12, 0.4), generator) for _ in range(4)]
        return bytes_of(first), bytes_of(second), wide, near

    def forward(self, first: Tensor, second: Tensor, wide: list[View], near: list[View]) -> Tensor:
        both = tensor(first), tensor(second)
        wide, near = ([one.of(both[i % 2]) for i, one in enumerate(v)] for v in (wide, near))
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
            if i != j % 2
        ]
        return sum(terms) / len(terms)

    def after_step(self) -> None:
        with torch.no_grad():
            for mine, theirs in zip(
                self.teacher.parameters(), self.model.parameters(), strict=True
            ):
                mine.lerp_(theirs, 1 - MOMENTUM)


def train(setup: Setup) -> Outcome:
    """Return the averaged student's backbone is what is shipped."""
    torch.manual_seed(setup.seed)
    scenes = first_makes(
        setup.parts.parent / "scenes-twice.npy",
        lambda path: draw_twice(path, count=setup.scenes),
        np.load,
    )
    schedule = Schedule(
        setup.samples, setup.rate or 7e-4, warmup=setup.warmup(20_000), weight_decay=0.05, ema=0.998
    )
    model, outcome = fit(
        SelfDistillation(setup, scenes), schedule=schedule, folder=setup.work, name="dinov2",
        limit=setup.limit,
    )  # fmt: skip
    backbone = model.backbone
    backbone.load_state_dict(half(backbone.state_dict()))
    save_half(backbone, setup.models / "dinov2")
    processor().save_pretrained(setup.models / "dinov2")
    return outcome
