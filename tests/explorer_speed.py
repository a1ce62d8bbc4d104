"""How fast the built book's explorers are: `python -m tests.explorer_speed`, after `make book`.

Interaction with stored data, from the event to the next frame, with a processor that Chromium makes
four times slower; and a live step in the page against the same graph in ONNX Runtime's Python, both
on one thread. Wants: under 50 ms at the 95th percentile, and at most 2.5 times.

WebAssembly multiplies four numbers at once and adds them in a second instruction; a processor of
its own up to sixteen in one. What that alone costs is measured beside it: the same matrices by
OpenBLAS's kernels for such a processor (Nehalem's) and for this one.
"""

import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.browser import SAID, button, chromium, served, until

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
ENGINE = ROOT / "book" / "_extra" / "_static" / "explorer"
SLOWER, STEPS = 4, 12
MOVES = """
const done = arguments[0], found = [];
const all = ".cirp-explorer input[type=range], .cirp-explorer select";
const controls = [...document.querySelectorAll(all)];
const frame = () => new Promise((next) => requestAnimationFrame(next));
(async () => {
  for (let turn = 0; turn < 120; turn++) {
    const one = controls[turn % controls.length];
    if (one.tagName === "SELECT") one.selectedIndex = (one.selectedIndex + 1) % one.options.length;
    else one.value = +one.value >= +one.max ? one.min : +one.value + (+one.step || 1);
    await frame();
    const began = performance.now();
    one.dispatchEvent(new Event(one.tagName === "SELECT" ? "change" : "input", { bubbles: true }));
    await frame();
    found.push(performance.now() - began);
  }
  done(found);
})();
"""
WATCH = """
window.steps = [];
const bar = document.querySelector(".cirp-live progress");
let last = 0;
const look = () => {
  if (bar.value !== last) { last = bar.value; window.steps.push(performance.now()); }
  requestAnimationFrame(look);
};
look();
"""


def percentile(values, share: int) -> float:
    return float(np.percentile(values, share))


def said(name: str, values, unit: str = "ms") -> None:
    print(
        f"{name}: median {statistics.median(values):.0f} {unit}, "
        f"95th percentile {percentile(values, 95):.0f} {unit} (n = {len(values)})"
    )


def interactions(address: str, page: str) -> list[float]:
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as driver:
        driver.get(f"{address}/notebooks/{page}.html")
        until(driver, "document.querySelectorAll('.cirp-explorer select').length > 0")
        driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        driver.set_script_timeout(120)
        return driver.execute_async_script(MOVES)


def steps_in_the_page(address: str) -> list[float]:
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as driver:
        driver.get(f"{address}/notebooks/18_try_it.html")
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        steps = driver.find_elements("css selector", ".cirp-panel input[type=range]")[2]
        driver.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
            steps, STEPS,
        )  # fmt: skip
        press = "arguments[0].click()"  # whatever lies over it: the page is not looked at here
        driver.execute_script(press, button(driver, "Run"))  # the first one loads the engine
        until(driver, f"{SAID} === 'done'", 120)
        driver.execute_script(WATCH)
        driver.execute_script(press, button(driver, "Run"))
        until(driver, f"window.steps.length >= {STEPS} && {SAID} === 'done'", 120)
        at = driver.execute_script("return window.steps")
        return [b - a for a, b in zip(at[-STEPS:], at[-STEPS + 1 :], strict=False)]


def steps_in_python() -> list[float]:
    """A step of the page: the UNet's three rows, then the picture it would become."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = {
        name: ort.InferenceSession(
            gzip.decompress((ENGINE / f"{name}.onnx.gz").read_bytes()), options
        )
        for name in ("unet", "decoder")
    }
    given = {name: {} for name in sessions}
    for name, session in sessions.items():
        for one in session.get_inputs():
            real = one.type == "tensor(float)"
            order = np.arange(np.prod(one.shape), dtype=np.int64).reshape(one.shape)
            given[name][one.name] = np.full(one.shape, 0.5, np.float32) if real else order
    found = []
    for _ in range(STEPS + 2):
        began = time.perf_counter()
        for name, session in sessions.items():
            session.run(None, given[name])
        found.append(1000 * (time.perf_counter() - began))
    return found[2:]


MULTIPLY = """
import time, numpy as np
a, found = np.ones((384, 384), np.float32), []
for _ in range(60):
    began = time.perf_counter(); a @ a; found.append(time.perf_counter() - began)
print(min(found))
"""


def width_of_the_processor() -> float:
    """How many times faster this processor multiplies matrices than one of WebAssembly's width."""
    seconds = []
    for kernels in ("Nehalem", ""):
        chosen = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": kernels}
        ran = subprocess.run(
            [sys.executable, "-c", MULTIPLY], env=chosen, check=True, capture_output=True
        )
        seconds.append(float(ran.stdout))
    return seconds[0] / seconds[1]


def main() -> None:
    """Print the figures."""
    if not (SITE / "notebooks" / "18_try_it.html").exists():
        raise SystemExit("there is no built book; make book")
    with served(SITE) as address:
        for page in ("03_attention", "05_sweeps"):
            said(f"{page}, {SLOWER} times slower", interactions(address, page))
        page = steps_in_the_page(address)
    python = steps_in_python()
    said("a step in the page", page)
    said("the same graph in Python", python)
    print(f"page / Python: {statistics.median(page) / statistics.median(python):.2f}")
    print(f"of that by the width of the vectors alone: {width_of_the_processor():.2f}")


if __name__ == "__main__":
    main()
