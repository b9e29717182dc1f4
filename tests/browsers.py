"""The browser that the tests drive, where there is one."""

import os
import shutil
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium was found")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as engine:
        with engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as chromium:
            yield chromium


def shoot(page, name: str) -> bytes:
    """A screenshot; also a file in the folder that RETHINK_SCREENSHOTS names, to be looked at."""
    data = page.screenshot()
    if folder := os.environ.get("RETHINK_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(data)
    return data
