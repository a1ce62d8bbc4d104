"""The highest memory a process has held since it was told to forget, on Linux and on CUDA."""

import resource
from pathlib import Path

import torch

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def forget_peak(device: str = "cpu") -> int:
    """What was held before does not count from here on. Returns what is held now, in bytes.

    Where neither Linux nor a GPU tells, the peak is that of the process's whole life.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if not CLEAR.exists():
        return peak(device)
    CLEAR.write_text("5")  # see proc(5): resets the high-water mark of resident memory
    return _status("VmRSS")


def peak(device: str = "cpu") -> int:
    """Bytes of device memory, or of resident memory for a CPU."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if not CLEAR.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return _status("VmHWM")


def _status(field: str) -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
