"""A built site without what no reader needs.

Pictures are WebP, pixel for pixel as they were, and those of earlier builds are gone. A page's
source is offered for download, to be run; what it printed here stands in the page itself. `.map`
files serve the theme's own developers.
"""

import re
from pathlib import Path

import nbformat
from PIL import Image

# A source, as in <img src="../_images/x.png">, or a link to it.
PICTURE = re.compile(r'((?:src|href)="(?:\.\./)*_images/[^"/:]+)\.png"')


def picture(path: Path) -> None:
    """The PNG as WebP beside it, pixel for pixel."""
    other = path.with_suffix(".webp")
    with Image.open(path) as opened:
        opened.save(other, lossless=True, exact=True, method=4)
    path.unlink()


def source(path: Path) -> None:
    """The notebook as it was before it ran."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, path)


def shrink(app, exception) -> None:
    if exception or app.builder.format != "html":
        return
    out = Path(app.outdir)
    pictures = list((out / "_images").glob("*.png"))
    made = {p.stem for p in pictures}
    used = set()
    for page in out.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        smaller = PICTURE.sub(
            lambda found: f'{found[1]}.webp"' if found[1].rpartition("/")[2] in made else found[0],
            text,
        )
        used.update(re.findall(r"_images/([^\"/:]+)\"", smaller))
        if smaller != text:
            page.write_text(smaller, encoding="utf-8")
    for path in pictures:
        picture(path)
    for path in (out / "_images").iterdir():
        if path.name not in used:
            path.unlink()
    for path in (out / "_sources").rglob("*.ipynb"):
        source(path)
    for path in (out / "_static").rglob("*.map"):
        path.unlink()


def setup(app):
    app.connect("build-finished", shrink, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
