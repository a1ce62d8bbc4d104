"""Tables on disk, each row tied to what made it.

| column | what the row depends on |
|---|---|
| settings, seed | of the method, as given |
| weights | the models' tensors in memory, never a name, and all else of them: see `stated` |
| instruments | the same of the judge, CLIP, DINOv2, and version of the measures; empty: unscored |
| scheduler | its class and a hash of its configuration |
| processor | what rounding depends on: instruction set and arithmetic |
| device | where the models ran: cpu, or the GPU's name and whether it used TF32 |
| versions | of torch and diffusers |
| item | the content of the edit: picture, mask, texts, words, labels, where it was drawn from |
| code | the version of the code that made it, "method number" |

The number in `code` is raised by the author of a change that alters results (`Method.version`, or
the experiment's own). It is not derived from the source: a hash would change with every renamed
variable, and hours of recorded work would be thrown away for nothing. What a forgotten number would
hide is caught elsewhere: every quick build computes a slice of each table again and compares it.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cirp.data.edits import EditItem
from cirp.diffusion.pipelines import Models
from cirp.metrics import scores
from cirp.paths import RESULTS, replacing
from cirp.statistics.bootstrap import PRIMARY

PROVENANCE = (
    "settings", "seed", "weights", "instruments", "scheduler", "processor", "device", "versions",
    "item", "code",
)  # fmt: skip
ROUNDING = ("processor", "device", "versions")  # another one is compared with more tolerance
TEXTS = ("id", "method", *(name for name in PROVENANCE if name != "seed"))
MADE = ("settings", "weights", "instruments", "scheduler", *ROUNDING, "code")
OF_ITEM = ("item", "edit_type", "is_global", "example")  # columns that follow from the edit
CHECKED = ("success", "success_soft", PRIMARY, "clip_i_source", "dinov2_source", "l1_source")
# How far a score may be from the recorded one: the largest difference of a cell, and the mean.
SAME, OTHER = (5e-3, 2e-3), (0.3, 5e-2)  # on the same processor, on another
FLIPS = 0.1  # share of yes-or-no scores (and at least one) that another processor may turn
REMEDY = "make full"
KEYS = ("id", "method", "point", "told", "region", "held", "pasted", "turn", "training_seed",
        "leak", "by", "part", "text_scale", "image_scale", "seed", "alpha",
        "kept")  # fmt: skip


def processor() -> str:
    """Return what rounding depends on: where it is equal, a seed gives equal numbers.

    Tables are made in float32: in bfloat16 every number of threads rounds its sums otherwise.
    """
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} float32"


def device_of(device: torch.device | str) -> str:
    """Return a device as rows record it: "cpu", or the GPU's name and whether it uses TF32."""
    device = torch.device(device)
    if device.type != "cuda":
        return device.type
    tf32 = " TF32" if torch.backends.cuda.matmul.allow_tf32 else ""
    return f"cuda {torch.cuda.get_device_name(device)}{tf32}"


@cache
def versions() -> str:
    """Return the versions on which a picture's rounding depends."""
    known = ((name, version(name).partition("+")[0]) for name in ("torch", "diffusers"))
    return ", ".join(f"{name} {number}" for name, number in known)


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
    """Return the columns of rows that belong to no single item; `item` is then empty.

    `features` are what the rows were scored with.
    """
    return {
        "settings": json.dumps(dict(settings), sort_keys=True),
        "seed": seed,
        "weights": stated("weights", models.fingerprint, lambda: models.state),
        "instruments": instruments(features),
        "scheduler": scheduler_of_record(models),
        "processor": processor(),
        "device": device_of(models.device),
        "versions": versions(),
        "item": "",
        "code": code,
    }


def instruments(features: object) -> str:
    """Return what rows were scored with: a hash of the encoders, and the version of the scores."""
    tensors = getattr(features, "fingerprint", "")
    if not tensors:
        return ""
    return f"{stated('instruments', tensors, lambda: getattr(features, 'state', ''))} {scores.CODE}"


def stated(kind: str, tensors: str, state: Callable[[], str]) -> str:
    """Return the hash of tensors as a row records it, followed by that of all else they work with.

    Rows from before all else was hashed have the tensors' alone. What it was then stands in
    `states.json`, so that such a row is taken for the same only if nothing else has changed.
    """
    now = state()
    return tensors if before().get(kind, {}).get(tensors) == now else f"{tensors} {now}".strip()


@cache
def before() -> dict[str, dict[str, str]]:
    """`states.json`: of "weights" and "instruments", each hash of tensors with that of all else."""
    path = RESULTS / "states.json"
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
            record.target_words, record.gained, record.lost, record.is_global, record.kept,
            record.split, record.seed, record.edit_type,
        ]
    )  # fmt: skip


def path_of(name: str) -> Path:
    """Where the book's table of this name is."""
    return RESULTS / f"{name}.csv"


def read(path: Path) -> pd.DataFrame:
    """Return a table as it was given to `write`, its columns in their order.

    An edit that is called 0 stays "0", a hash of digits a text.
    """
    table, aside = read_csv(path, dtype=dict.fromkeys(TEXTS, str)), aside_of(path)
    if not aside.exists():  # a table that was not written here
        return table
    known = json.loads(aside.read_text(encoding="utf-8"))
    if known["csv"] != hashlib.sha256(path.read_bytes()).hexdigest():
        raise ValueError(f"{path} and {aside.name} are not of one run; make the table anew")
    return _whole(table, known)


def aside_of(path: Path) -> Path:
    """Where a table's repeated columns are: main.csv has main.made.json."""
    return path.with_suffix(".made.json")


