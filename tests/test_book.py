"""The book's sources, the runner of its notebooks, and what make thinks is stale."""

import ast
import contextlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest
import yaml

from cirp import paths
from cirp.commands import notebooks as runner
from cirp.experiments import study

ROOT = Path(__file__).resolve().parents[1]

PARAMETERS = {
    "profile": str,
    "edits": str,
    "models": str,
    "device": str,
    "seed": int,
    "steps": int,
}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
PAGES = sorted((ROOT / "book").glob("*.md"))
stems = pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)


# The sources

MAKE = (ROOT / "Makefile").read_text()


def test_the_table_of_contents_and_the_notebooks_name_each_other():
    parts = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())["parts"]
    files = [chapter["file"] for part in parts for chapter in part["chapters"]]
    chapters = [file.removeprefix("notebooks/") for file in files if file.startswith("notebooks/")]
    assert chapters == [path.stem for path in NOTEBOOKS]
    pages = {file for file in files if "/" not in file} | {"intro"}
    assert pages == {path.stem for path in PAGES}


@stems
def test_a_notebook_has_the_agreed_parameters(source):
    defaults = runner.parameters_of(runner.read(source))
    more = {"request": str} if source.stem == "18_try_it" else {}  # a link of the explorer
    assert {name: type(value) for name, value in defaults.items()} == PARAMETERS | more
    assert defaults["profile"] == "quick"


@stems
def test_a_notebook_names_its_kernel_and_makes_only_points(source):
    notebook = jupytext.read(source)
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    own = () if source.stem[:2] in ("10", "20", "23") else (r"^\s*def ", r"^\s*class ")
    for unwanted in (*own, r"^!", r"^%pip", r"sys\.path"):
        assert not re.search(unwanted, code, re.M), f"{unwanted} in {source.name}"


@pytest.mark.parametrize("source", PAGES + NOTEBOOKS, ids=lambda path: path.stem)
def test_every_citation_is_in_the_bibliography(source):
    bibliography = (ROOT / "book" / "references.bib").read_text()
    known = re.findall(r"^@\w+\{(\S+),$", bibliography, re.M)
    assert len(known) == len(set(known))
    cited = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", source.read_text())
    assert {key.strip() for keys in cited for key in keys.split(",")} <= set(known)


def test_mathjax_is_loaded_from_the_book_itself():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    path = config["sphinx"]["config"]["mathjax_path"]
    (extra,) = config["sphinx"]["config"]["html_extra_path"]
    vendored = ROOT / "book" / extra / "_static" / path
    assert vendored.stat().st_size > 1e6
    assert (vendored.parent / "LICENSE").exists()


class Loads(HTMLParser):
    """What a page makes the browser load, other than by a click."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag != "a":
            found = [given.get("src"), given.get("poster"), given.get("data")]
            found += [given.get("href")] if given.get("rel") != "canonical" else []
            self.addresses += [address for address in found if address]


def loaded_from_elsewhere(page: str) -> list[str]:
    parser = Loads()
    parser.feed(page)
    return [address for address in parser.addresses if re.match(r"(https?:)?//", address)]


def test_what_a_page_loads_is_found():
    page = '<a href="https://a"><script src="//b/c.js"></script><img src="d.png"><link href="http://e">'
    assert loaded_from_elsewhere(page) == ["//b/c.js", "http://e"]


@pytest.mark.slow
def test_the_built_pages_load_nothing_from_elsewhere():
    pages = sorted((ROOT / "_build" / "html").rglob("*.html"))
    if not pages:
        pytest.skip("there is no built book; make book")
    found = {page.name: loaded_from_elsewhere(page.read_text()) for page in pages}
    assert {name: addresses for name, addresses in found.items() if addresses} == {}


# The runner

SMALL = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["parameters"]
profile: str = "quick"
steps: int = 3

# %%
from IPython.display import HTML

print(profile, steps * 2)
HTML("<b>drawn</b>")
"""


@pytest.fixture
def notebook(tmp_path):
    path = tmp_path / "notebooks" / "01_small.py"
    path.parent.mkdir()
    path.write_text(SMALL)
    return path


