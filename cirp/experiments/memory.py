"""The most memory that a run holds at once, beyond what was held before."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


def peak(run: Callable[[], object], device: str = "cpu") -> int:
    """Bytes of tensors on `device` at the highest point of `run`, less those before it.

    On a CPU torch's profiler counts every allocation, so the number is the same each time; what
    kernels take beside tensors is not in it. Profiling takes time: do not measure both at once.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        seen.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    found = [event["args"] for event in sorted(events, key=lambda event: event.get("ts", 0.0))
             if event.get("name") == "[memory]"]  # fmt: skip
    if not found:
        return 0
    before = found[0]["Total Allocated"] - found[0]["Bytes"]
    return max(0, *(one["Total Allocated"] - before for one in found))
