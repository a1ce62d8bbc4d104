"""Tables on disk, each row tied to what made it.

| column | what the row depends on |
|---|---|
| settings, seed | of the method, as given |
| weights | the models' tensors in memory, never a name, and all else of them: see `stated` |
| instruments | the same of the judge, CLIP, DINOv2, and version of the measures; empty: unscored |
| scheduler | its class and a hash of its configuration |
| processor | what rounding depends on: instruction set and arithmetic |
| item | the content of the edit: picture, instruction, captions, words, mask |
| code | the version of the code that made it, "method number" |

The number in `code` is raised by the author of a change that alters results (`Method.version`, or
the experiment's own). It is not derived from the source: a hash would change with every renamed
variable, and hours of recorded work would be thrown away for nothing. What a forgotten number would
hide is caught elsewhere: every quick build computes a slice of each table again and compares it.
"""

import hashlib
import json
import os
import platform
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.metrics import scores
from cirp.paths import RESULTS
from cirp.statistics.bootstrap import PRIMARY

PROVENANCE = (
    "settings", "seed", "weights", "instruments", "scheduler", "processor", "item", "code"
)  # fmt: skip
CHECKED = ("success", "success_soft", PRIMARY, "clip_i_source", "dinov2_source", "l1_source")
# How far a score may be from the recorded one: the largest difference of a cell, and the mean.
SAME, OTHER = (5e-3, 2e-3), (0.3, 5e-2)  # on the same processor, on another
FLIPS = 0.1  # share of yes-or-no scores (and at least one) that another processor may turn
REMEDY = "make full"
KEYS = ("id", "method", "point", "told", "region", "held", "pasted", "turn", "training_seed",
        "leak", "by", "part", "text_scale", "image_scale", "seed", "alpha")  # fmt: skip


def processor() -> str:
    """What rounding depends on. The same seed gives the same numbers wherever it is the same.

    Tables are made in float32: in bfloat16 every number of threads rounds its sums otherwise.
    """
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} float32"


def short_hash(facts) -> str:
    """Twelve hex digits of the sha256 of anything JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def scheduler_of_record(models: Models) -> str:
    """Both pipelines' schedulers: their classes and one hash of their configurations."""
    each = [pipe.scheduler for pipe in (models.instruct, models.text)]
    names = " / ".join(dict.fromkeys(type(one).__name__ for one in each))
    said = [{k: str(v) for k, v in one.config.items() if k[0] != "_"} for one in each]
    return f"{names} {short_hash(said)}"


def provenance(
    models: Models, *, settings: Mapping, seed: int, code: str, features: object = None
) -> dict[str, object]:
    """The columns of rows that belong to no single item; `item` is then empty.

    `features` are what the rows were scored with.
    """
    return {
        "settings": json.dumps(dict(settings), sort_keys=True),
        "seed": seed,
        "weights": stated("weights", models.fingerprint, lambda: models.state),
        "instruments": instruments(features),
        "scheduler": scheduler_of_record(models),
        "processor": processor(),
        "item": "",
        "code": code,
    }


def instruments(features: object) -> str:
    """What rows were scored with: the encoders' tensors and the version of what is measured."""
    tensors = getattr(features, "fingerprint", "")
    if not tensors:
        return ""
    return f"{stated('instruments', tensors, lambda: getattr(features, 'state', ''))} {scores.CODE}"


def stated(kind: str, tensors: str, state: Callable[[], str]) -> str:
    """The hash of tensors as a row records it, followed by that of all else they work with.

    Rows from before all else was hashed have the tensors' alone. What it was then stands in
    `made.json`, so that such a row is taken for the same only if nothing else has changed.
    """
    now = state()
    return tensors if before().get(kind, {}).get(tensors) == now else f"{tensors} {now}".strip()


@cache
def before() -> dict[str, dict[str, str]]:
    """`made.json`: of "weights" and "instruments", each hash of tensors with that of all else."""
    path = RESULTS / "made.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def item_hash(item: EditItem) -> str:
    """Of all that a method or a score is given of this edit."""
    record = item.record
    pixels = hashlib.sha256(item.source().tobytes()).hexdigest()
    mask, target = item.mask(), item.target()
    return short_hash(
        [
            pixels,
            None if mask is None else hashlib.sha256(mask.tobytes()).hexdigest(),
            None if target is None else hashlib.sha256(target.tobytes()).hexdigest(),
            record.instruction, record.source_caption, record.target_caption, record.words,
            record.target_words, record.gained, record.lost, record.is_global,
        ]
    )  # fmt: skip


def path_of(name: str) -> Path:
    """Where the book's table of this name is."""
    return RESULTS / f"{name}.csv"


def read(path: Path) -> pd.DataFrame:
    """A table as it was written: an edit that is called 0 stays "0", a hash of digits a text."""
    texts = ("id", "method", *(name for name in PROVENANCE if name != "seed"))
    return read_csv(path, dtype=dict.fromkeys(texts, str))


