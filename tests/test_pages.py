"""Figures and tables of pages: captioned, numbered, referred to; and what is not published."""

import importlib
import io
import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import jupytext
import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from sphinx.application import Sphinx

from cirp.figures.sentences import Numbers, say
from cirp.statistics.bootstrap import Interval

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
WITHOUT_ANSWER = ("17", "18", "20", "22", "23")  # no claim is made there
stems = pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def extension(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    return importlib.import_module


def captions(source: Path) -> list[dict]:
    """What the cells of a chapter say of their figures and tables."""
    known = [cell.metadata.get("mystnb", {}) for cell in jupytext.read(source).cells]
    return [one[kind] for one in known for kind in ("figure", "table") if kind in one]


@stems
def test_every_figure_and_table_has_a_caption_and_is_referred_to(source):
    text = source.read_text()
    for one in captions(source):
        assert re.fullmatch(r"(fig|tab)-[a-z0-9-]+", one["name"]), one
        assert len(one["caption"].split()) > 2 and one["caption"].endswith("."), one
        assert f"{{numref}}`{one['name']}`" in text, f"{one['name']} is not referred to"
    named = {one["name"] for one in captions(source)}
    assert set(re.findall(r"\{numref\}`([^`]+)`", text)) <= named


def test_no_two_figures_or_tables_have_one_name():
    names = Counter(one["name"] for source in NOTEBOOKS for one in captions(source))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.slow
@stems
def test_every_table_that_a_chapter_prints_has_a_caption(source):
    executed = ROOT / "book" / "notebooks" / f"{source.stem}.ipynb"
    if not executed.exists():
        pytest.skip("not executed; make book")
    for cell in nbformat.read(executed, as_version=4).cells:
        printed = [o.get("data", {}).get("text/html", "") for o in cell.get("outputs", [])]
        hidden = {"hide-cell", "remove-cell"} & set(cell.metadata.get("tags", []))
        if not hidden and any('class="dataframe' in html for html in printed):
            assert "table" in cell.metadata.get("mystnb", {}), cell.source


NAMED = pd.DataFrame(
    {("u", "v"): ["0.1\u00a0[0.0,\u00a00.2]"], ("u", "w"): ["x"]},
    index=pd.MultiIndex.from_tuples([("a", "b")], names=["change", "metric"]),
)


@pytest.mark.parametrize(
    "table, heads",
    [
        (NAMED, [["", "", "u"], ["change", "metric", "v", "w"]]),
        (NAMED.rename_axis(index=["", "kind"]), [["", "", "u"], ["", "kind", "v", "w"]]),
        (NAMED.rename_axis(index=[None, None]), [["", "", "u"], ["", "", "v", "w"]]),
        (pd.DataFrame({"x": [1]}, index=pd.Index(["p"], name="")), [["", "x"]]),
        (pd.DataFrame({"x": [1]}, index=pd.Index(["p"], name="kind")), [["kind", "x"]]),
        (pd.DataFrame({"x": [1]}).rename_axis(columns="method"), [["method", "x"]]),
        (pd.DataFrame({"x": [1]}).rename_axis("kind").style, [["kind", "x"]]),
        (pd.DataFrame({"x": [1]}).style.hide(axis="index"), [["x"]]),
    ],
)
def test_a_table_has_one_head_and_says_in_its_corner_what_rows_are_of(extension, table, heads):
    html = extension("numbered_tables").fitted(table._repr_html_())
    page = BeautifulSoup(html, "html.parser")
    found = [
        [th.get_text(strip=True) for th in tr.find_all("th")] for tr in page.select("thead tr")
    ]
    assert [[cell.replace("\u00a0", "") for cell in line] for line in found] == heads
    assert len(page.select("tbody td")) == len(pd.DataFrame(getattr(table, "data", table)).columns)


def test_a_cell_may_break_before_its_interval_and_nowhere_in_it(extension):
    html = extension("numbered_tables").fitted(NAMED.to_html())
    assert "0.1 [0.0,\u00a00.2]" in html


CELLS = """
See {numref}`tab-second` and {numref}`tab-none`.
"""


def test_printed_tables_are_numbered_and_captioned(extension, tmp_path):
    extension("numbered_tables")
    table = nbformat.v4.new_output(
        "execute_result", {"text/html": '<table class="dataframe"><tr><td>1</td></tr></table>'}
    )
    cells = [nbformat.v4.new_markdown_cell("# A page\n" + CELLS)]
    for name, caption in (("tab-first", "One."), ("tab-second", "An *emphatic* <b>two</b>.")):
        meta = {"mystnb": {"table": {"name": name, "caption": caption}}}
        cells.append(nbformat.v4.new_code_cell("table", outputs=[table], metadata=meta))
    meta = {"mystnb": {"table": {"name": "tab-none", "caption": "Nothing was printed."}}}
    cells.append(nbformat.v4.new_code_cell("nothing", metadata=meta))
    source = tmp_path / "source"
    source.mkdir()
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, source / "index.ipynb")
    settings = {"extensions": ["myst_nb", "numbered_tables"], "numfig": True,
                "nb_execution_mode": "off"}  # fmt: skip
    app = Sphinx(source, None, tmp_path / "out", tmp_path / "trees", "html", settings, status=None)
    app.build()
    page = (tmp_path / "out" / "index.html").read_text()
    frames = re.findall(r'<figure class="cell-table" id="(.*?)">(.*?)</figure>', page, re.S)
    assert [name for name, _ in frames] == ["tab-first", "tab-second"]
    said = [re.sub(r"<[^>]+>", "", frame.split("</p>")[0]).strip("\n #¶") for _, frame in frames]
    assert said[0].startswith("Table 1 One.")
    assert said[1].startswith("Table 2 An emphatic &lt;b&gt;two&lt;/b&gt;.")
    assert "<em>emphatic</em>" in frames[1][1] and '<table class="dataframe">' in frames[1][1]
    assert re.search(r'href="#tab-second"[^>]*><span[^>]*>Table 2</span>', page)
    assert "left out here" in page