def test_a_notebook_runs_with_its_parameters_and_leaves_a_record(notebook, tmp_path):
    out = tmp_path / "out"
    manifest = runner.execute(notebook, out, {"steps": 5})
    done = nbformat.read(out / "01_small.ipynb", as_version=4)
    printed = [o["text"] for c in done.cells for o in c.get("outputs", []) if "text" in o]
    assert printed == ["quick 10\n"]
    (injected,) = (c for c in done.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert "remove-cell" in injected.metadata["tags"]
    assert "papermill" not in done.metadata and "widgets" not in done.metadata

    assert json.loads((out / "01_small.json").read_text()) == manifest
    assert manifest["parameters"] == {"profile": "quick", "steps": 5}
    assert manifest["versions"]["python"] == sys.version.split()[0]
    assert list((out / ".unfinished").iterdir()) == []

    # A failing cell: the error comes out, the last good execution stays.
    before = (out / "01_small.ipynb").read_bytes()
    notebook.write_text(SMALL + "\n# %%\n1 / 0\n")
    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        runner.execute(notebook, out, {})
    assert (out / "01_small.ipynb").read_bytes() == before


def test_a_run_prints_one_line_a_chapter_and_its_time(notebook, tmp_path, capfd):
    runner.execute_all([], {}, folder=notebook.parent, out=tmp_path / "out")
    said, complained = capfd.readouterr()
    assert re.fullmatch(r"01_small: \d+ s\n", said), said
    assert complained == ""


def test_make_book_installs_and_builds_quietly():
    assert re.findall(r"pip install (?!-qq)", MAKE.split("lock:")[0]) == []
    assert "jupyter-book build book --all -W -n --keep-going --quiet" in MAKE


@pytest.mark.parametrize(
    "given, said",
    [
        ({"step": 5}, "01_small.py has no parameter 'step'; it has profile, steps"),
        ({"steps": "many"}, "steps='many' is of type str; give a int, such as 3"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(notebook, tmp_path, given, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        runner.execute(notebook, tmp_path / "out", given)
    assert not (tmp_path / "out").exists()


def test_an_unknown_notebook_is_named(notebook):
    with pytest.raises(ValueError, match="no notebook '02_x' .* there are 01_small"):
        runner.chosen(["02_x"], notebook.parent)
    assert runner.chosen([], notebook.parent) == [notebook]


def test_cells_keep_their_ids(notebook):
    first, second = (runner.read(notebook) for _ in range(2))
    assert [c["id"] for c in first.cells] == [c["id"] for c in second.cells]
    assert first.cells[0]["id"] == "01-small-000"


def test_a_widget_with_html_leaves_only_its_html():
    output = nbformat.v4.new_output(
        "display_data", {runner.WIDGET: {"model_id": "x"}, "text/html": "<b>", "text/plain": "X"}
    )
    only = nbformat.v4.new_output("display_data", {runner.WIDGET: {"model_id": "y"}})
    cell = nbformat.v4.new_code_cell("x", outputs=[output, only])
    tidy = runner.tidy(nbformat.v4.new_notebook(cells=[cell]))
    kept = [set(output["data"]) for output in tidy.cells[0].outputs]
    assert kept == [{"text/html", "text/plain"}, {runner.WIDGET}]


def test_a_run_says_which_commit_it_started_from_whatever_it_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    assert runner.commit() == "unknown"
    files = ("data/results/a.csv", "figures/a.webp", "README.md", "cirp/a.py", "data/plan.toml")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    first = runner.commit()
    assert re.fullmatch("[0-9a-f]{12}", first)
    for name in (*files[:3], "data/results/new.csv"):
        (tmp_path / name).write_text("second")
    assert runner.commit() == first
    for name in files[3:]:
        (tmp_path / name).write_text("second")
        assert runner.commit() == first + "+", name
        (tmp_path / name).write_text("first")


def test_a_kernel_stays_off_the_network_unless_real_models_are_asked_for(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    assert runner.quiet_environment("miniature")["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in runner.quiet_environment("real")
    monkeypatch.setenv("TQDM_DISABLE", "0")
    assert "TQDM_DISABLE" not in runner.quiet_environment("miniature")


# What make thinks is stale

TREE = (
    "pyproject.toml constraints.txt _config.yml cirp/maps.py data/edits/metadata.jsonl"
    " data/results/table.csv book/intro.md"
    " notebooks/01_a.py notebooks/02_b.py"
).split()
MADE = (
    ".venv/.cirp-installed book/notebooks/01_a.ipynb book/notebooks/02_b.ipynb"
    " book/_extra/_static/explorer/engine.json _build/book.stamp"
).split()


@pytest.fixture
def built(tmp_path):
    """A folder in which everything has been made: sources an hour old, products newer."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "cirp" / "commands").mkdir(parents=True)
    shutil.copy(ROOT / "cirp/commands/newest.py", tmp_path / "cirp/commands")
    os.utime(tmp_path / "cirp/commands/newest.py", (0, 0))
    for age, some in ((3600, TREE), (1800, MADE[:4]), (900, MADE[4:])):
        for path in some:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
            then = (tmp_path / path).stat().st_mtime - age
            os.utime(tmp_path / path, (then, then))
    return tmp_path


def would_do(folder: Path) -> tuple[list[str], bool]:
    """The notebooks that `make book` would execute, and whether it would build the book."""
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    said = subprocess.run(
        ["make", "--dry-run", "book", f"PYTHON={sys.executable}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return re.findall(r"cirp notebooks (\w+)", said), "jupyter-book build" in said


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")


@needs_make
def test_nothing_is_done_twice(built):
    assert would_do(built) == ([], False)


@needs_make
def test_ci_can_ask_whether_the_book_is_stale(built):
    (question,) = re.findall(r"make --question \S+\w", (ROOT / ".ci" / "run").read_text())
    assert subprocess.run(question.split(), cwd=built).returncode == 0
    (built / "cirp/maps.py").touch()
    assert subprocess.run(question.split(), cwd=built).returncode == 1


@needs_make
@pytest.mark.parametrize(
    "touched, executed",
    [
        ("notebooks/02_b.py", ["02_b"]),
        ("cirp/maps.py", ["01_a", "02_b"]),
        ("data/edits/metadata.jsonl", ["01_a", "02_b"]),
        ("data/results/table.csv", ["01_a", "02_b"]),
        ("book/intro.md", []),
        ("_config.yml", []),
        ("book/notebooks/01_a.ipynb", []),
    ],
)
def test_a_change_executes_what_depends_on_it(built, touched, executed):
    (built / touched).touch()
    assert would_do(built) == (executed, True)


@needs_make
def test_a_fresh_clone_executes_everything_whatever_its_dates(built):
    for path in MADE[1:]:
        (built / path).unlink()
    assert would_do(built) == (["01_a", "02_b"], True)


@needs_make
def test_what_a_quick_run_leaves_makes_nothing_stale(built):
    for path in (".cache/runs/x.json", "data/results/quick/y.csv", "_build/figures/z.svg"):
        (built / path).parent.mkdir(parents=True, exist_ok=True)
        (built / path).touch()
    assert would_do(built) == ([], False)


@stems
def test_the_default_parameters_are_those_of_the_recorded_tables(source):
    """A quick build of the book shows recorded tables: it must not take itself for another run."""
    notebook = runner.read(source)
    parameters = runner.parameters_of(notebook)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    if "open_study(" in code:
        usual = re.search(r"usual_steps=(\d+)", code)
        assert parameters["steps"] == (int(usual[1]) if usual else study.STEPS)
        assert parameters["seed"] == 0 and parameters["models"] == "miniature"
        assert (ROOT / parameters["edits"]).resolve() == paths.EDITS.resolve()


@stems
def test_a_notebook_calls_what_there_is_and_hides_no_module(source):
    tree = ast.parse(source.read_text())
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cirp"):
            for name in node.names:
                with contextlib.suppress(ImportError):
                    found = importlib.import_module(f"{node.module}.{name.name}")
                    modules[name.asname or name.name] = found
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            assert node.id not in modules, (node.id, node.lineno)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in modules:
                assert hasattr(modules[node.value.id], node.attr), (node.attr, node.lineno)
