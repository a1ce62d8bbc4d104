"""A real JupyterLab with one notebook of one cell."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat

from tests.browser import until


@contextmanager
def jupyterlab(folder: Path, source: str) -> Iterator[str]:
    """The address of a notebook in `folder`/work that holds `source`, while the block runs."""
    cell = nbformat.v4.new_code_cell(source)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    (folder / "work").mkdir(exist_ok=True)
    nbformat.write(notebook, folder / "work" / "live.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(folder / "config"), "PYTHONPATH": root,
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
         "--ServerApp.token=", "--ServerApp.password=", "--ServerApp.port_retries=0",
         "--LabApp.news_url=", "--LabApp.check_for_updates_class="
         "jupyterlab.NeverCheckForUpdate", f"--ServerApp.root_dir={folder / 'work'}"],
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


def run_cell(driver, address: str, there: str) -> None:
    """Open the notebook and run its cell until the JavaScript condition `there` holds."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    driver.get(address)
    until(driver, "!!document.querySelector('.jp-Notebook .jp-CodeCell .cm-content')", 90)
    for _ in range(4):  # the notebook is laid out anew when its kernel is there
        time.sleep(3)
        driver.execute_script("document.querySelector('.jp-CodeCell .cm-content').focus()")
        keys = ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER)
        keys.key_up(Keys.SHIFT).perform()
        with suppress(AssertionError):
            until(driver, there, 60)
            return
    raise AssertionError(f"never: {there}")
