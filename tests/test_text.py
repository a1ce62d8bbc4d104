"""Text from outside in figures: written, named, or inert, and never a warning."""

import matplotlib.pyplot as plt
import pytest

from cirp import figures
from cirp.figures import text
from tests.conftest import painted


@pytest.mark.parametrize(
    "given, drawn",
    {
        "plain": ("make it $5 \\alpha {x} 100%", "make it $5 \\alpha {x} 100%"),
        "accents": ("Äpfel, café, Øresund", "Äpfel, café, Øresund"),
        "arabic": ("اجعلها حمراء", "اجعلها حمراء"),
        "hebrew": ("הפוך לאדום", "הפוך לאדום"),
        "cyrillic": ("сделай красным", "сделай красным"),
        "direction marks": ("a\u202eb\u2066c\u200bd", "abcd"),
    }.values(),
)  # fmt: skip
def test_what_has_a_glyph_is_written_as_it_is(given, drawn):
    assert text.drawable(given) == drawn


def test_what_no_font_has_is_named(monkeypatch):
    monkeypatch.setattr(text, "families", lambda: (text.FIRST,))
    text._glyphs.cache_clear()
    try:
        assert text.drawable("a \U0001f353\ufe0f here") == "a [strawberry] here"
        assert text.drawable("\u8349\u8393") == "[U+8349][U+8393]"
        assert text.drawable("\U0001f9d1\u200d\U0001f373") == "[adult][cooking]"
    finally:
        text._glyphs.cache_clear()


@pytest.mark.parametrize(
    "said", ["make the \U0001f353 red", "把草莓变成桃子", "اجعلها حمراء", "a\u202egnp.exe", "$x_"]
)
def test_a_figure_with_such_text_warns_of_nothing(said, tmp_path):
    """Warnings are errors here."""
    figures.use_style()
    fig, axes = figures.grid(1, 1, side=5)
    figures.image_grid(
        axes, [[painted()]], columns=[said], rows=[figures.fill(said, 8)], captions=[[said]]
    )
    figures.save(fig, "said", folder=tmp_path)
    plt.close(fig)
    assert (tmp_path / "said.webp").stat().st_size > 1000
