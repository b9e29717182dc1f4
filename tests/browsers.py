"""The browser that the tests drive, where there is one."""

import io
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path

import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

PATIENCE = 180_000  # milliseconds for anything: Playwright's own thirty seconds are few on a busy machine

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium was found")


@contextmanager
def running_browser() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api")
    with pytest.MonkeyPatch.context() as patch, playwright.sync_playwright() as engine:
        patch.setattr(playwright.Page, "wait_for_function", wait_for_function)
        patch.setattr(playwright.Browser, "new_page", partialmethod(new_page, playwright.Browser.new_page))
        with engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as chromium:
            yield chromium


@pytest.fixture(scope="module")
def browser():
    with running_browser() as chromium:
        yield chromium


def new_page(browser, own, **options):
    page = own(browser, **options)
    page.set_default_timeout(PATIENCE)
    return page


def wait_for_function(page, expression: str, *, arg=None, timeout: float = PATIENCE):
    """Playwright's own has the page compile the expression, which our pages let nobody do: their policy forbids eval."""
    end = time.monotonic() + timeout / 1000
    while not (found := page.evaluate(expression, arg)):
        assert time.monotonic() < end, f"it never came about: {expression}"
        page.wait_for_timeout(50)
    return found


def wait_in_page(page, milliseconds: int) -> None:
    """So long by the page's own clock: what it had to do before that is done, however slow the machine is."""
    wait = "ms => new Promise((done) => setTimeout(() => requestIdleCallback(done, { timeout: ms }), ms))"
    page.evaluate(wait, milliseconds)


def shoot(page, name: str) -> None:
    """A screenshot in the folder that RETHINK_SCREENSHOTS names, to be looked at; without one, none is taken."""
    if folder := os.environ.get("RETHINK_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def see(page, name: str) -> Image.Image:
    """What is to be seen on the page; kept as `shoot` does."""
    shoot(page, name)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")
