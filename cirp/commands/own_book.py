"""`cirp book`: a book of your own pictures, in a folder that it makes and nothing else is in."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from papermill.exceptions import PapermillExecutionError

from cirp.commands import notebooks
from cirp.data.edits import load_edits
from cirp.data.images import DataError, check_folder
from cirp.paths import ROOT

MARK = ".cirp-book"  # in a folder that was made here, and may be made anew
FIRST = "19_your_pictures"
CHAPTERS = (FIRST, "03_attention", "04_baseline_vs_noisy", "07_what_scores_cannot_tell")
MORE = ("05_sweeps", "06_tables")  # can speak of other edits, too, but take longest
PAGES = ("glossary", "references")
COARSE = (
    "The miniature draws 64-pixel scenes of its own world, so photographs come out coarse; "
    "they need `MODELS=real`."
)
FRONT = """# Your pictures

{about}

```{{finding}} notebooks/{first}.ipynb
```

```{{figure}} {picture}
:alt: Your first picture, what each method makes of it, and what changed.

Your first picture: the input, what InstructPix2Pix and remap make of it, and what each changed.
```

The chapter {{doc}}`notebooks/{first}` shows all of your pictures and their numbers. The chapters
after it are the book's, computed on your pictures{models}.

{left_out}
"""


def prepare(out: Path) -> Path:
    """Make the folder with the book's own pages, without its chapters; what stood there goes."""
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    for name in ("book", "_build", "figures", "results"):
        shutil.rmtree(out / name, ignore_errors=True)
    leave = shutil.ignore_patterns("notebooks", "explorer", "__pycache__", "intro.md", "_toc.yml")
    shutil.copytree(ROOT / "book", out / "book", ignore=leave)
    return out / "book"


def execute(names: Sequence[str], given: Mapping, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Run these chapters; which have something to show, and why the others have not."""
    shown, without = [], {}
    known = {path.stem: path for path in notebooks.chosen(list(names), ROOT / "notebooks")}
    for source in map(known.get, names):
        own = {
            k: v for k, v in given.items() if k in notebooks.parameters_of(notebooks.read(source))
        }
        try:
            manifest = notebooks.execute(source, folder, own)
        except PapermillExecutionError as error:
            without[source.stem] = f"{error.ename}: {' '.join(str(error.evalue).split())}"
        else:
            if manifest["left_out"]:
                without[source.stem] = manifest["left_out"]
                (folder / f"{source.stem}.ipynb").unlink()
            else:
                shown.append(source.stem)
                print(f"{source.stem}: {manifest['seconds']:.0f} s", flush=True)
                continue
        print(f"{source.stem}: left out. {without[source.stem]}", flush=True)
    shutil.rmtree(folder / ".unfinished", ignore_errors=True)
    return shown, without


def contents(shown: Sequence[str]) -> dict:
    """Return the table of contents: your pictures first."""
    chapters = [{"file": f"notebooks/{name}"} for name in shown]
    return {
        "format": "jb-book", "root": "intro",
        "parts": [
            {"caption": "Your pictures", "numbered": True, "chapters": chapters},
            {"caption": "Back matter", "chapters": [{"file": page} for page in PAGES]},
        ],
    }  # fmt: skip


def front_page(out: Path, without: Mapping[str, str], *, edits: Path | None, models: str) -> str:
    """The page that the reader sees first: the first picture, the numbers, what was left out."""
    count = len(load_edits(edits)) if edits else 50
    about = f"{count} pictures of `{(edits or Path('data/edits')).name}`, edited by `{models}`."
    if models == "miniature" and edits is not None:
        about += f"\n\n{COARSE}"
    picture = next(iter(sorted((out / "figures").glob("19_first_picture.*"))), None)
    text = FRONT.format(
        about=about, first=FIRST, models="" if models == "miniature" else f" and by `{models}`",
        picture=f"../figures/{picture.name}" if picture else "",
        left_out=_list(without),
    )  # fmt: skip
    if picture is None:
        begin, end = text.index("```{figure}"), text.index("The chapter {doc}")
        text = text[:begin] + text[end:]
    return text


def _list(without: Mapping[str, str]) -> str:
    if not without:
        return ""
    lines = "\n".join(f"- `{name}`: {why}" for name, why in without.items())
    return f"## Left out\n\n{lines}\n"


def configuration() -> dict:
    """Return the book's, for a book in which some chapters that others point at are missing."""
    known = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    known["title"] = "Your pictures"
    known["sphinx"]["config"]["suppress_warnings"] = [
        "ref.doc", "ref.ref", "ref.numref", "myst.xref_missing", "myst.xref_ambiguous",
    ]  # fmt: skip
    return known


def build(
    out: Path, given: Mapping[str, object], *, edits: Path | None = None,
    models: str = "miniature", more: Sequence[str] = (),
) -> dict[str, str]:  # fmt: skip
    """Execute the chapters on these edits and models, build their book; what was left out and why.

    Raises `DataError`, before anything runs, for bad edits or a folder that is not ours, and if no
    chapter at all could be shown.
    """
    out = out.absolute()
    check_folder(out, MARK, edits)
    for name in more:
        if name not in MORE:
            raise DataError(f"chapter {name!r}; further chapters are {', '.join(MORE)}")
    if models == "miniature" and edits is not None:
        print(f"cirp: {COARSE}", file=sys.stderr)
    if edits is not None:
        load_edits(edits)
        given = {**given, "edits": str(edits.absolute())}
    given = {**given, "models": models}
    book = prepare(out)
    os.environ["CIRP_OUT"] = str(out)
    shown, without = execute((*CHAPTERS, *more), given, book / "notebooks")
    if FIRST not in shown:
        raise DataError(f"no book: {FIRST} was left out: {without.get(FIRST)}")
    front = front_page(out, without, edits=edits, models=models)
    (book / "intro.md").write_text(front, encoding="utf-8")
    for path, what in (
        (book / "_toc.yml", contents(shown)),
        (out / "_config.yml", configuration()),
    ):
        path.write_text(yaml.safe_dump(what, sort_keys=False), encoding="utf-8")
    log = out / "build.log"
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            [Path(sys.executable).with_name("jupyter-book"), "build", str(book), "--all",
             "--keep-going", "--quiet"],
            stdout=file, stderr=file, check=False, cwd=ROOT,
        )  # fmt: skip
    page = out / "_build" / "html" / "index.html"
    if done.returncode or not page.exists():
        raise DataError(f"the pages could not be built; {log} says why")
    print(f"Your book: {page}")
    return without
