"""The explorer in a real JupyterLab: a kernel runs it, and a browser drives it."""

import re

import pytest
from PIL import ImageOps

from cirp.diffusion.pipelines import has_bfloat16_units
from tests.browser import PICK, SAID, button, chromium, errors, needs_browser, until
from tests.conftest import painted
from tests.lab import jupyterlab, run_cell

NUMBERS = re.compile(r"-?\d*\.\d+")
BEFORE = ((0, "run "), (1, "before "))  # a row of scores, and what its label ends with
UNUSED = """
const dials = [...document.querySelectorAll(".cirp-live input[type=range]:disabled")];
return dials.map((one) => one.labels[0].textContent);
"""

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture
def lab(tmp_path):
    """The address of a notebook that holds one line, in a JupyterLab of its own."""
    with jupyterlab(tmp_path, "import cirp\ncirp.explore(steps=3)") as address:
        yield address


def test_a_run_on_the_kernel_is_watched_held_and_cancelled(lab, tmp_path):
    with chromium(tmp_path / "p", size=(1500, 1100)) as driver:
        run_cell(driver, lab, "document.querySelectorAll('.cirp-word').length > 3")
        button(driver, "Run").click()
        until(driver, f"{SAID} === 'done'", 120)
        assert "edit success" in driver.find_element("css selector", ".cirp-scores").text
        button(driver, "find it (remap)").click()
        until(driver, f"{SAID}.startsWith('Found')", 60)
        assert driver.find_elements("css selector", ".cirp-toggle input")[2].is_selected()
        driver.find_elements("css selector", ".cirp-toggle input")[1].click()
        button(driver, "Run").click()
        until(driver, "document.querySelectorAll('.cirp-scores tbody tr').length === 2", 120)
        button(driver, "as Python").click()
        until(driver, "document.querySelector('.cirp-code').textContent.includes('gate')", 20)
        driver.execute_script(PICK, "attention", 1)
        button(driver, "Run").click()  # frozen to the run before, whose guidance was gated, too
        until(driver, f"{SAID} === 'done'", 120)
        rows = driver.find_elements("css selector", ".cirp-scores tbody tr")
        now, then = (NUMBERS.findall(rows[i].text.split(before)[-1]) for i, before in BEFORE)
        assert len(now) == len(then) > 2
        # maps that are given to a layer are multiplied by its values in a kernel of their own,
        # which rounds bfloat16 otherwise than the fused one does
        near = 0.005 if has_bfloat16_units() else 0
        assert [float(x) for x in now] == pytest.approx([float(x) for x in then], abs=near)
        button(driver, "as Python").click()
        until(driver, "document.querySelector('.cirp-code').textContent.includes('KeepMaps')", 20)
        driver.execute_script(PICK, "attention", 0)
        steps = driver.find_elements("css selector", ".cirp-panel input[type=range]")[2]
        driver.execute_script(
            "arguments[0].value = 50; arguments[0].dispatchEvent(new Event('input'))", steps
        )
        button(driver, "Run").click()
        until(driver, f"{SAID} === 'running'", 30)
        button(driver, "Cancel").click()
        until(driver, f"{SAID} === 'cancelled'", 30)
        driver.find_element("css selector", ".cirp-more summary").click()
        count = "document.querySelector('.cirp-panel select').options.length"
        known = driver.execute_script(f"return {count}")
        button(driver, "draw a scene").click()
        until(driver, f"{SAID} === 'here it is' && {count} === {known + 1}", 30)
        painted(96, 64).save(tmp_path / "mine.png")
        mine = driver.find_element("css selector", ".cirp-more input[type=file]")
        mine.send_keys(str(tmp_path / "mine.png"))
        until(driver, f"{count} === {known + 2}", 30)
        driver.execute_script(
            "arguments[0].value = 3; arguments[0].dispatchEvent(new Event('input'))", steps
        )
        button(driver, "Run").click()
        until(driver, f"{SAID} === 'done'", 120)
        again = [one for one in driver.find_elements("css selector", ".cirp-more summary")
                 if "repair" in one.text]  # fmt: skip
        again[0].click()
        ImageOps.invert(painted(96, 64)).save(tmp_path / "output.png")
        output = driver.find_elements("css selector", ".cirp-more input[type=file]")[1]
        output.send_keys(str(tmp_path / "output.png"))
        until(driver, f"{SAID}.includes('whole picture')", 30)  # it is quite another picture
        painted(96, 64).resize((192, 128)).save(tmp_path / "same.png")
        output.send_keys(str(tmp_path / "same.png"))
        until(driver, "document.querySelector('.cirp-scores').textContent.includes('repaired')", 30)
        methods = driver.execute_script(PICK, "method", 0)
        assert methods[0] == "ip2p" and driver.execute_script(UNUSED) == []
        for name, unused in (("diffedit", ["image guidance"]), ("remap", ["noisy input"])):
            driver.execute_script(PICK, "method", methods.index(name))
            assert driver.execute_script(UNUSED) == unused
        button(driver, "Run").click()
        until(driver, "document.querySelector('.cirp-scores').textContent.includes('(remap)')", 120)
        driver.find_element("css selector", ".cirp-stage canvas").click()
        until(driver, "document.querySelectorAll('.cirp-bars meter').length > 3", 10)
        driver.save_screenshot(str(tmp_path / "lab.png"))
        assert [one for one in errors(driver) if "favicon" not in one] == []
