"""What was decided before it was measured: `plan.toml`, read and checked."""

import tomllib
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cirp.experiments.records import short_hash
from cirp.paths import PLAN

Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """Nothing that is not known, nothing that changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Primary(Part):
    success: str
    change: str
    share_done: Share
    share_halfway: Share
    answers: Annotated[int, Field(ge=1)]
    controls_at_most: Share
    counterfeit: Share
    target_at_least: Share


class Margins(Part):
    success: Share
    closed: Share
    region_iou: Share
    seconds: Annotated[float, Field(gt=0)]


class Split(Part):
    first: Annotated[int, Field(ge=0)]
    count: Annotated[int, Field(ge=8, multiple_of=8)]  # equally many of each kind


class Splits(Part):
    validation: Split
    bars: Split
    test: Split
    confirmation: Split
    dials: Split
    controls: Split


class Seeds(Part):
    edits: list[int]
    training: list[int]


class Exclusions(Part):
    local: list[str]


class Confirmation(Part):
    methods: list[str]
    wanted: str


class Amendment(Part):
    """A decision of later: from when, and what had been looked at before."""

    date: date
    what: str
    why: str
    seen: str


class Plan(Part):
    """The whole plan; `hash` is of what it says, not of its comments."""

    primary: Primary
    margins: Margins
    splits: Splits
    seeds: Seeds
    exclusions: Exclusions
    confirmation: Confirmation
    amendments: list[Amendment]
    hash: str


@cache
def plan(path: Path = PLAN) -> Plan:
    """Raises `ValueError` if the file says what no plan says, naming it."""
    known = tomllib.loads(path.read_text(encoding="utf-8"))
    return Plan(**known, hash=short_hash(known))
