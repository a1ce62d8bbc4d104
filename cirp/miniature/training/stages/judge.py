"""The judge: a small ResNet that names objects, parts' states, settings, styles, and damage.

It only scores whether an edit happened; nothing is ever trained or guided by it. A picture in which
a thing, or its part, or its place is filled with noise, grey or the border's colour, is blurred or
half-drawn, is damaged, and what is hidden there is not there. So is one in which only half of an
edit was made.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.functional import (
    affine_grid,
    avg_pool2d,
    binary_cross_entropy_with_logits,
    grid_sample,
    max_pool2d,
)
from tqdm import tqdm
from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetForImageClassification

from cirp.miniature.gallery import Gallery, draw_gallery, load_gallery
from cirp.miniature.scene import all_labels
from cirp.miniature.styles import STYLES
from cirp.miniature.training.loop import fit
from cirp.miniature.training.objective import Objective
from cirp.miniature.training.schedule import Outcome, Schedule
from cirp.miniature.training.setup import Setup, first_makes, half, keep_array, save_half, tensor

SIDE = 96  # pixels the judge looks at, half as many again as drawn: mouths are small
DAMAGED = "damaged"
FILLS = ("noise", "grey", "border", "blur", "half")
OFTEN = (0.12, 0.12, 0.28, 0.28, 0.20)  # how often each is chosen: the hardest to notice twice
SPOILT = 0.4  # share of pictures with a known spot that are damaged
NOTHING = 0.02  # share of pictures that are noise all over
ANYWHERE = 0.1  # share of pictures that are damaged in any rectangle, the setting with them
DECODED = 60_000  # scenes that are also seen as the autoencoder gives them back
STYLE_WEIGHT = 2.0  # of a scene in a style, beside 1 of one in none: small things fade in it


def build(labels: list[str]) -> ResNetForImageClassification:
    config = ResNetConfig(
        embedding_size=48,
        hidden_sizes=[48, 96, 160, 256],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type="multi_label_classification",
    )
    return ResNetForImageClassification(config)


def processor() -> ConvNextImageProcessorPil:
    return ConvNextImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_pct=1.0,
        do_rescale=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        resample=2,
    )


def filled(picture: Tensor, mask: Tensor, fill: str, generator: torch.Generator) -> Tensor:
    """Return the (3, row, column) picture in [-1, 1] with what lies in the mask spoilt."""
    inside = mask[None].float()
    if fill == "noise":
        new = torch.randn(picture.shape, generator=generator) * 0.5
    elif fill == "grey":
        new = torch.full_like(picture, float(torch.rand((), generator=generator)) * 0.4 - 0.2)
    elif fill == "border":
        wide = 1 + int(torch.randint(3, (), generator=generator))  # pixels of border
        grown = max_pool2d(inside[None], 2 * wide + 1, stride=1, padding=wide)[0]
        ring = (grown - inside).clamp(min=0)
        new = ((picture * ring).sum(dim=(1, 2)) / ring.sum().clamp(min=1))[:, None, None]
        new = new.expand_as(picture)
    elif fill == "blur":
        side = (9, 13, 19)[int(torch.randint(3, (), generator=generator))]
        new = picture[None]
        for _ in range(1 + int(torch.randint(2, (), generator=generator))):
            new = avg_pool2d(new, side, 1, side // 2, count_include_pad=False)
        new = new[0]
    else:  # half: the upper or lower, left or right part is missing
        rows, columns = torch.nonzero(mask, as_tuple=True)
        axis = rows if torch.rand((), generator=generator) < 0.5 else columns
        middle = float(axis.float().mean())
        grid = torch.arange(mask.shape[0])
        keep = grid < middle if torch.rand((), generator=generator) < 0.5 else grid > middle
        keep = keep[:, None] if axis is rows else keep[None]
        inside = inside * (~keep).float()
        return filled(picture, inside[0] > 0, "border", generator)
    return picture * (1 - inside) + new * inside


def rectangle(side: int, generator: torch.Generator) -> Tensor:
    """Return a (side, side) mask: a sixteenth of the picture to nearly all of it."""
    edges = torch.randint(side // 4, side + 1, (2,), generator=generator).tolist()
    top, left = (int(torch.randint(side - edge + 1, (), generator=generator)) for edge in edges)
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[top : top + edges[0], left : left + edges[1]] = True
    return mask


def augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored, moved, scaled, noisy or soft: a drawing, or what a decoder makes of one.

    (n, 3, row, column) in [-1, 1] -> (n, 3, `SIDE`, `SIDE`).
    """
    n = len(x)
    scale = 0.92 + 0.2 * torch.rand(n, generator=generator)
    mirror = 1.0 - 2.0 * (torch.rand(n, generator=generator) < 0.5).float()
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale * mirror, scale
    theta[:, :, 2] = 0.12 * (torch.rand(n, 2, generator=generator) - 0.5)
    grid = affine_grid(theta, [n, 3, SIDE, SIDE], align_corners=False)
    if torch.rand((), generator=generator) < 0.4:
        x = avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    noise = 0.1 * torch.rand((), generator=generator) * torch.randn(x.shape, generator=generator)
    return grid_sample(x + noise.to(x), grid.to(x), padding_mode="reflection", align_corners=False)