def _factored(table: pd.DataFrame) -> tuple[pd.DataFrame, dict]:
    """Split a table into what differs from row to row, and what does not.

    Aside go columns with one value, columns that follow from the edit (`items`), and what a row's
    cell is and was made of (`made`, whose place stands in the row): most of a table's bytes,
    written once.
    """
    columns, rest = list(table.columns), table.copy()
    constant = {
        name: _plain(rest[name].iloc[0])
        for name in columns
        if name not in ("id", "method") and len(rest) and rest[name].nunique(dropna=False) == 1
    }
    rest = rest.drop(columns=list(constant))
    of_item = [
        name for name in OF_ITEM
        if name in rest and "id" in rest
        and (rest.groupby("id")[name].nunique(dropna=False) <= 1).all()
    ]  # fmt: skip
    items = {}
    if of_item:
        first = rest.drop_duplicates("id")
        for name in ("id", *of_item):
            items[name] = [_plain(value) for value in first[name]]
        rest = rest.drop(columns=of_item)
    made, of_made = [], [name for name in (*KEYS[1:], *MADE) if name in rest]
    if of_made:
        places = rest.groupby(of_made, sort=False, dropna=False).ngroup()
        first = rest[of_made].drop_duplicates()
        made = [[_plain(value) for value in row] for row in first.itertuples(index=False)]
        rest.insert(0, "made", places)
        rest = rest.drop(columns=of_made)
    return rest, {
        "columns": columns, "constant": constant, "items": items,
        "made": {"columns": of_made, "rows": made},
    }  # fmt: skip


def _whole(table: pd.DataFrame, known: Mapping) -> pd.DataFrame:
    """Put the columns that `_factored` took out back in."""
    found = {name: table[name] for name in table}
    if columns := known["made"]["columns"]:
        for name, values in zip(columns, zip(*known["made"]["rows"], strict=True), strict=True):
            found[name] = pd.Series(list(values)).iloc[table["made"]].reset_index(drop=True)
    if items := known["items"]:
        for name in list(items)[1:]:
            found[name] = table["id"].map(dict(zip(items["id"], items[name], strict=True)))
    for name, value in known["constant"].items():
        value = np.nan if value is None else value
        found[name] = pd.Series([value] * len(table), index=table.index)
    whole = pd.DataFrame({name: found[name] for name in known["columns"]}, index=table.index)
    text = pd.Series(["a"]).dtype  # as this version of pandas reads texts
    return whole.astype({name: text for name in (*TEXTS, *OF_ITEM[1:2]) if name in whole})


def _plain(value: object) -> object:
    """Return a value as JSON has it; unknown, or an empty text as in a CSV file, is null."""
    if hasattr(value, "item"):
        value = value.item()
    return None if value == "" or (isinstance(value, float) and np.isnan(value)) else value


def read_csv(path: Path, **how) -> pd.DataFrame:
    """Read a CSV file in which only an empty cell is unknown: an edit may be called NA or null."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""], encoding="utf-8", **how)


def write(path: Path, table: pd.DataFrame, *, digits: int = 5) -> pd.DataFrame:
    """Write a table and return it as it is read back. What stood there is never torn or half lost.

    Raises `ValueError` if a column of `PROVENANCE` is missing.
    """
    lacking = [name for name in PROVENANCE if name not in table]
    if lacking:
        raise ValueError(f"{path.name}: no column {', '.join(lacking)}; nothing would tie it down")
    path.parent.mkdir(parents=True, exist_ok=True)
    rest, known = _factored(table.reset_index(drop=True))
    with replacing(path) as half, replacing(aside_of(path)) as aside:
        rest.to_csv(half, index=False, float_format=f"%.{digits}g", encoding="utf-8")
        known["csv"] = hashlib.sha256(half.read_bytes()).hexdigest()
        aside.write_text(_by_line(known), encoding="utf-8")
    return read(path)


def _by_line(known: Mapping) -> str:
    """JSON with a line for each row of `made` and each column of `items`: small differences."""
    rows = ",\n   ".join(json.dumps(row) for row in known["made"]["rows"])
    items = ",\n  ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in known["items"].items())
    return (
        f'{{"csv": {json.dumps(known["csv"])},\n'
        f' "columns": {json.dumps(known["columns"])},\n'
        f' "constant": {json.dumps(known["constant"])},\n'
        f' "items": {{{items}}},\n'
        f' "made": {{"columns": {json.dumps(known["made"]["columns"])},\n  "rows": [{rows}]}}}}\n'
    )


def recorded(name: str) -> pd.DataFrame | None:
    """Return a table of the full study; None if it was not run yet."""
    path = path_of(name)
    return read(path) if path.exists() else None


def settings_by_label(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Return these settings of each `method` label, as columns; NaN for one that was not given.

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
    """Return a table of the full run. Raises `ValueError` if it was not run yet."""
    table = recorded(name)
    if table is None:
        raise ValueError(f"{path_of(name)} is missing; run {remedy}")
    return table


def same(table: pd.DataFrame, facts: Mapping[str, object]) -> pd.Series:
    """Which rows have exactly these provenance values."""
    found = pd.Series(True, index=table.index)
    for name, value in facts.items():
        found &= table[name].astype(str).where(table[name].notna(), "") == str(value)
    return found


def agreement(
    fresh: pd.DataFrame,
    known: pd.DataFrame,
    path: Path,
    *,
    checked: Sequence[str] = CHECKED,
    remedy: str = REMEDY,
) -> float:
    """Return the largest difference of the checked scores between fresh and recorded cells.

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
    alike = all(set(both[name]) == set(both[f"{name}_recorded"]) for name in ROUNDING)
    return max((_compared(both, name, keys, path, alike, remedy) for name in checked), default=0.0)


def _comparable(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the table with its keys as they are when read from a file: an empty text is none."""
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
