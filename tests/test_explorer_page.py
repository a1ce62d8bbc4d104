"""The explorer without a kernel, in a real Chromium: equal to Python, usable, and alone."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib import parse

import numpy as np
import pytest
from PIL import Image

from cirp.experiments import cache
from cirp.explorer import page, widget
from cirp.explorer.maps import KeepMaps
from cirp.explorer.runs import Request, run
from cirp.metrics.features import load_features
from cirp.paths import ROOT
from tests.browser import PICK, SAID, button, chromium, errors, needs_browser, served, until

pytestmark = [pytest.mark.slow, needs_browser]
STEPS = 4
ASK = """
const [request, extra, done] = [arguments[0], arguments[1], arguments[2]];
const worker = (window.engine ??= new Worker("_static/explorer/engine.js", { type: "module" }));
const steps = [];
const text = (bytes) => btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));
worker.onmessage = ({ data }) => {
  if (data.kind === "step") steps.push(text(data.buffers[0]));
  if (data.kind === "done") done({ picture: text(data.buffers[0]), steps, scores: data.scores });
  if (data.kind === "error") done({ error: data.text });
};
extra.pixels = Uint8ClampedArray.from(extra.pixels);
worker.postMessage({ kind: "run", request, extra });
"""


@pytest.fixture(scope="module")
def known(miniature):
    """In the page's own arithmetic, float32, whatever this processor multiplies faster."""
    return miniature, load_features("miniature")


@pytest.fixture(scope="module")
def site(tmp_path_factory, known):
    """A folder like the built book's: static files, and a page with the explorer."""
    if not (page.OUT / "engine.json").exists():
        pytest.skip("the page's engine was not exported; cirp page-engine")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(page.OUT.parent, folder / "_static")
    (folder / "notebooks").mkdir()
    models, features = known
    explorer = widget.LiveExplorer(models, page.shown_items(), features, in_page=True, steps=STEPS)
    (folder / "favicon.ico").write_bytes(b"")
    (folder / "empty.html").write_text("<!doctype html><meta charset=utf-8><title>t</title>")
    (folder / "notebooks" / "try.html").write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>t</title>"
        "<meta name=viewport content='width=device-width'><body>" + explorer.to_html()
    )
    return folder


def held(item, models):
    mask = widget.as_text(item.mask())
    layers = list(range(len(page.layers_of(models))))
    return [
        {}, {"factors": {2: 0.0, 3: 3.0}}, {"swap": [1, 2]}, {"region": mask, "gate": True},
        {"region": mask, "keep": True}, {"region": mask, "hold": True, "paste": True},
        {"region": mask, "keep": True, "gate": True, "hold": True}, {"text_scale": 7.5},
        {"image_scale": 2.25, "seed": 3}, {"steps": 7},
        {"freeze": layers[::2], "factors": {3: 0.0}},
    ]  # fmt: skip


def test_ten_edits_are_those_of_python(site, known, tmp_path):
    """Pictures to 2 of 255, maps to a thousandth, every intervention among them."""
    models, _ = known
    items = cache.fitted(page.shown_items()[:10], models)
    with served(site) as address, chromium(tmp_path / "p") as driver:
        driver.set_script_timeout(120)
        driver.get(f"{address}/empty.html")
        cases = [
            (item, held(item, models)[n] if item.mask() is not None else {})
            for n, item in enumerate(items)
        ]
        keep = KeepMaps()
        whole = next(item for item in items if item.mask() is not None)
        mask = widget.as_text(whole.mask())
        noisy = [
            {"strength": 0.5, "steps": 8, "text_scale": 7.5},
            {"strength": 0.7, "steps": 6, "region": mask, "hold": True, "gate": True},
        ]
        more = [(items[0], o) for o in ({}, held(items[0], models)[-1])] + [
            (whole, o) for o in noisy
        ]
        for item, own in [*cases, *more]:
            asked = {"item": item.id, "instruction": item.record.instruction, "steps": STEPS} | own
            request = Request.model_validate(asked)
            seen = []
            task = replace(cache.task(item, request.seed), instruction=request.instruction)
            before = keep.steps if request.freeze else ()
            keep = KeepMaps()
            made = run(models, task, request, on_step=seen.append, keep=keep, before=before)
            pixels = np.dstack([np.asarray(item.source()), np.full(item.size[::-1], 255, np.uint8)])
            extra = {"pixels": pixels.ravel().tolist(), "mask": "", "outside": ""}
            sent = json.loads(request.model_dump_json())
            got = driver.execute_async_script(ASK, sent, extra)
            assert "error" not in got, got
            with Image.open(io.BytesIO(base64.b64decode(got["picture"]))) as opened:
                theirs = np.asarray(opened.convert("RGB")).astype(int)
            assert np.abs(theirs - np.asarray(made).astype(int)).max() <= 2, (item.id, own)
            assert len(got["steps"]) == len(seen)
            for text, one in zip(got["steps"], seen, strict=True):
                maps = np.frombuffer(base64.b64decode(text), "<f4")
                ours = np.concatenate([value.ravel() for value in one.maps.values()])
                assert np.abs(maps - ours).max() <= 1e-3, (item.id, own)
        assert errors(driver) == []


