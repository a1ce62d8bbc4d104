"""A real Chromium, and a server for what it opens; tests that need them are skipped without."""

import functools
import http.server
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="Chromium and its driver are not installed"
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".gz": "application/octet-stream",
    }

    def log_message(self, *_) -> None:
        """Nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder while the block runs."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def chromium(profile: Path, *, size: tuple[int, int] = (1280, 1000), dark: bool = False):
    """A driver of a fresh browser without a window."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", f"--user-data-dir={profile}",
        f"--window-size={size[0]},{size[1]}", *(["--force-dark-mode"] if dark else []),
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def errors(driver) -> list[str]:
    """What the page said went wrong."""
    return [one["message"] for one in driver.get_log("browser") if one["level"] == "SEVERE"]


def until(driver, script, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := driver.execute_script(f"return {script}"):
            return found
        time.sleep(0.1)
    said = driver.execute_script("return document.querySelector('.cirp-said')?.textContent")
    raise AssertionError(f"{script} never came true; it says {said!r}; {errors(driver)}")


SAID = "(document.querySelector('.cirp-said')?.textContent ?? '')"


# Chooses an option (its number) of the explorer's list with a label; what there is to choose.
PICK = """
const labels = [...document.querySelectorAll(".cirp-live label")];
const label = labels.find((one) => one.textContent === arguments[0]);
const select = document.getElementById(label.htmlFor);
select.selectedIndex = arguments[1];
select.dispatchEvent(new Event("change"));
return [...select.options].map((one) => one.text);
"""


def button(driver, text):
    return driver.find_element("xpath", f"//button[normalize-space()='{text}']")
