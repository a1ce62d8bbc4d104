"""The directive `provenance`: a table of what was executed, when, with what and for how long.

    ```{provenance} notebooks
    ```

Its argument is the folder of the manifests that `tools/run_notebooks.py` writes, relative to the
page. A folder without manifests gives one sentence that says so.
"""

import json
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

COLUMNS = ("notebook", "profile", "seed", "steps", "seconds", "finished", "commit")


def read(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def row_of(manifest: dict) -> list[str]:
    known = manifest | manifest["parameters"]
    known["notebook"] = known["notebook"].removesuffix(".py")
    return [str(known.get(column, "–")) for column in COLUMNS]


def table_of(rows: list[list[str]]) -> nodes.table:
    group = nodes.tgroup(cols=len(COLUMNS))
    group += [nodes.colspec(colwidth=1) for _ in COLUMNS]

    def line(cells: list[str]) -> nodes.row:
        entries = [nodes.entry("", nodes.paragraph(text=cell)) for cell in cells]
        return nodes.row("", *entries)

    group += nodes.thead("", line(list(COLUMNS)))
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


def setup(app):
    app.add_directive("provenance", Provenance)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