PILE = """
const [request, extra, done] = [arguments[0], arguments[1], arguments[2]];
const worker = new Worker("_static/explorer/engine.js", { type: "module" });
const seen = { begin: 0, step: 0, cancelled: 0 };
const text = (bytes) => btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));
worker.onmessage = ({ data }) => {
  if (data.kind in seen) seen[data.kind]++;
  if (data.kind === "done") {
    worker.terminate();
    done({ ...seen, picture: text(data.buffers[0]) });
  }
  if (data.kind === "error") done({ error: data.text });
};
extra.pixels = Uint8ClampedArray.from(extra.pixels);
for (let i = 0; i < 40; i++)
  worker.postMessage({ kind: "run", request: { ...request, seed: i % 3 }, extra });
"""


def test_forty_clicks_on_run_are_one_run_the_last(site, known, tmp_path):
    models, _ = known
    (item,) = cache.fitted(page.shown_items()[:1], models)
    request = Request(item=item.id, instruction=item.record.instruction, steps=STEPS)
    extra = {"pixels": np.asarray(item.source().convert("RGBA")).flatten().tolist()}
    with served(site) as address, chromium(tmp_path / "p") as driver:
        driver.set_script_timeout(120)
        driver.get(f"{address}/empty.html")
        found = driver.execute_async_script(PILE, request.model_dump(), extra)
    assert (found["begin"], found["step"], found["cancelled"]) == (1, STEPS, 0), found
    made = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["picture"]))), float)
    right = run(models, cache.task(item, 39 % 3), request.model_copy(update={"seed": 39 % 3}))
    assert np.abs(made[..., :3] - np.asarray(right, float)).max() <= 2


def test_a_reader_runs_holds_and_compares(site, tmp_path):
    with served(site) as address, chromium(tmp_path / "p") as driver:
        driver.get(f"{address}/notebooks/try.html")
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        button(driver, "Run").click()
        until(driver, f"{SAID} === 'done'")
        button(driver, "the true one").click()
        for box in driver.find_elements("css selector", ".cirp-toggle input")[:4]:
            box.click()
        button(driver, "Run").click()
        until(driver, "document.querySelectorAll('.cirp-scores tbody tr').length === 2")
        until(driver, f"{SAID} === 'done'")
        rows = driver.find_elements("css selector", ".cirp-scores tbody tr")
        now, before = (float(row.find_element("css selector", "td").text) for row in rows)
        assert now < before  # held, it changes less outside
        word = driver.find_elements("css selector", ".cirp-word button")[3]
        word.click()
        pressed = driver.find_elements("css selector", ".cirp-word button[aria-pressed=true]")
        assert len(pressed) == 1
        button(driver, "as a link").click()
        address = driver.current_url
        driver.get("about:blank")
        driver.get(address)
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        assert errors(driver) == []


TOUR = "(document.querySelector('.cirp-tour > span')?.textContent ?? '')"


