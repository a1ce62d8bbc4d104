"""The review in a real JupyterLab: keep, drop, correct, paint, undo, a kill, and on."""

import pytest

from cirp.curation.review import open_review
from cirp.data.edits import load_edits
from tests.browser import button, chromium, errors, needs_browser, until
from tests.lab import jupyterlab, run_cell
from tests.test_review import drawn

pytestmark = [pytest.mark.slow, needs_browser]
DONE = "(document.querySelector('.cirp-review output')?.textContent ?? '')"
SAID = "(document.querySelector('.cirp-review .cirp-said')?.textContent ?? '')"


def test_a_draw_is_reviewed_killed_and_finished(tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    out, _ = drawn(tmp_path)
    first, second, third, fourth = open_review(out).left
    cell = f"import cirp\ncirp.review({str(out)!r})"
    there = f"{DONE}.includes(' of 4 decided')"
    with jupyterlab(tmp_path, cell) as lab, chromium(tmp_path / "p", size=(1500, 1100)) as driver:
        run_cell(driver, lab, there)
        canvas = driver.find_element("css selector", ".cirp-paint")
        until(driver, "document.querySelector('.cirp-paint').width < 300", 20)
        ActionChains(driver).move_to_element_with_offset(canvas, -60, -30).click_and_hold() \
            .move_by_offset(60, 20).release().perform()  # fmt: skip
        text = driver.find_element("css selector", ".cirp-review input[aria-label=Instruction]")
        text.clear()
        text.send_keys("make it <script>alert(1)</script> blue")
        button(driver, "Keep").click()
        until(driver, f"{SAID} === 'kept {first}'", 30)
        painted = open_review(out).mask(first)
        assert painted is not None and 0 < painted.mean() < 0.6
        # by keys alone: move, paint, drop, undo, keep
        canvas.click()
        canvas.send_keys(Keys.ARROW_LEFT, Keys.ARROW_UP, " ", "d")
        until(driver, f"{SAID} === 'dropped {second}'", 30)
        driver.find_element("css selector", ".cirp-paint").send_keys("u")
        until(driver, f"{SAID} === 'undone: drop {second}'", 30)
        assert open_review(out).left[0] == second
        button(driver, "Drop").click()
        until(driver, f"{SAID} === 'dropped {second}'", 30)
        driver.save_screenshot(str(tmp_path / "review.png"))
        assert [one for one in errors(driver) if "favicon" not in one] == []
    # the server was ended in the middle: a new one goes on
    with jupyterlab(tmp_path, cell) as lab, chromium(tmp_path / "q", size=(1500, 1100)) as driver:
        run_cell(driver, lab, there)
        assert driver.execute_script(f"return {DONE}") == "2 of 4 decided, 1 kept"
        for name in (third, fourth):
            button(driver, "Keep").click()
            until(driver, f"{SAID} === 'kept {name}'", 30)
        field = driver.find_element("css selector", ".cirp-review input[placeholder^=folder]")
        field.send_keys(str(tmp_path / "kept"))
        button(driver, "Write what is kept").click()
        until(driver, f"{SAID}.startsWith('kept edits are in')", 30)
    kept = load_edits(tmp_path / "kept")
    assert [item.id for item in kept] == [first, third, fourth]
    assert kept[0].record.instruction == "make it <script>alert(1)</script> blue"
    assert kept[0].mask() is not None