def test_a_site_is_published_without_what_no_reader_needs(extension, tmp_path):
    smaller = extension("smaller")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    for name in ("a b.png", "card.webp", "stale.png"):
        (tmp_path / "_images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "_images" / name)
    (tmp_path / "_static").mkdir()
    for name in ("code.js", "code.js.map"):
        (tmp_path / "_static" / name).write_text("x")
    (tmp_path / "_sources").mkdir()
    cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text="1")])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "_sources" / "a.ipynb")
    page = tmp_path / "notebooks" / "a.html"
    page.parent.mkdir()
    page.write_text(
        '<img src="../_images/a b.png"> <a href="../_images/a b.png">_images/a b.png</a>'
        '<meta content="https://host/_images/card.webp"><img src="https://else/_images/a b.png">'
    )
    app = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=str(tmp_path))
    smaller.shrink(app, None)
    assert page.read_text() == (
        '<img src="../_images/a b.webp"> <a href="../_images/a b.webp">_images/a b.png</a>'
        '<meta content="https://host/_images/card.webp"><img src="https://else/_images/a b.png">'
    )
    assert {p.name for p in (tmp_path / "_images").iterdir()} == {"a b.webp", "card.webp"}
    again = np.asarray(Image.open(tmp_path / "_images" / "a b.webp").convert("RGBA"))
    assert (again == pixels).all()
    assert [p.name for p in (tmp_path / "_static").iterdir()] == ["code.js"]
    (left,) = nbformat.read(tmp_path / "_sources" / "a.ipynb", as_version=4).cells
    assert left.source == "1" and left.outputs == []


def test_a_build_that_failed_or_is_no_site_is_left_alone(extension, tmp_path):
    smaller = extension("smaller")
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "x.map").write_text("x")
    for kind, error in (("html", ValueError("no")), ("latex", None)):
        app = SimpleNamespace(builder=SimpleNamespace(format=kind), outdir=str(tmp_path))
        smaller.shrink(app, error)
    assert (tmp_path / "_static" / "x.map").exists()


@pytest.mark.slow
def test_the_built_site_is_small_beside_its_engine():
    site = ROOT / "_build" / "html"
    if not site.exists():
        pytest.skip("there is no built book; make book")
    size = {path: path.stat().st_size for path in site.rglob("*") if path.is_file()}
    engine = sum(n for path, n in size.items() if "explorer" in path.parts)
    assert sum(size.values()) - engine < 25e6
    assert max(n for path, n in size.items() if path.suffix == ".html") < 3e6
    pages = {path: path.read_text() for path in size if path.suffix == ".html"}
    for page, text in pages.items():
        for name in re.findall(r'src="((?:\.\./)*_images/[^"]+)"', text):
            assert (page.parent / name).exists(), (page.name, name)


@pytest.mark.parametrize("own", [False, True])
def test_a_book_of_other_edits_has_no_picture_of_the_books_own(
    own, extension, tmp_path, monkeypatch
):
    extension("provenance")
    monkeypatch.delenv("CIRP_OUT", raising=False)
    if own:
        monkeypatch.setenv("CIRP_OUT", str(tmp_path))
    source = tmp_path / "source"
    source.mkdir()
    if not own:
        Image.new("RGB", (4, 4)).save(source / "a.webp", lossless=True)
    text = "# A page\n\n```{book-figure} a.webp\n:name: fig-a\n\nWhat it shows.\n```\n"
    (source / "index.md").write_text(text)
    settings = {"extensions": ["myst_nb", "provenance"], "nb_execution_mode": "off"}
    warned = io.StringIO()
    app = Sphinx(
        source, None, tmp_path / "out", tmp_path / "trees", "html", settings, status=None,
        warning=warned,
    )  # fmt: skip
    app.build()
    page = (tmp_path / "out" / "index.html").read_text()
    assert ("What it shows." in page) == ("a.webp" in page) == (not own)
    assert "a.webp" not in warned.getvalue()  # it is not looked for either


