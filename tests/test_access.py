"""Every built page in a real Chromium, light and dark: axe-core finds nothing serious or critical.

axe-core 4.14.1 (Mozilla Public License 2.0) lies in vendor/, since no package brings it alone.
"""

from pathlib import Path

import pytest

from tests.browser import chromium, errors, needs_browser, served

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
GRAVE = ("serious", "critical")
LOOK = """
const done = arguments[0];
axe.run(document, { resultTypes: ["violations"] }).then((found) => done(found.violations.map(
  (one) => [one.impact, one.id, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160))])));
"""
SCROLLS = """
return [...document.querySelectorAll(".cirp-explorer, .cirp-live")]
  .map((one) => one.closest(".cell_output")).some((one) => one.scrollWidth > one.clientWidth);
"""
pytestmark = [pytest.mark.slow, needs_browser]


def pages() -> list[str]:
    if not (SITE / "intro.html").exists():
        pytest.skip("there is no built book; make book")
    found = sorted(path.relative_to(SITE) for path in SITE.glob("*.html"))
    found += sorted(path.relative_to(SITE) for path in SITE.glob("notebooks/*.html"))
    return [str(path) for path in found if path.name != "index.html"]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_nothing_serious_stands_in_the_way_of_a_reader(tmp_path, mode):
    found = {}
    with served(SITE) as address, chromium(tmp_path / "p", size=(1280, 900)) as driver:
        driver.get(f"{address}/intro.html")
        driver.execute_script(
            "for (const name of ['mode', 'theme']) localStorage.setItem(name, arguments[0])", mode
        )
        driver.set_script_timeout(120)
        for page in pages():
            driver.get(f"{address}/{page}")
            assert driver.execute_script("return document.documentElement.dataset.theme") == mode
            driver.execute_script(AXE.read_text())
            grave = [one for one in driver.execute_async_script(LOOK) if one[0] in GRAVE]
            if grave or (said := errors(driver)):
                found[page] = grave or said
    assert found == {}


@pytest.mark.parametrize("width", [360, 1440])
def test_no_page_is_wider_than_the_screen(tmp_path, width):
    wide = {}
    with served(SITE) as address, chromium(tmp_path / "p", size=(max(width, 500), 900)) as driver:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        for page in pages():
            driver.get(f"{address}/{page}")
            needs = driver.execute_script("return document.documentElement.scrollWidth")
            if needs > width:
                wide[page] = needs
            if driver.execute_script(SCROLLS):
                wide[f"{page}: an explorer"] = True
    assert wide == {}