def test_the_first_minute_is_guided_to_an_edit_that_strays_no_more(site, tmp_path):
    """One click after the other on what the guide offers, and nothing else."""
    with served(site) as address, chromium(tmp_path / "p") as driver:
        driver.get(f"{address}/notebooks/try.html")
        until(driver, f"{TOUR}.startsWith('1 of 3')")
        button(driver, "run it").click()
        assert until(driver, f"{TOUR}.startsWith('2 of 3')")
        button(driver, "show what it changed").click()
        assert until(driver, f"{TOUR}.startsWith('3 of 3')")
        button(driver, "constrain it and run").click()
        said = until(driver, f"{TOUR}.startsWith('Outside') && {TOUR}")
        before, after = map(float, re.findall(r"from (\S+) to (\S+)\.", said)[0])
        rows = driver.find_elements("css selector", ".cirp-scores tbody tr")
        assert len(rows) == 2 and after < before
        for row, value in zip(rows, (after, before), strict=True):
            assert f"{value:.3f}" in row.text
        driver.find_element("css selector", "[aria-label='Close this guide']").click()
        assert not driver.find_element("css selector", ".cirp-tour").is_displayed()
        assert errors(driver) == []


def test_who_comes_with_an_intervention_is_not_guided(site, tmp_path):
    asked = parse.quote(json.dumps({"factors": {"2": 0}}))
    with served(site) as address, chromium(tmp_path / "p") as driver:
        driver.get(f"{address}/notebooks/try.html#run={asked}")
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        assert not driver.find_element("css selector", ".cirp-tour").is_displayed()


def test_a_run_is_cancelled_and_a_wrong_word_is_said(site, tmp_path):
    with served(site) as address, chromium(tmp_path / "p") as driver:
        driver.get(f"{address}/notebooks/try.html")
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        steps = driver.find_elements("css selector", ".cirp-panel input[type=range]")[2]
        driver.execute_script(
            "arguments[0].value = 50; arguments[0].dispatchEvent(new Event('input'))", steps
        )
        button(driver, "Run").click()
        until(driver, f"{SAID} === 'running'")
        button(driver, "Cancel").click()
        until(driver, f"{SAID} === 'cancelled'", 20)
        text = driver.find_element("css selector", ".cirp-live input[type=text]")
        text.clear()
        text.send_keys("paint the <img src=x onerror=alert(1)> zyzzyx $a$ red\t")
        until(driver, "document.querySelector('.cirp-unknown').textContent.includes('zyzzyx')")
        assert (
            driver.execute_script("return document.querySelectorAll('.cirp-live img').length") == 0
        )
        text.clear()
        text.send_keys("?!\t")
        until(driver, f"{SAID}.includes('has no word')")
        assert errors(driver) == []


MAPS = """
const done = arguments[0], link = HTMLAnchorElement.prototype.click;
HTMLAnchorElement.prototype.click = function () {
  HTMLAnchorElement.prototype.click = link;
  fetch(this.href).then((got) => got.arrayBuffer()).then((data) => {
    done(btoa(Array.from(new Uint8Array(data), (b) => String.fromCharCode(b)).join("")));
  });
};
[...document.querySelectorAll("button")].find((one) => one.textContent === "save maps").click();
"""


SCORE = (
    "document.querySelectorAll('.cirp-scores tbody tr')[{}].querySelectorAll('td')[1].textContent"
)


def test_maps_are_traded_and_frozen(site, tmp_path):
    """Frozen to the run before, a muted word has no say; a trade is seen, and undone."""
    with served(site) as address, chromium(tmp_path / "p") as driver:
        driver.get(f"{address}/notebooks/try.html")
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        count = "document.querySelectorAll('.cirp-scores tbody tr').length"

        def ran(rows):
            button(driver, "Run").click()
            until(driver, f"{count} === {rows}", 120)
            until(driver, f"{SAID} === 'done'", 120)
            return [driver.execute_script("return " + SCORE.format(i)) for i in range(rows)]

        (plain,) = ran(1)
        word = driver.find_elements("css selector", ".cirp-word button")[2]
        word.click()
        options = driver.execute_script(PICK, "trade maps with", 4)
        assert options[0] == "no word" and len(options) > 4
        traded = "return document.querySelectorAll('.cirp-word.traded').length"
        assert driver.execute_script(traded) == 2
        now, before = ran(2)
        assert before == plain and now != plain
        driver.execute_script(PICK, "attention", 1)  # all layers, of the last run
        now, _ = ran(2)
        assert now == driver.execute_script("return " + SCORE.format(1))  # traded maps, frozen
        driver.execute_script(PICK, "trade maps with", 0)
        assert driver.execute_script(traded) == 0
        frozen, _ = ran(2)
        assert frozen == now != plain  # the maps are still those of the trade
        driver.execute_script(PICK, "attention", 0)
        free, _ = ran(2)
        assert free == plain
        button(driver, "as a command").click()
        text = driver.find_element("css selector", ".cirp-code").text
        assert text.startswith("cirp notebooks 18_try_it --parameter request=run=%7B")
        assert not set(text) & set("'\"$`!()*")
        assert errors(driver) == []


