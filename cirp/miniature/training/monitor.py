"""How far an editor is while it trains: success by kind, loss by noise level, a picture.

On validation edits only. Numbers steer the training; what the book prints is measured elsewhere.
"""

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from cirp.miniature.draw_pairs import draw_pair
from cirp.miniature.grammar import EDIT_KINDS
from cirp.miniature.pairs import Pair
from cirp.miniature.scene import SIZE, region, render
from cirp.miniature.training.setup import tensor

EDITS = 96
STEPS = 16
SCALES = (2.5, 1.5)  # text, image: where pictures are best; the book chooses on a plane
LEVELS = (100, 300, 500, 700, 900)  # timesteps at which the loss is looked at
SHOWN = 36
ACROSS, GAP = 4, 2  # of the picture: strips a line, pixels after each picture's width and height
SEEN = 0.5  # probability from which the judge has seen a label
SHIPPED_JUDGE = Path(__file__).resolve().parents[3] / "data" / "models" / "judge"


def edits(count: int = EDITS) -> list[Pair]:
    """Return the first validation edits, equally many of each kind."""
    return [draw_pair(i, "validation", kind=EDIT_KINDS[i % len(EDIT_KINDS)]) for i in range(count)]


def sheet(strips: list[list[np.ndarray]]) -> Image.Image:
    """Strips of three pictures each (row, column, 3), `ACROSS` strips a line."""
    lines = -(-len(strips) // ACROSS)
    page = np.full((lines * (SIZE + GAP), ACROSS * 3 * (SIZE + GAP), 3), 255, np.uint8)
    for number, strip in enumerate(strips):
        page[_place(number)] = np.concatenate(strip, axis=1)
    return Image.fromarray(page)


def strip_of(page: Image.Image, number: int) -> list[np.ndarray]:
    """Return the three pictures of a strip of such a sheet."""
    return np.split(np.asarray(page.convert("RGB"))[_place(number)], 3, axis=1)


def _place(number: int) -> tuple[slice, slice]:
    line, place = divmod(number, ACROSS)
    top, left = line * (SIZE + GAP), place * 3 * (SIZE + GAP)
    return slice(top, top + SIZE), slice(left, left + 3 * SIZE)


@dataclass(frozen=True)
class Monitor:
    """Looks at a pipeline folder and writes into `folder`."""

    folder: Path
    work: Path  # where a judge of this training may be
    device: torch.device = torch.device("cpu")

    @cached_property
    def pairs(self) -> list[Pair]:
        return edits()

    @cached_property
    def pictures(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources, targets, regions."""
        return tuple(
            np.stack([f(p) for p in self.pairs])
            for f in (
                lambda p: render(p.source),
                lambda p: render(p.target),
                lambda p: region(p.source, p.target),
            )
        )

    @torch.inference_mode()
    def judged(self, pictures: list[Image.Image]) -> pd.DataFrame:
        """Probability of each label."""
        own = self.work / "models" / "judge"
        folder = own if own.is_dir() else SHIPPED_JUDGE
        judge = AutoModelForImageClassification.from_pretrained(folder).eval().to(self.device)
        process = AutoImageProcessor.from_pretrained(folder, backend="pil")
        found = []
        for start in range(0, len(pictures), 32):
            pixels = process(images=pictures[start : start + 32], return_tensors="pt").pixel_values
            found.append(judge(pixel_values=pixels.to(self.device)).logits.sigmoid().cpu())
        names = [judge.config.id2label[i] for i in range(judge.config.num_labels)]
        return pd.DataFrame(torch.cat(found).numpy(), columns=names)

    def edited(self, pipe: StableDiffusionInstructPix2PixPipeline) -> list[Image.Image]:
        sources, _, _ = self.pictures
        found = []
        for start in range(0, len(self.pairs), 32):
            some = range(start, min(start + 32, len(self.pairs)))
            found += pipe(
                prompt=[self.pairs[i].instruction for i in some],
                image=[Image.fromarray(sources[i]) for i in some],
                num_inference_steps=STEPS,
                guidance_scale=SCALES[0],
                image_guidance_scale=SCALES[1],
                generator=[torch.Generator().manual_seed(i) for i in some],
            ).images
        return found

    def scores(self, made: list[Image.Image]) -> pd.DataFrame:
        """One row an edit: is what was asked for there, what nobody asked for still, how near.

        Nearness is to the one target and on average: easier than the book's (`metrics.answers`).
        """
        sources, targets, regions = self.pictures
        seen = self.judged(made)
        rows = []
        for i, p in enumerate(self.pairs):
            picture, inside = np.asarray(made[i]).astype(float) / 255, regions[i]
            source, target = sources[i] / 255, targets[i] / 255

            def distance(a, b, where):
                return float(np.abs(a - b).mean(axis=-1)[where].mean()) if where.any() else 0.0

            kept = p.source.labels() & p.target.labels()
            yes = seen.loc[i]
            gained = all(yes[name] >= SEEN for name in p.gained)
            lost = all(yes[name] < SEEN for name in p.lost)
            untouched = all(yes[name] >= SEEN for name in kept)
            near = distance(picture, target, inside) < distance(source, target, inside)
            rows.append(
                {
                    "kind": p.kind,
                    "done": gained and lost,
                    "untouched": untouched,
                    "nearer": near,
                    "success": gained and lost and untouched and near,
                    "outside": distance(picture, source, ~inside),
                    "inside": distance(picture, target, inside),
                }
            )
        return pd.DataFrame(rows)

    @torch.inference_mode()
    def losses(self, pipe: StableDiffusionInstructPix2PixPipeline) -> dict[str, float]:
        """Velocity error of local edits inside and outside of the changing cells, by timestep."""
        sources, targets, _ = self.pictures

        def encoded(pictures):
            x = tensor(pictures, self.device)
            return torch.cat([pipe.vae.encode(s).latent_dist.mode() for s in x.split(32)])

        local = [i for i, p in enumerate(self.pairs) if p.kind not in ("restyle", "change setting")]
        source, target = encoded(sources[local]), encoded(targets[local])
        moved = ((source - target).abs().amax(dim=1, keepdim=True) > 0.25).float()
        tokens = pipe.tokenizer(
            [self.pairs[i].instruction for i in local], padding="max_length", return_tensors="pt"
        ).input_ids.to(self.device)
        states = pipe.text_encoder(tokens).last_hidden_state
        noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0)).to(target)
        x, found = target * pipe.vae.config.scaling_factor, {}
        for level in LEVELS:
            t = torch.full((len(local),), level, device=self.device)
            noised = pipe.scheduler.add_noise(x, noise, t)
            truth = pipe.scheduler.get_velocity(x, noise, t)
            out = pipe.unet(torch.cat([noised, source], dim=1), t, states).sample
            error = (out - truth).square().mean(dim=1, keepdim=True)
            found[f"inside_{level}"] = float((error * moved).sum() / moved.sum())
            found[f"outside_{level}"] = float((error * (1 - moved)).sum() / (1 - moved).sum())
        return found

    def look(self, pipeline: Path, samples: int, minutes: float) -> dict[str, float]:
        """Measure the pipeline in this folder; append to the log, write the picture."""
        pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(
            pipeline, safety_checker=None, requires_safety_checker=False, dtype=torch.float32
        )
        pipe.to(self.device).set_progress_bar_config(disable=True)
        with torch.random.fork_rng():
            made = self.edited(pipe)
            losses = self.losses(pipe)
        table = self.scores(made)
        local = table[~table["kind"].isin(["restyle", "change setting"])]
        row = {"samples": samples, "minutes": round(minutes, 1)}
        row |= {"success": table["success"].mean(), "local": local["success"].mean()}
        row |= {"done": local["done"].mean(), "untouched": local["untouched"].mean()}
        row |= {"outside": local["outside"].mean(), "inside": local["inside"].mean()}
        row |= table.groupby("kind")["success"].mean().to_dict() | losses
        path = self.folder / "monitor.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(row)
            writer.writerow([round(v, 4) for v in row.values()])
        sources, targets, _ = self.pictures
        shown = range(min(SHOWN, len(self.pairs)))
        strips = [[sources[i], np.asarray(made[i]), targets[i]] for i in shown]
        sheet(strips).save(self.folder / f"edits-{samples:08d}.png")
        return row
