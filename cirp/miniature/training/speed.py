"""Which arithmetic, and how many processes of how many threads: measured, since machines differ."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

REHEARSAL = 20.0  # seconds of training for each way


@dataclass(frozen=True)
class Way:
    """One way to use the machine."""

    processes: int
    threads: int
    bfloat16: bool

    @property
    def environment(self) -> dict[str, str]:
        """Idle threads sleep: spinning ones take the cores of whatever runs beside."""
        return os.environ | {
            "OMP_NUM_THREADS": str(self.threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "TOKENIZERS_PARALLELISM": "false",
        }

    def command(self, arguments: list[str]) -> list[str]:
        """Return the chain's own program with these arguments, in as many processes."""
        program = ["-m", "cirp", "miniature", "train", *arguments]
        if self.bfloat16:
            program.append("--bfloat16")
        if self.processes == 1:
            return [sys.executable, *program]
        torchrun = ["-m", "torch.distributed.run", "--standalone"]
        return [sys.executable, *torchrun, f"--nproc_per_node={self.processes}", *program]


def ways(cores: int) -> list[Way]:
    """Return what is worth a try: one process a core, or one process on all of them."""
    shapes = {(1, cores), (cores, 1)}
    return [Way(p, t, b) for b in (False, True) for p, t in sorted(shapes)]


def fastest(stage: str, arguments: list[str], memory: Path, device: str = "cpu") -> Way:
    """Return the way with most samples a second in a short rehearsal of this stage; remembered.

    A GPU has one way: one process that multiplies in bfloat16.
    `memory` is a JSON file; delete it after a move to another machine.
    """
    if device != "cpu":
        return Way(1, os.cpu_count() or 1, bfloat16=True)
    known = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else {}
    if stage not in known:
        rates = []
        for way in ways(os.cpu_count() or 1):
            with tempfile.TemporaryDirectory() as folder:
                outcome = Path(folder) / "outcome.json"
                subprocess.run(
                    way.command([*arguments, "--rehearse", str(outcome)]),
                    env=way.environment, check=True, capture_output=True,
                )  # fmt: skip
                found = json.loads(outcome.read_text(encoding="utf-8"))
            rate = found["samples"] / (found["minutes"] * 60)
            print(f"{stage}: {way} {rate:.1f} samples/s", flush=True)
            rates.append((rate, asdict(way)))
        rate, way = max(rates, key=lambda one: one[0])
        known[stage] = way | {"samples_per_second": round(rate, 2)}
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    kept = known[stage]
    return Way(kept["processes"], kept["threads"], kept["bfloat16"])
