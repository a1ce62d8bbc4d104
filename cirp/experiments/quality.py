"""`cirp miniature quality`: every bar of the miniature, on held-out test edits.

Every number is a mean over the edits with its 95 % bootstrap interval (BCa; the exact binomial one
where all answers are alike), unit: the edit.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models, load
from cirp.diffusion.sampling import captions_to_images
from cirp.experiments import cache, controls, encoder_quality, guidance, records
from cirp.experiments.configurations import STEPS
from cirp.experiments.drawn import is_local, load_miniature_edits
from cirp.experiments.engine import Job
from cirp.experiments.plan import plan
from cirp.metrics import similarity
from cirp.metrics.features import FeatureExtractor, load_features
from cirp.miniature.grammar import WHOLE_PICTURE
from cirp.statistics.bootstrap import PRIMARY, SUCCESS, mean_interval

CODE = "bars 4"  # raise it when a measure changes
TEST, AIMS = plan().splits.bars, plan().primary
PAPER = (7.5, 1.5)  # text and image guidance of InstructPix2Pix
AT_LEAST, AT_MOST = "at least", "at most"


def bar(
    name: str, values, wanted: float | None = None, sense: str = AT_LEAST, **columns
) -> dict[str, object]:
    """One line of the table: mean, interval, number of edits, what was wanted.

    `reached` is "yes" only if the whole interval is on the right side, "no" if all of it is on the
    wrong one.
    """
    values = np.asarray(values, dtype=float)
    answers = np.isin(values, (0, 1)).all()
    found = mean_interval(values, metric=SUCCESS if answers else "")
    low, high = (v if np.isfinite(v) else found.mean for v in (found.low, found.high))
    good = (low >= wanted, high < wanted) if sense == AT_LEAST and wanted is not None else None
    if wanted is not None and sense == AT_MOST:
        good = (high <= wanted, low > wanted)
    reached = "" if good is None else "yes" if good[0] else "no" if good[1] else "open"
    return {
        "bar": name, "kind": "", "part": "", "mean": found.mean, "low": found.low,
        "high": found.high, "n": found.n, "wanted": np.nan if wanted is None else wanted,
        "sense": sense if wanted is not None else "", "reached": reached, **columns,
    }  # fmt: skip


def autoencoder(items: list[EditItem], models: Models, table: pd.DataFrame) -> list[dict]:
    """PSNR of both sides, balance of the latents, and whether answers survive it."""
    pictures = [getattr(item, side)() for item in items for side in ("source", "target")]
    pairs = zip(pictures, controls.round_trips(pictures, models), strict=True)
    error = [
        float(((similarity.to_array(a) - similarity.to_array(b)) ** 2).mean()) for a, b in pairs
    ]
    by_edit = np.array([similarity.psnr(e) for e in error]).reshape(-1, 2).mean(axis=1)
    rows = [
        bar("autoencoder PSNR (dB)", by_edit, 31.0),
        bar(
            "latents: largest to smallest eigenvalue",
            [encoder_quality.eigenvalue_ratio(items, models)], 100.0, AT_MOST,
        ),
    ]  # fmt: skip
    through = table[table["method"] == controls.TARGET_TRIP]
    name = "true target through the autoencoder succeeds"
    rows.append(bar(name, through["success"], AIMS.target_at_least))
    rows += [
        bar(name, part["success"], 0.90, kind=kind) for kind, part in through.groupby("edit_type")
    ]
    return rows


def judge(table: pd.DataFrame) -> list[dict]:
    """It knows the answer from the source, and takes no filled region for an answer."""
    counted = controls.without_valid_answers(table)
    by = {name: part.set_index("id") for name, part in counted.groupby("method")}
    done, idle = by[controls.TARGET]["success"], by[controls.SOURCE]["success"]
    rows = [bar("judge: the true target succeeds, the source does not", (done > idle), 0.98)]
    least = AIMS.controls_at_most
    for name in (*controls.FILLS, controls.OTHER, controls.TRIP):
        kinds = {"": by[name], **dict(iter(by[name].groupby("edit_type")))}
        rows += [
            bar("control succeeds", some["success"], least, AT_MOST, part=name, kind=kind)
            for kind, some in kinds.items()
        ]
    return rows


def text_to_image(items: list[EditItem], models: Models, features: FeatureExtractor) -> list[dict]:
    """Are the things seen that a caption names? At the settings of the book's own pictures."""
    captions = [item.record.target_caption for item in items]
    images = captions_to_images(models, captions, seed=0, steps=STEPS)
    seen = features.judge(images)
    values = encoder_quality.named_things_seen(items, seen)
    return [bar("text-to-image: named things seen", values, 0.85)]


def instruct(table: pd.DataFrame, *, part: str = "", wanted: bool = True) -> list[dict]:
    """Edit success at one pair of scales, local and whole-picture edits apart, and by kind."""
    local = table[is_local(table)]
    aim = (0.60, 0.40, 0.90) if wanted else (None, None, None)
    rows = [bar("edit success: local edits", local["success"], aim[0], part=part)]
    for kind, some in table.groupby("edit_type"):
        least = aim[2] if kind in WHOLE_PICTURE else aim[1]
        rows.append(bar("edit success", some["success"], least, kind=kind, part=part))
    rows.append(bar("excess outside change (L1): local edits", local[PRIMARY], part=part))
    return rows


def wordings(table: pd.DataFrame, items: list[EditItem]) -> list[dict]:
    """Success by whether training has seen the instruction's wording."""
    novel = {item.id for item in items if item.record.novel_wording}
    is_novel = table["id"].isin(novel)
    return [
        bar("edit success: all edits", table[is_novel]["success"], part="wording held out"),
        bar("edit success: all edits", table[~is_novel]["success"], part="wording seen"),
    ]


def main(
    count: int | None, first: int | None, checks: int | None, text: float, image: float,
    models: str, out: Path,
) -> None:  # fmt: skip
    """Measure and print every bar; by default on the planned edits."""
    count, first = count or TEST.count, TEST.first if first is None else first
    checks = checks or controls.SPLIT.count
    features = load_features(models)
    loaded = load(models)
    items = cache.fitted(load_miniature_edits("test", count, first=first), loaded)
    checked = controls.EXPERIMENT.rows(
        Job(loaded, features, controls.items(checks)), controls.cells(),
        records.recorded("controls"),
    )  # fmt: skip
    rows = autoencoder(items, loaded, checked) + judge(checked)
    rows += encoder_quality.judge_calibration(items, features, bar)
    rows += encoder_quality.clip_retrieval(items, features, bar)
    rows += encoder_quality.dinov2_neighbours(items, features, bar)
    rows += text_to_image(items, loaded, features)
    places = [guidance.cell(text, image), guidance.cell(*PAPER)]
    made = guidance.EXPERIMENT.rows(Job(loaded, features, items), places)
    for (t, i), table in made.groupby(["text_scale", "image_scale"]):
        chosen = (t, i) == (text, image)
        rows += instruct(table, part=f"text {t:g}, image {i:g}", wanted=chosen)
        rows += wordings(table, items) if chosen else []
    table = pd.DataFrame(rows)
    settings = dict(steps=STEPS, text_scale=text, image_scale=image, count=count, first=first)
    tied = records.provenance(loaded, settings=settings, seed=0, code=CODE, features=features)
    tied["item"] = records.short_hash([records.item_hash(item) for item in items])
    table = records.write(out, table.assign(**tied), digits=5)
    print(table.drop(columns=list(records.PROVENANCE)).round(3).to_string(index=False))
