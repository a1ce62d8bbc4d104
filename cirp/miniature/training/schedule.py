"""How much a stage may learn, how fast, and what it took."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """How many samples, how fast."""

    samples: int  # seen when the stage ends
    learning_rate: float
    warmup: int = 20_000  # samples
    decay: float = 0.2  # share of the samples over which the rate falls
    weight_decay: float = 0.01
    ema: float = 0.999

    @property
    def falls_at(self) -> int:
        """Samples after which the rate falls."""
        return round(self.samples * (1 - self.decay))

    def rate(self, seen: int) -> float:
        """Return the learning rate after `seen` samples."""
        rising = min(1.0, seen / self.warmup) if self.warmup else 1.0
        length = self.samples - self.falls_at
        along = (seen - self.falls_at) / length if length else 0.0
        return self.learning_rate * rising * (1 - math.sqrt(min(max(along, 0.0), 1.0)))


@dataclass(frozen=True)
class Outcome:
    """What a stage used, for its model card."""

    steps: int
    samples: int
    minutes: float
    loss: float
    device: str
    processes: int
    threads: int


@dataclass(frozen=True)
class Limit:
    """When to stop before a stage's end, and whether what was learnt is kept."""

    seconds: float
    keep: bool = True


class Stopped(Exception):
    """A stage has come to its limit. `outcome` says how far it is."""

    def __init__(self, outcome: Outcome):
        super().__init__(f"{outcome.samples} samples in {outcome.minutes:.2f} minutes")
        self.outcome = outcome
