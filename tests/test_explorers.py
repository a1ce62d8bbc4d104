import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from cirp.figures.explorers import AttentionExplorer, GuidanceExplorer, data_uri

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def noise(size=(8, 6), seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def attention(**changed):
    """Word b looks with three quarters of its weight into the left half, at the second time."""
    maps = np.full((2, 2, 2, 4), 0.25, dtype=np.float32)
    maps[1, 1] = [[0.75, 0.75, 0.25, 0.25]] * 2
    mask = np.zeros((6, 8), dtype=bool)
    mask[:, :4] = True
    arguments = dict(
        picture=noise(), maps={"16": maps, "8": maps[..., :1]}, words=["a", "b"],
        timesteps=[999, 500], mask=mask,
    )  # fmt: skip
    return AttentionExplorer(**(arguments | changed))


def guidance(**changed):
    edits = {(name, s): noise(seed=i) for i, name in enumerate("xy") for s in (3.0, 7.5)}
    edits["x", 7.5] = noise(seed=9)
    arguments = dict(
        sources={"x": noise(seed=0), "y": noise(seed=1)},
        settings={"text guidance": [3.0, 7.5]},
        edits=edits,
        targets={"x": noise(seed=3)},
        scores={("x", 7.5): {"CLIP-I": 0.9123, "success": float("nan")}},
    )
    return GuidanceExplorer(**(arguments | changed))


def test_maps_survive_as_bytes_to_half_a_step():
    rng = np.random.default_rng(0)
    maps = {
        name: rng.random((3, 2, side, side)).astype(np.float32)
        for name, side in (("16", 4), ("8", 2))
    }
    explorer = attention(maps=maps, timesteps=[2, 1, 0], mask=None)
    for layer, peaks, array in zip(explorer.layers, explorer.peaks, maps.values(), strict=True):
        kept = np.frombuffer(explorer.maps, np.uint8, array.size, layer["offset"]).reshape(
            array.shape
        )
        peak = np.array(peaks)[:, None, None]
        np.testing.assert_allclose(kept / 255 * peak, array, atol=peak.max() / 509)


def test_a_word_that_is_never_looked_at_is_no_division_by_zero():
    explorer = attention(maps={"16": np.zeros((2, 2, 2, 2), dtype=np.float32)})
    assert explorer.peaks == [[0.0, 0.0]] and not any(explorer.maps)


@pytest.mark.parametrize(
    "maps, said",
    [
        ({}, "there are no maps"),
        ({"16": np.zeros((2, 3, 4, 4))}, r"'16' are \(2, 3, 4, 4\).*2 timesteps and 2 words"),
        ({"16": np.full((2, 2, 4, 4), -1.0)}, "'16' have negative"),
        ({"16": np.full((2, 2, 4, 4), np.nan)}, "'16' have negative or undefined"),
    ],
)
def test_maps_that_do_not_fit_are_refused(maps, said):
    with pytest.raises(ValueError, match=said):
        attention(maps=maps)


def test_a_missing_edit_is_named():
    with pytest.raises(ValueError, match=r"no edit of \('x', 12.0\)"):
        guidance(settings={"text guidance": [3.0, 12.0]})


def test_pictures_are_kept_without_loss():
    kept = Image.open(io.BytesIO(base64.b64decode(data_uri(noise()).split(",")[1])))
    np.testing.assert_array_equal(np.asarray(kept.convert("RGB")), np.asarray(noise()))


@pytest.mark.parametrize("make", [attention, guidance])
def test_an_explorer_shows_itself_as_a_widget_and_as_html(make):
    data, _ = make()._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/html"} <= set(data)
    assert not re.search(r"https?://(?!www\.w3\.org)", data["text/html"])  # w3: the SVG namespace
    assert make().to_html() == make().to_html()


def test_a_word_cannot_end_the_script():
    page = attention(words=["</script><b>", "b"]).to_html()
    assert page.count("</script>") == 1 and "<b>" not in page


def in_browser(tmp_path, widget, actions: str) -> dict:
    """What `actions`, the body of an async function of `el` and `said`, returns in the page."""
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8><body class=x>"
        + widget.to_html()
        + "<pre id=result></pre>"
        "<script type=module>"
        "for (let i = 0; i < 200 && !document.querySelector('.cirp-said')?.textContent; i++)"
        "  await new Promise((go) => setTimeout(go, 20));"
        "const el = document.querySelector('.cirp-explorer');"
        "const said = () => el.querySelector('.cirp-said').textContent;"
        "const pick = (node, value, event) => {"
        "  if (node.tagName === 'SELECT') node.selectedIndex = value;"
        "  else if (node.type === 'checkbox') node.checked = value; else node.value = value;"
        "  node.dispatchEvent(new Event(event)); };"
        "let result; try { result = await (async () => {" + actions + "})(); }"
        "catch (error) { result = { error: String(error) }; }"
        "document.getElementById('result').textContent = JSON.stringify(result);</script>"
    )
    shown = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=60000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    return json.loads(re.search(r'<pre id="result">(.*?)</pre>', shown, re.S).group(1))


