"""Execute notebooks/*.py (py:percent) with papermill into book/notebooks/*.ipynb.

    cirp notebooks 03_attention
    cirp notebooks --parameter profile full --parameter steps 150

Names are stems of notebooks; without any, all are executed, in order. Beside each executed notebook
lies a manifest, <stem>.json: its parameters, seconds, versions, commit. Nothing is replaced before
the whole notebook has run. A parameter that a notebook does not have is an error.
"""

import ast
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jupytext
import nbformat
import papermill
import yaml
from papermill.exceptions import PapermillExecutionError

from cirp.paths import ROOT

PACKAGES = ("torch", "diffusers", "transformers", "daam", "numpy", "scipy", "matplotlib")
WRITTEN = (":(exclude)data/results", ":(exclude)figures", ":(exclude)README.md")  # by a full run
WIDGET = "application/vnd.jupyter.widget-view+json"


def cores() -> int:
    """Return the number this process may use, which in a container may be less than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quiet_environment(models: str) -> dict[str, str]:
    """What a kernel is started with: all cores, nothing on stderr, no network for shipped models.

    The book counts any stderr as a warning, and a warning fails its build. Variables that are set
    already keep their values.
    """
    wanted = {
        "OMP_NUM_THREADS": str(cores()),
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads take the cores of what runs beside
        "TQDM_DISABLE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel before the user's own
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    if models == "miniature":
        wanted["HF_HUB_OFFLINE"] = "1"
    return {name: value for name, value in wanted.items() if name not in os.environ}


def read(source: Path) -> nbformat.NotebookNode:
    """Return the notebook with ids that are the same each time it is read."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem.replace('_', '-')}-{number:03d}"
    return notebook


def parameters_of(notebook: nbformat.NotebookNode) -> dict:
    """Name -> default of each parameter in the cell tagged `parameters`; they must be literals."""
    found = papermill.inspect_notebook(notebook)
    return {name: ast.literal_eval(about["default"]) for name, about in found.items()}


def check(name: str, given: dict, defaults: dict) -> None:
    """Raise `ValueError` for a parameter the notebook does not have, or of another type."""
    for parameter, value in given.items():
        if parameter not in defaults:
            raise ValueError(
                f"{name} has no parameter {parameter!r}; it has {', '.join(defaults) or 'none'}"
            )
        default = defaults[parameter]
        if None not in (value, default) and not isinstance(value, type(default)):
            raise ValueError(
                f"{name}: {parameter}={value!r} is of type {type(value).__name__};"
                f" give a {type(default).__name__}, such as {default!r}"
            )


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the executed notebook as the book wants it: no run-time metadata, no dead widgets."""
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags and "remove-cell" not in tags:
            cell.metadata["tags"] = [*tags, "remove-cell"]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:  # the same picture, alive without a kernel
                data.pop(WIDGET, None)
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    return notebook


def left_out(notebook: nbformat.NotebookNode, why: str) -> nbformat.NotebookNode:
    """Return the chapter's title, and the line that says why there is no more of it."""
    titles = [c.source.splitlines()[0] for c in notebook.cells if c.source.startswith("# ")]
    cell = nbformat.v4.new_markdown_cell(f"{titles[0]}\n\n:::{{note}}\n{why}\n:::", id="left-out")
    return nbformat.v4.new_notebook(cells=[cell], metadata=notebook.metadata)


def commit() -> str:
    """Return the commit of the working tree, with "+" if what a run starts from was changed since.

    Tables, figures and the README's numbers are what a full run writes, so they do not count.
    "unknown" without git.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = "+" if git("status", "--porcelain", "--", ".", *WRITTEN) else ""
        return git("rev-parse", "--short=12", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions() -> dict[str, str]:
    """Of Python and of the packages on which numbers depend."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def execute(source: Path, out: Path, given: dict, *, timeout: int | None = None) -> dict:
    """Run one notebook; returns its manifest, which is also written beside `out`/<stem>.ipynb.

    Raises `ValueError` for bad parameters before a kernel is started, and papermill's
    `PapermillExecutionError` if a cell fails; the last good execution then stays where it is.
    """
    notebook = read(source)
    defaults = parameters_of(notebook)
    check(source.name, given, defaults)
    parameters = defaults | given
    os.environ.update(quiet_environment(str(parameters.get("models", "miniature"))))

    unfinished = out / ".unfinished" / f"{source.stem}.ipynb"
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    began, why = time.monotonic(), ""
    try:
        done = papermill.execute_notebook(
            notebook,
            unfinished,
            parameters=given,
            kernel_name="python3",
            language="python",
            cwd=str(ROOT),
            progress_bar=sys.stderr.isatty(),
            request_save_on_cell_execute=False,
            record_timing=False,
            execution_timeout=timeout,
            extra_arguments=["--log-level=50"],  # the kernel's own log, not what cells print
        )
    except PapermillExecutionError as error:
        if error.ename != "LeftOut":
            raise
        print(f"{source.stem}: {error.evalue}", flush=True)
        why = error.evalue
        done = left_out(notebook, why)
    manifest = {
        "notebook": source.name,
        "parameters": parameters,
        "seconds": round(time.monotonic() - began, 1),
        "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit(),
        "machine": f"{platform.system()} {platform.machine()}, {cores()} cores",
        "versions": versions(),
        "left_out": why,
    }
    done = tidy(done)
    nbformat.validate(done)
    nbformat.write(done, unfinished)
    (out / f"{source.stem}.json").write_text(
        json.dumps(manifest, indent=1) + "\n", encoding="utf-8"
    )
    unfinished.replace(out / f"{source.stem}.ipynb")
    return manifest


def chosen(names: list[str], folder: Path) -> list[Path]:
    """The notebooks of these names, in order; all without names. `ValueError` for unknown ones."""
    known = {path.stem: path for path in sorted(folder.glob("[0-9]*.py"))}
    for name in names:
        if name not in known:
            raise ValueError(f"no notebook {name!r} in {folder}; there are {', '.join(known)}")
    return [path for stem, path in known.items() if not names or stem in names]


def execute_all(
    names: list[str],
    given: dict,
    *,
    folder: Path = ROOT / "notebooks",
    out: Path = ROOT / "book" / "notebooks",
    provenance: Path | None = None,
    timeout: int | None = None,
) -> None:
    """Execute these notebooks, or all; `given` are their parameters as texts.

    Raises `ValueError`, before the first one runs, for unknown names and parameters; papermill's
    error if a cell fails.
    """
    given = {name: yaml.safe_load(value) for name, value in given.items()}
    sources = chosen(names, folder)
    for source in sources:  # all of them, before the first one runs for hours
        check(source.name, given, parameters_of(read(source)))
    for source in sources:
        manifest = execute(source, out, given, timeout=timeout)
        # a whole line: others may run beside it
        print(f"{source.stem}: {manifest['seconds']:.0f} s", flush=True)
        if provenance:
            provenance.mkdir(parents=True, exist_ok=True)
            shutil.copy(out / f"{source.stem}.json", provenance)