def test_a_cell_is_probed_and_all_maps_are_saved(site, known, tmp_path):
    """By pointer and by keyboard; the bars are those of the saved maps, and these are shares."""
    from selenium.webdriver.common.keys import Keys

    with served(site) as address, chromium(tmp_path / "p") as driver:
        driver.get(f"{address}/notebooks/try.html")
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        button(driver, "Run").click()
        until(driver, f"{SAID} === 'done'", 120)
        canvas = driver.find_element("css selector", ".cirp-stage canvas")
        canvas.click()
        until(driver, "!document.querySelector('.cirp-bars').hidden")
        bars = "[...document.querySelectorAll('.cirp-bars meter')].map((one) => one.value)"
        clicked = driver.execute_script(f"return {bars}")
        canvas.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
        moved = driver.execute_script(f"return {bars}")
        assert clicked != moved and 0 < sum(moved) <= 1 + 1e-4
        assert "%" in driver.find_element("css selector", ".cirp-bars").get_attribute("aria-label")
        driver.set_script_timeout(30)
        saved = np.load(io.BytesIO(base64.b64decode(driver.execute_async_script(MAPS))))
        layers = [saved[name] for name in saved.files if name != "tokens.txt"]
        assert {(m.shape[0], m.shape[1], m.shape[3]) for m in layers} == {(STEPS, 3, len(moved))}
        assert all((maps.sum(axis=3) <= 1 + 1e-4).all() and maps.min() >= 0 for maps in layers)
        of_text = [maps[:, 0] for maps in layers]
        assert any(np.abs(a - b[:, 1]).max() > 1e-3 for a, b in zip(of_text, layers, strict=True))
        driver.execute_script(PICK, "branch", 1)  # the bars are then the image branch's
        assert driver.execute_script(f"return {bars}") != moved
        driver.execute_script(PICK, "branch", 0)
        driver.execute_script(PICK, "head", 2)
        assert driver.execute_script(f"return {bars}") != moved
        canvas.send_keys(Keys.ESCAPE)
        assert driver.execute_script("return document.querySelector('.cirp-bars').hidden")
        assert errors(driver) == []


FOCUSED = """
const one = document.activeElement;
return one.closest(".cirp-live") ? one.textContent.slice(0, 20) || one.ariaLabel : "";
"""


