"""The directives `provenance`, a table of what was executed, when, with what and for how long,
`times`, how long each chapter takes to read and to run, and `finding`, what a chapter begins with.

    ```{provenance} notebooks
    ```

Its argument is the folder of the manifests that `cirp notebooks` writes, relative to the
page. A folder without manifests gives one sentence that says so.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from docutils import nodes
from sphinx.directives.patches import Figure
from sphinx.util.docutils import SphinxDirective

COLUMNS = ("notebook", "profile", "seed", "steps", "seconds", "finished", "commit")


def read(folder: Path) -> list[dict]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def row_of(manifest: dict) -> list[str]:
    known = manifest | manifest["parameters"]
    known["notebook"] = known["notebook"].removesuffix(".py")
    return [str(known.get(column, "–")) for column in COLUMNS]


def table_of(rows: list[list[str]], columns: Sequence[str] = COLUMNS) -> nodes.table:
    group = nodes.tgroup(cols=len(columns))
    group += [nodes.colspec(colwidth=1) for _ in columns]

    def line(cells: list[str]) -> nodes.row:
        entries = [nodes.entry("", nodes.paragraph(text=cell)) for cell in cells]
        return nodes.row("", *entries)

    group += nodes.thead("", line(list(columns)))
    group += nodes.tbody("", *(line(row) for row in rows))
    return nodes.table("", group, classes=["provenance"])


def sentence_of(manifests: list[dict]) -> nodes.paragraph:
    """What is usually the same for all notebooks: models, device, machine, versions."""

    def different(values) -> str:
        return ", ".join(sorted(set(values)))

    parameters = [manifest["parameters"] for manifest in manifests]
    versions = (pair for manifest in manifests for pair in manifest["versions"].items())
    return nodes.paragraph(
        text=f"{sum(manifest['seconds'] for manifest in manifests):.0f} seconds in all"
        f" on {different(manifest['machine'] for manifest in manifests)};"
        f" device {different(str(each.get('device')) for each in parameters)};"
        f" models {different(str(each.get('models')) for each in parameters)};"
        f" {different(' '.join(pair) for pair in versions)}."
    )


class Provenance(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.doc2path(self.env.docname)).parent / self.arguments[0]
        for path in folder.glob("*.json"):
            self.env.note_dependency(str(path))
        manifests = read(folder)
        if not manifests:
            return [nodes.paragraph(text="No such run is recorded.")]
        return [table_of([row_of(manifest) for manifest in manifests]), sentence_of(manifests)]


WORDS_A_MINUTE = 220


def length_of(notebook: Path) -> tuple[str, int]:
    """The title of an executed notebook, and how many words its text has."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    title = next(line for line in text.splitlines() if line.startswith("# "))
    return title.removeprefix("# "), len(text.split())


class Times(SphinxDirective):
    """Each executed chapter: minutes to read, and seconds that this build took to run it.

    Its argument is the folder of the executed notebooks, relative to the page.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.doc2path(self.env.docname)).parent / self.arguments[0]
        rows = []
        for path in sorted(folder.glob("*.ipynb")):
            manifest = path.with_suffix(".json")
            self.env.note_dependency(str(path))
            title, words = length_of(path)
            seconds = (
                json.loads(manifest.read_text(encoding="utf-8"))["seconds"]
                if manifest.exists()
                else None
            )
            rows.append(
                [path.stem[:2].lstrip("0"), title, f"{max(1, round(words / WORDS_A_MINUTE))} min",
                 "–" if seconds is None else f"{seconds:.0f} s"]
            )  # fmt: skip
        if not rows:
            return [nodes.paragraph(text="Nothing has been executed yet.")]
        return [table_of(rows, ("chapter", "", "to read", "to run, in this build"))]


class FirstSentence(SphinxDirective):
    """The finding that an executed chapter begins with: its first output that is a sentence.

    Its argument is the notebook, relative to the page. Each line of its content stands behind a
    line of the finding, such as a link to its evidence, if there are as many.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.doc2path(self.env.docname)).parent / self.arguments[0]
        self.env.note_dependency(str(path))
        if not path.exists():
            return [nodes.paragraph(text="Nothing has been executed yet.")]
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if said := output.get("data", {}).get("text/markdown"):
                    lines = "".join(said).splitlines()
                    if len(lines) == len(self.content):
                        lines = [" ".join(pair) for pair in zip(lines, self.content, strict=True)]
                    return self.parse_text_to_nodes("\n".join(lines))
        raise self.error(f"{path.name} has no sentence among its outputs")


class OfTheBook(Figure):
    """A figure of the book's own edits: a book of others (`CIRP_OUT` says so) goes without."""

    def run(self) -> list:
        return [] if "CIRP_OUT" in os.environ else super().run()


def setup(app):
    app.add_directive("provenance", Provenance)
    app.add_directive("book-figure", OfTheBook)
    app.add_directive("finding", FirstSentence)
    app.add_directive("times", Times)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
