"""Tables that cells print, numbered and captioned as figures are, and open to `{numref}`.

A cell asks for it in its metadata, beside what MyST-NB reads there:

    # %% mystnb={"table": {"caption": "What each part is worth.", "name": "tab-parts"}}

In JupyterLab the table stands as it is. On a page it is made to fit: what its rows are of stands in
the corner of the head, not in a line of its own, and an interval may stand below its value.
"""

import re

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.transforms import SphinxTransform

INTERVAL = re.compile(r"(?<=\d)\u00a0(?=\[)")  # between a value and its interval


class captioned(nodes.General, nodes.Element):  # noqa: N801, as docutils names its nodes
    """A printed table below its caption."""


class CaptionTables(SphinxTransform):
    """Wraps the output of the cells that ask for it."""

    default_priority = 700  # before Sphinx looks for what can be referred to

    def apply(self, **_) -> None:
        for cell in list(self.document.findall(nodes.container)):
            asked = (cell.get("cell_metadata") or {}).get("mystnb", {}).get("table")
            if not asked or cell.get("nb_element") != "cell_code":
                continue
            outputs = [c for c in cell.children if c.get("nb_element") == "cell_code_output"]
            if outputs:
                self.wrap(outputs[0], asked["name"], asked["caption"])

    def wrap(self, output: nodes.container, name: str, caption: str) -> None:
        frame = captioned()
        frame["names"].append(name)
        self.document.note_explicit_target(frame, frame)
        frame += nodes.caption(caption, "", *emphasised(caption))
        frame += output.children
        output.children = []
        for printed in frame.findall(nodes.raw):
            if printed.get("format") == "html":
                printed.children = [nodes.Text(fitted(printed.astext()))]
        output += frame


def fitted(html: str) -> str:
    """The table with one head, and cells that may break between a value and its interval."""
    page = BeautifulSoup(html, "html.parser")
    for table in page.find_all("table"):
        lines = [line.find_all("th") for line in table.select("thead tr")]
        row = table.select_one("tbody tr")
        levels = len(row.find_all("th")) if row else 0
        if len(lines) > 1 and not any(said(cell) for cell in lines[-1][levels:]):
            for above, cell in zip(lines[-2][:levels], lines[-1], strict=False):
                above.string = said(cell) or said(above)
            lines[-1][0].parent.decompose()
    for cell in page.find_all(["td", "th"]):
        for text in cell.find_all(string=INTERVAL):
            text.replace_with(INTERVAL.sub(" ", text))
    return str(page)


def said(cell) -> str:
    """What stands in a cell, without the blanks that keep it open."""
    return cell.get_text().strip(" \u00a0\n")


def emphasised(caption: str) -> list[nodes.Node]:
    """Words between asterisks are emphasised; a caption has no other markup."""
    kinds = (nodes.Text, lambda words: nodes.emphasis(words, words))
    return [kinds[i % 2](part) for i, part in enumerate(caption.split("*")) if part]


def not_here(app, env, node, contnode):
    """In a book of other edits a chapter may lack what its text refers to."""
    if node.get("reftype") == "numref" and not app.config.nitpicky:
        return nodes.inline("", "left out here")
    return None


def begin(self, node) -> None:
    self.body.append(self.starttag(node, "figure", CLASS="cell-table"))


def end(self, node) -> None:
    self.body.append("</figure>\n")


def setup(app):
    app.add_enumerable_node(captioned, "table", html=(begin, end))
    app.add_transform(CaptionTables)
    app.connect("missing-reference", not_here)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