def test_every_function_is_reached_and_used_by_the_keyboard_alone(site, tmp_path):
    """Tab comes to every control once, in the order of the page; keys alone run a held edit."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    with served(site) as address, chromium(tmp_path / "p") as driver:

        def press(*keys):
            ActionChains(driver).send_keys(*keys).perform()

        def reach(name):
            """Tab until the control with this text or label has the focus."""
            for _ in range(80):
                if driver.execute_script(FOCUSED) == name:
                    return
                press(Keys.TAB)
            raise AssertionError(f"{name!r} is never reached")

        driver.get(f"{address}/notebooks/try.html")
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        walked = []
        for _ in range(80):
            press(Keys.TAB)
            found = driver.execute_script("return document.activeElement")
            if found.tag_name == "body":
                break
            walked.append(found.id or found.get_attribute("aria-label") or found.text)
        there = driver.execute_script(
            "return [...document.querySelectorAll('.cirp-live :is(button, input, select, canvas)')]"
            ".filter((one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility()).length"
        )
        assert len(walked) == there > 25
        driver.execute_script("document.activeElement.blur(); window.getSelection().empty()")
        reach("paint")
        press(Keys.ENTER)
        press(Keys.SPACE, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.SPACE)
        boxes = driver.find_elements("css selector", ".cirp-toggle input")
        assert boxes[2].is_selected()  # what is painted is used: latents are held
        driver.execute_script("arguments[0].focus()", boxes[2])
        press(Keys.SPACE)
        assert not boxes[2].is_selected()
        press(Keys.SPACE)
        assert boxes[2].is_selected()
        driver.execute_script("document.querySelector('.cirp-live input[type=text]').focus()")
        press(Keys.ENTER)
        until(driver, f"{SAID} === 'done'", 120)
        first = driver.find_element("css selector", ".cirp-word button")
        driver.execute_script("arguments[0].focus()", first)
        press(Keys.ENTER)
        pressed = "return document.activeElement.getAttribute('aria-pressed')"
        assert driver.execute_script(pressed) == "true"  # and the focus has stayed there
        shown = driver.find_element("xpath", "//label[text()='shown']/following-sibling::select")
        before = driver.execute_script("return arguments[0].selectedIndex", shown)
        driver.execute_script("arguments[0].focus()", shown)
        press(Keys.ARROW_DOWN)
        assert driver.execute_script("return arguments[0].selectedIndex", shown) == before + 1
        reach("as a link")
        press(Keys.ENTER)
        until(driver, "location.hash.length > 100")
        assert errors(driver) == []


def test_a_region_is_painted_from_the_keyboard(site, tmp_path):
    from selenium.webdriver.common.keys import Keys

    with served(site) as address, chromium(tmp_path / "p") as driver:
        driver.get(f"{address}/notebooks/try.html")
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        button(driver, "paint").send_keys(Keys.ENTER)
        focused = driver.switch_to.active_element
        assert focused.tag_name == "canvas"
        focused.send_keys(Keys.ARROW_RIGHT, Keys.SPACE, Keys.ARROW_DOWN, Keys.SPACE)
        button(driver, "as a link").click()
        until(driver, "location.hash.length > 100")
        asked = driver.execute_script(
            "return JSON.parse(new URLSearchParams(location.hash.slice(1)).get('run')).region"
        )
        runs = [int(length) for length in asked.split(".")]
        assert 16 <= sum(runs[1::2]) <= 64 and sum(runs) == 64 * 64
        link = driver.current_url
        driver.get("about:blank")
        driver.get(link)  # it opens with the region, which is held as before
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        driver.execute_script("location.hash = ''")
        button(driver, "as a link").click()
        until(driver, "location.hash.length > 100")
        assert driver.current_url == link and "%22hold%22%3Atrue" in link


def test_the_chapter_says_how_much_is_fetched():
    stamp = json.loads((page.OUT / "engine.json").read_text())
    runtime = page.OUT.parent / "vendor" / "ort" / "ort-wasm-simd-threaded.wasm.gz"
    fetched = sum(stamp["megabytes"].values()) + runtime.stat().st_size / 1e6
    text = (ROOT / "notebooks" / "18_try_it.py").read_text()
    assert abs(float(re.search(r"fetched \((\d+) MB\)", text)[1]) - fetched) < 1


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_is_clipped(site, tmp_path, width):
    with served(site) as address, chromium(tmp_path / "p", size=(max(width, 500), 900)) as driver:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        driver.get(f"{address}/notebooks/try.html")
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def test_it_asks_nobody_else(site):
    text = (site / "notebooks" / "try.html").read_text()
    engine = (Path(widget.STATIC) / "engine.js").read_text()
    for address in ("http://", "https://"):
        assert address not in engine
        assert address not in text.replace("http://www.w3.org", "")


def test_the_engine_is_exported_in_one_line_without_warnings(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "cirp", "page-engine", "--folder", str(tmp_path / "engine")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().split("\n")) == 1 and done.stderr == ""


SEEN_AT_ONCE = """
const boxes = Object.fromEntries(Object.entries({
  picture: ".cirp-stage canvas", run: ".cirp-live .cirp-panel button:not([disabled])",
  scores: ".cirp-stage table", dial: ".cirp-live input[type=range]",
}).map(([name, one]) => [name, document.querySelector(one).getBoundingClientRect()]));
const top = Math.min(...Object.values(boxes).map((box) => box.top));
const fromTop = ([name, box]) => [name, [box.top - top, box.bottom - top]];
return Object.fromEntries(Object.entries(boxes).map(fromTop));
"""


def test_picture_controls_and_scores_are_seen_at_once(site, tmp_path):
    with served(site) as address, chromium(tmp_path / "p", size=(1440, 900)) as driver:
        driver.get(f"{address}/notebooks/try.html")
        until(driver, "document.querySelectorAll('.cirp-word').length > 3")
        button(driver, "Run").click()
        until(driver, f"{SAID} === 'done'", 120)
        found = driver.execute_script(SEEN_AT_ONCE)
        height = driver.execute_script("return window.innerHeight")
        assert all(0 <= top and bottom <= height for top, bottom in found.values()), found