def read_csv(path: Path, **how) -> pd.DataFrame:
    """A CSV file in which only an empty cell is unknown: an edit may be called NA, null or None."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""], encoding="utf-8", **how)


def write(path: Path, table: pd.DataFrame, *, digits: int = 6) -> pd.DataFrame:
    """The table as it is read back. Written beside and moved: never torn, never half lost.

    Raises `ValueError` if a column of `PROVENANCE` is missing.
    """
    lacking = [name for name in PROVENANCE if name not in table]
    if lacking:
        raise ValueError(f"{path.name}: no column {', '.join(lacking)}; nothing would tie it down")
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        table.to_csv(half, index=False, float_format=f"%.{digits}g")
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
    return read(path)


def recorded(name: str) -> pd.DataFrame | None:
    """A table of the full study; None if it was not run yet."""
    path = path_of(name)
    return read(path) if path.exists() else None


def settings_by_label(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """These settings of each `method` label, as columns; a setting that was not given is missing.

    Raises `ValueError` for a label with two values of one setting.
    """
    own = table[["method", "settings"]].drop_duplicates()
    values = pd.DataFrame.from_records(
        [{name: json.loads(text).get(name) for name in names} for text in own["settings"]],
        columns=list(names), index=own["method"],
    )  # fmt: skip
    values = values[~values.reset_index().duplicated().to_numpy()]
    if not values.index.is_unique:
        label = values.index[values.index.duplicated()][0]
        raise ValueError(f"{label!r} stands for several settings: {values.loc[label].to_dict()}")
    return values


def required(name: str, remedy: str = REMEDY) -> pd.DataFrame:
    """A table of the full run. Raises `ValueError` if it was not run yet."""
    table = recorded(name)
    if table is None:
        raise ValueError(f"{path_of(name)} is missing; run {remedy}")
    return table


def same(table: pd.DataFrame, facts: Mapping[str, object]) -> pd.Series:
    """Which rows have exactly these provenance values."""
    found = pd.Series(True, index=table.index)
    for name, value in facts.items():
        found &= table[name].fillna("").astype(str) == str(value)
    return found


def agreement(
    fresh: pd.DataFrame,
    known: pd.DataFrame,
    path: Path,
    *,
    checked: Sequence[str] = CHECKED,
    remedy: str = REMEDY,
) -> float:
    """The largest difference of the checked scores between fresh and recorded cells.

    Raises `ValueError`, naming the table, the cell, the two values and the remedy, if a cell is
    missing, was made of anything else, or differs: in value, or in being undefined.
    """
    keys = [name for name in KEYS if name in fresh]
    fresh, known = _comparable(fresh, keys), _comparable(known, keys)
    lacking = [name for name in PROVENANCE if name not in known]
    if lacking:
        raise ValueError(f"{path} has no column {', '.join(lacking)}; run {remedy}")
    both = fresh.merge(known, on=keys, suffixes=("", "_recorded"))
    if len(both) < len(fresh):
        raise ValueError(
            f"{path} lacks {len(fresh) - len(both)} of {len(fresh)} cells; run {remedy}"
        )
    for name in ("weights", "instruments", "settings", "scheduler", "item", "code"):
        now, then = (
            both[name].fillna("").astype(str),
            both[f"{name}_recorded"].fillna("").astype(str),
        )
        if (now != then).any():
            row = both.loc[(now != then).idxmax()]
            raise ValueError(
                f"{path}: {_cell(row, keys)} was made with other {name} "
                f"({row[f'{name}_recorded']}, now {row[name]}); run {remedy}"
            )
    alike = set(both["processor"]) == set(both["processor_recorded"])
    return max((_compared(both, name, keys, path, alike, remedy) for name in checked), default=0.0)


def _comparable(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The table with its keys as they are when read from a file: an empty text is none."""
    return table.assign(**{k: table[k].replace("", np.nan) for k in keys if k in table})


def _cell(row: pd.Series, keys: Sequence[str]) -> str:
    return " / ".join(str(row[name]) for name in keys)


def _compared(
    both: pd.DataFrame, name: str, keys: Sequence[str], path: Path, alike: bool, remedy: str
) -> float:
    now, then = both[name].astype(float), both[f"{name}_recorded"].astype(float)
    gap = (now - then).abs().where(now.notna() | then.notna(), 0.0)
    gap = gap.where(now.notna() == then.notna(), np.inf)  # defined on one side alone
    most, mean = SAME if alike else OTHER
    if not alike and set(then.dropna().unique()) <= {0.0, 1.0} and np.isfinite(gap).all():
        bad = gap.sum() > max(1, FLIPS * len(gap))  # rounding may turn a verdict that was close
    else:
        bad = gap.max() > most or gap.mean() > mean
    if bad:
        row = both.loc[gap.idxmax()]
        raise ValueError(
            f"{path}: {name} of {_cell(row, keys)} was {row[f'{name}_recorded']:.4f} and is "
            f"{row[name]:.4f} now; run {remedy}"
        )
    return float(gap.max())