@needs_browser
def test_the_attention_explorer_lives_without_a_kernel(tmp_path):
    result = in_browser(
        tmp_path,
        attention(),
        """
        const [word, layer] = el.querySelectorAll("select");
        const [time, opacity] = el.querySelectorAll("input[type=range]");
        const outlined = el.querySelector("input[type=checkbox]");
        const start = said();
        pick(word, 1, "change");
        pick(time, 1, "input");
        const later = said();
        const canvas = el.querySelector("canvas");
        for (const key of ["ArrowRight", "ArrowRight", "ArrowRight"])
          canvas.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        const probed = el.querySelector(".cirp-probed").textContent;
        pick(opacity, 4, "input");
        pick(outlined, false, "change");
        const border = el.querySelector("svg");
        const grid = [canvas.width, canvas.height];
        pick(layer, 1, "change");
        return { start, later, probed, opacity: canvas.style.opacity, hidden: border.style.display,
          sides: border.querySelector("path").getAttribute("d").split("M").length - 1, grid,
          other: [canvas.width, canvas.height] };
        """,
    )
    assert "“a” at time step 999: highest 0.25; 50 % of it inside" in result["start"]
    assert "“b” at time step 500: highest 0.75; 75 % of it inside" in result["later"]
    assert "which is 50 % of the picture" in result["later"]
    assert result["probed"] == "column 3, row 1: 0.25"  # in steps of 0.75 / 255
    assert result["opacity"] == "0.2" and result["hidden"] == "none"
    assert result["sides"] == 20  # around 4 x 6 pixels
    assert (result["grid"], result["other"]) == ([4, 2], [1, 2])


@needs_browser
def test_the_guidance_explorer_lives_without_a_kernel(tmp_path):
    result = in_browser(
        tmp_path,
        guidance(chosen=[0], links={("x", 7.5): "there.html#run=%7B%7D"}),
        """
        const drawn = async (place) => {
          while (el.dataset.drawn !== String(place)) await new Promise((go) => setTimeout(go, 10));
        };
        const edited = el.querySelectorAll("canvas")[1];
        const first = () => [...edited.getContext("2d").getImageData(0, 0, 1, 1).data];
        const link = el.querySelector("a.cirp-link"), none = link.hidden;
        pick(el.querySelector("input[type=range]"), 1, "input");
        await drawn(1);
        const there = link.hidden ? "" : link.getAttribute("href");
        const pixel = first(), scores = said();
        pick(el.querySelector("input[type=checkbox]"), true, "change");
        while (!edited.nextSibling.textContent.includes("change"))
          await new Promise((go) => setTimeout(go, 10));
        const change = first();
        pick(el.querySelector("select"), 1, "change");
        await drawn(3);
        const answer = el.querySelectorAll("figure")[2].hidden;
        return { none, there, pixel, scores, change, answer };
        """,
    )
    source, edited = (np.asarray(noise(seed=s))[0, 0].astype(int) for s in (0, 9))
    assert result["pixel"] == [*edited, 255]
    assert (result["none"], result["there"]) == (True, "there.html#run=%7B%7D")
    assert result["scores"] == "CLIP-I 0.912 · success –"
    change = min(255, round(2 * np.abs(edited - source).sum() / 3))
    np.testing.assert_allclose(result["change"], [change] * 3 + [255], atol=1)
    assert result["answer"] is True  # item y has no exact answer


def test_guidance_without_scores_needs_none():
    assert guidance(scores=None, targets=None).scores == [{}] * 4
