"""The explorer in a real JupyterLab: a kernel runs it, and a browser drives it."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

import nbformat
import pytest

from tests.browser import chromium, errors, needs_browser
from tests.test_explorer_page import SAID, button, until

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture
def lab(tmp_path):
    """The address of a notebook that holds one line, in a JupyterLab of its own."""
    cell = nbformat.v4.new_code_cell("import cirp\ncirp.explore(steps=3)")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    (tmp_path / "work").mkdir()
    nbformat.write(notebook, tmp_path / "work" / "live.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "PYTHONPATH": root,
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
         "--ServerApp.token=", "--ServerApp.password=", "--ServerApp.port_retries=0",
         "--LabApp.news_url=", "--LabApp.check_for_updates_class="
         "jupyterlab.NeverCheckForUpdate", f"--ServerApp.root_dir={tmp_path / 'work'}"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=1).read()
                break
            except OSError:
                time.sleep(0.25)
        yield f"{address}/lab/tree/live.ipynb?reset"
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:  # a kernel that does not end
            server.kill()


def test_a_run_on_the_kernel_is_watched_held_and_cancelled(lab, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    with chromium(tmp_path / "p", size=(1500, 1100)) as driver:
        driver.get(lab)
        until(driver, "!!document.querySelector('.jp-Notebook .jp-CodeCell .cm-content')", 90)
        for _ in range(4):  # the notebook is laid out anew when its kernel is there
            time.sleep(3)
            driver.execute_script("document.querySelector('.jp-CodeCell .cm-content').focus()")
            keys = ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER)
            keys.key_up(Keys.SHIFT).perform()
            with suppress(AssertionError):
                until(driver, "document.querySelectorAll('.cirp-word').length > 3", 60)
                break
        button(driver, "Run").click()
        until(driver, f"{SAID} === 'done'", 120)
        assert "edit success" in driver.find_element("css selector", ".cirp-scores").text
        button(driver, "find it (remap)").click()
        until(driver, f"{SAID}.startsWith('Held to nothing yet')", 60)
        driver.find_elements("css selector", ".cirp-toggle input")[1].click()
        button(driver, "Run").click()
        until(driver, "document.querySelectorAll('.cirp-scores tbody tr').length === 2", 120)
        button(driver, "as Python").click()
        until(driver, "document.querySelector('.cirp-code').textContent.includes('gate')", 20)
        steps = driver.find_elements("css selector", ".cirp-panel input[type=range]")[2]
        driver.execute_script(
            "arguments[0].value = 50; arguments[0].dispatchEvent(new Event('input'))", steps
        )
        button(driver, "Run").click()
        until(driver, f"{SAID} === 'running'", 30)
        button(driver, "Cancel").click()
        until(driver, f"{SAID} === 'cancelled'", 30)
        driver.save_screenshot(str(tmp_path / "lab.png"))
        assert [one for one in errors(driver) if "favicon" not in one] == []