@pytest.mark.parametrize("said", ["1. **one**\n2. **two**", "*left out*"])
def test_a_finding_has_its_evidence_behind_each_of_its_lines(said, tmp_path, extension):
    extension("provenance")
    source = tmp_path / "source"
    source.mkdir()
    outputs = [{"data": {"text/plain": "x"}}, {"data": {"text/markdown": [said]}}]
    (source / "a.ipynb").write_text(json.dumps({"cells": [{"outputs": outputs}]}))
    text = "# A page\n\n```{finding} a.ipynb\n[here](https://a.b)\n[there](https://c.d)\n```\n"
    (source / "index.md").write_text(text)
    settings = {"extensions": ["myst_nb", "provenance"], "nb_execution_mode": "off"}
    settings["exclude_patterns"] = ["*.ipynb"]
    Sphinx(
        source, None, tmp_path / "out", tmp_path / "trees", "html", settings, status=None
    ).build()
    page = BeautifulSoup((tmp_path / "out" / "index.html").read_text(), "html.parser")
    lines = [plain(one.get_text()) for one in page.select("ol > li")]
    assert lines == (["one here", "two there"] if "one" in said else [])
    assert ("left out" in page.get_text()) == ("here" not in page.select_one("section").get_text())


SITE = ROOT / "_build" / "html" / "notebooks"
ESTIMATE = re.compile(r"[+\u2212]?\d*\.\d+ \[[^\]]+\]")  # "0.12 [0.05, 0.19]"


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.slow
@stems
def test_what_a_chapter_answers_stands_in_a_table_beside_it(source):
    """No answer has a bracketed interval in its prose; the table beside it has them."""
    built = SITE / f"{source.stem}.html"
    if not built.exists():
        pytest.skip("there is no built book; make book")
    page = BeautifulSoup(built.read_text(), "html.parser").select_one("article.bd-article")
    assert not [c for c in page.find_all("td") if c.get_text().endswith("...")]  # cut short
    if source.stem[:2] not in WITHOUT_ANSWER:
        table = next(
            one for one in page.select("figure.cell-table") if "answer in numbers" in one.get_text()
        )
        assert ESTIMATE.search(plain(table.get_text(" "))), "no number with its interval"
        answer = next(p for p in table.find_all_previous("p") if p.find("strong"))
        assert not ESTIMATE.search(plain(answer.get_text()))


def test_a_paragraph_keeps_its_numbers_as_it_says_them():
    number, size = Numbers(), Interval(0.5, 0.25, 0.75, 8, 0, "bca")
    text = f"It is {number('size', size, '.2f')} and {number.plain('colour', 'red')}."
    assert text == "It is 0.50 and red."
    made = say("First.", text, numbers=number.table)
    assert made.data == f"First. {text}"
    assert list(made.numbers["value [95 %]"]) == ["0.50\u00a0[0.25,\u00a00.75]", "red"]
    assert say("Nothing.", numbers=Numbers().table).numbers is None
    with pytest.raises(ValueError, match="'colour' is both red and blue; name them apart"):
        number.plain("colour", "blue")


@pytest.mark.slow
def test_no_page_names_a_folder_of_the_machine_that_built_it():
    for path in [*SITE.glob("*.html"), *SITE.glob("notebooks/*.html")]:
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text and str(Path.home()) + "/" not in text, path.name


def test_a_table_is_computed_again_in_one_chapter_and_in_no_more():
    called = [
        match
        for source in NOTEBOOKS
        for match in re.findall(r'results\.table\(s, "(\w+)"(, again=False)?\)', source.read_text())
    ]
    checked = Counter(name for name, left_out in called if not left_out)
    assert set(checked) == {name for name, _ in called} and set(checked.values()) == {1}


@pytest.mark.slow
def test_the_front_page_has_three_findings_each_with_its_evidence():
    page = SITE.parent / "intro.html"
    if not page.exists():
        pytest.skip("run `make book` first")
    article = BeautifulSoup(page.read_text(), "html.parser").select_one("article.bd-article")
    found = article.select_one("ol").find_all("li")
    executed = json.loads((ROOT / "book" / "notebooks" / "01_question.ipynb").read_text())
    said = next(
        "".join(output["data"]["text/markdown"])
        for cell in executed["cells"]
        for output in cell.get("outputs", [])
        if "text/markdown" in output.get("data", {})
    )
    assert len(found) == 3
    for item, line in zip(found, said.splitlines(), strict=True):
        seen = plain(item.find("strong").get_text()).replace("’", "'")
        assert seen == plain(line.split("**")[1])
        assert item.find("a")["href"].startswith("notebooks/")
