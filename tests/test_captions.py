"""The caption editor: what it shows, what it answers, and what it refuses."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cirp.explorer import captions, widget
from cirp.explorer.page import shown_items
from tests.browser import button, chromium, errors, needs_browser, served, until
from tests.lab import jupyterlab, run_cell

SETTINGS = dict(variant="text-to-image", steps=4, strength=0.5, text_scale=12.0)


@pytest.fixture(scope="module")
def editor():
    models, features = widget.loaded("miniature", "cpu")
    items = [item for item in shown_items() if item.record.source_caption][:2]
    made = captions.CaptionEditor(models, items, features, seed=0, settings=SETTINGS)
    made.sent = []
    made.send = lambda content, buffers=None: made.sent.append(content)
    return made


def asked(editor, **message) -> dict:
    editor.sent.clear()
    editor._answer({"kind": "run", **message})
    (answer,) = editor.sent
    return answer


def picture(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")).astype(int)


def test_the_refined_caption_gives_the_picture_that_is_shown(editor):
    first = editor.items[0]
    answer = asked(editor, item=0, caption=first["refined"])
    shown = picture(first["made"].split(",")[1])
    assert np.abs(picture(answer["picture"]) - shown).max() == 0
    assert answer["scores"] == first["scores"]


def test_another_caption_gives_another_picture_and_no_verdict_on_the_edit(editor):
    answer = asked(editor, item=0, caption="a frog  in the\n snow")
    assert answer["caption"] == "a frog in the snow" and "edit success" not in answer["scores"]
    shown = picture(editor.items[0]["made"].split(",")[1])
    assert np.abs(picture(answer["picture"]) - shown).mean() > 1


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (dict(item=7, caption="a frog"), "no edit number 7"),
        (dict(item="0", caption="a frog"), "no edit number '0'"),
        (dict(item=0, caption=None), "at most 1000 characters"),
        (dict(item=0, caption="x" * 1001), "at most 1000 characters"),
        (dict(item=0, caption=" "), "no target_caption"),
        (dict(item=0, caption="🙂 !"), "no word"),
        (dict(item=0, caption="frog " * 100), "token"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_run_is_answered_in_one_line(editor, message, words):
    answer = asked(editor, **message)
    assert answer["kind"] == "error" and words in answer["text"] and "\n" not in answer["text"]


def test_edits_without_captions_are_refused(editor):
    item = editor._edits[0]
    bare = replace(item, record=item.record.model_copy(update={"source_caption": None}))
    for items in ([], [bare]):
        with pytest.raises(ValueError, match="source caption"):
            captions.CaptionEditor(
                editor._models, items, editor._features, seed=0, settings=SETTINGS
            )


@pytest.mark.slow
@needs_browser
def test_in_a_page_the_words_that_differ_are_marked_as_they_are_typed(editor, tmp_path):
    (tmp_path / "favicon.ico").write_bytes(b"")
    (tmp_path / "page.html").write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>t</title><body>" + editor.to_html()
    )
    with served(tmp_path) as address, chromium(tmp_path / "profile") as driver:
        driver.get(f"{address}/page.html")
        until(driver, "!!document.querySelector('.cirp-diff')")
        caption = driver.find_element("css selector", "textarea")
        shows = editor.items[0]["shows"]
        caption.clear()
        caption.send_keys(f"{shows} <img src=x onerror=alert(1)>")
        new = [one.text for one in driver.find_elements("css selector", ".cirp-diff ins")]
        assert new == ["<img", "src=x", "onerror=alert(1)>"]
        assert not driver.find_elements("css selector", ".cirp-diff del")
        caption.clear()
        caption.send_keys(shows.rsplit(" ", 1)[0])
        gone = [one.text for one in driver.find_elements("css selector", ".cirp-diff del")]
        assert gone == [shows.rsplit(" ", 1)[1]]
        button(driver, "Refined caption").click()
        assert caption.get_attribute("value") == editor.items[0]["refined"]
        assert not driver.find_elements("xpath", "//button[.='Run this caption']")  # no kernel
        assert not errors(driver)


SOURCE = """
from cirp.explorer import captions, widget
from cirp.explorer.page import shown_items
models, features = widget.loaded("miniature", "cpu")
items = [item for item in shown_items() if item.record.source_caption][:2]
settings = dict(variant="text-to-image", steps=4, strength=0.5, text_scale=12.0)
captions.CaptionEditor(models, items, features, seed=0, settings=settings)
"""


@pytest.mark.slow
@needs_browser
def test_in_jupyterlab_a_caption_of_ones_own_is_run(editor, tmp_path):
    with jupyterlab(tmp_path, SOURCE) as address, chromium(tmp_path / "profile") as driver:
        run_cell(driver, address, "!!document.querySelector('.cirp-diff')")
        caption = driver.find_element("css selector", ".cirp-explorer textarea")
        caption.clear()
        caption.send_keys("a frog in the snow")
        button(driver, "Run this caption").click()
        until(driver, "document.querySelector('output.cirp-said').textContent.startsWith('Done')")
        source = driver.execute_script(
            "return document.querySelectorAll('.cirp-frames img')[2].getAttribute('src')"
        )
        expected = asked(editor, item=0, caption="a frog in the snow")
        assert np.abs(picture(source.split(",")[1]) - picture(expected["picture"])).max() <= 1
        caption.clear()
        caption.send_keys("!")
        button(driver, "Run this caption").click()
        until(driver, "document.querySelector('output.cirp-said').classList.contains('wrong')")