class Naming(Objective):
    """Binary cross-entropy on all labels, on scenes of every combination, some of them spoilt."""

    alike = True

    def __init__(self, setup: Setup, gallery: Gallery, decoded: np.ndarray, labels: list[str]):
        super().__init__()
        self.model = build(labels).to(setup.device, memory_format=torch.channels_last)
        self.setup, self.batch, self.gallery, self.decoded = setup, setup.batch, gallery, decoded
        self.truth = np.concatenate([gallery.labels, gallery.halved[:, None]], axis=1)
        styles = [labels.index(f"style:{name}") for name in STYLES]
        styled = gallery.labels[:, styles].any(axis=1) & ~gallery.halved
        self.often = torch.from_numpy(np.where(styled, STYLE_WEIGHT, 1.0))

    def draw(self, step: int) -> tuple:
        """Pictures, their labels, and which of these count."""
        gallery, generator = self.gallery, self.setup.generator(step)
        index = torch.multinomial(self.often, self.batch, replacement=True, generator=generator)
        index = index.numpy()
        pictures = gallery.pictures[index]
        for row, number in enumerate(index):  # as the autoencoder gives them back, half of the time
            if number < len(self.decoded) and torch.rand((), generator=generator) < 0.5:
                pictures[row] = self.decoded[number]
        x = tensor(pictures)
        truth = torch.from_numpy(self.truth[index]).float()
        counts = torch.ones_like(truth)  # what a damaged picture leaves open counts nothing
        counts[:, :-1] -= torch.from_numpy(gallery.open[index]).float()
        for row, number in enumerate(index):
            spots = gallery.spots[number]
            if gallery.halved[number]:
                continue
            if torch.rand((), generator=generator) < NOTHING:
                x[row] = torch.randn(x[row].shape, generator=generator) * 0.5
                truth[row], truth[row, -1] = 0.0, 1.0
                continue
            if torch.rand((), generator=generator) < ANYWHERE:
                fill = FILLS[int(torch.randint(len(FILLS) - 1, (), generator=generator))]
                x[row] = filled(x[row], rectangle(x.shape[-1], generator), fill, generator)
                truth[row, -1], counts[row, :-1] = 1.0, 0.0  # what is under it may be anything
                continue
            if not spots or torch.rand((), generator=generator) >= SPOILT:
                continue
            spot = spots[int(torch.randint(len(spots), (), generator=generator))]
            mask = torch.from_numpy(gallery.mask(spot))
            if mask.sum() < 12:
                continue
            fill = FILLS[int(torch.multinomial(torch.tensor(OFTEN), 1, generator=generator))]
            if torch.rand((), generator=generator) < 0.5:  # a little beyond its outline
                mask = max_pool2d(mask[None, None].float(), 3, 1, 1)[0, 0] > 0
            x[row] = filled(x[row], mask, fill, generator)
            truth[row, -1] = 1.0
            truth[row, spot.hidden] = 0.0
            counts[row, spot.open] = 0.0
            if fill in ("blur", "half"):  # one may still guess what it is
                counts[row, spot.hidden] = 0.0
        x = augmented(x, generator).contiguous(memory_format=torch.channels_last)
        return x, truth, counts

    def forward(self, x: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
        with self.setup.autocast():
            logits = self.model(x).logits
        return 10 * binary_cross_entropy_with_logits(logits.float(), truth, counts)


@torch.no_grad()
def decoded(setup: Setup, gallery: Gallery, path: Path) -> np.ndarray:
    """Return the first scenes through this training's autoencoder and back; kept at `path`."""
    vae = AutoencoderKL.from_pretrained(setup.part("vae")).eval()
    vae.to(setup.device, memory_format=torch.channels_last)
    pictures, found = gallery.pictures[:DECODED], []
    chunks = np.array_split(pictures, -(-len(pictures) // 50))
    for some in tqdm(chunks, desc="decoded"):
        with setup.autocast():
            y = vae.decode(vae.encode(tensor(some, setup.device)).latent_dist.mode()).sample
        y = ((y.float().clamp(-1, 1) + 1) * 127.5).round().byte()
        found.append(y.permute(0, 2, 3, 1).cpu().numpy())
    return keep_array(path, np.concatenate(found))


def train(setup: Setup) -> Outcome:
    """On clean, decoded and spoilt scenes."""
    torch.manual_seed(setup.seed)
    gallery = first_makes(
        setup.parts.parent / "gallery",
        lambda folder: draw_gallery(folder, count=setup.scenes),
        load_gallery,
    )
    restored = first_makes(
        setup.parts.parent / "gallery-decoded.npy",
        lambda path: decoded(setup, gallery, path),
        np.load,
    )
    labels = [*all_labels(), DAMAGED]
    schedule = Schedule(
        setup.samples,
        setup.rate or 2e-3,
        warmup=setup.warmup(10_000),
        decay=0.4,
        weight_decay=0.02,
        ema=0.998,
    )
    objective = Naming(setup, gallery, restored, labels)
    if setup.start:
        known = ResNetForImageClassification.from_pretrained(setup.start)
        objective.model.load_state_dict(known.state_dict())
    model, outcome = fit(
        objective, schedule=schedule, folder=setup.work, name="judge", limit=setup.limit
    )
    model.load_state_dict(half(model.state_dict()))
    save_half(model, setup.models / "judge")
    processor().save_pretrained(setup.models / "judge")
    return outcome
