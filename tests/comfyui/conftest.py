"""A real ComfyUI with the pack and miniature models, and its window in a browser: each is started once for all tests.

Their scope is this folder (a package): what comes after it shares the machine with none of them.
"""

import shutil
import time
from pathlib import Path

import pytest

from rethink.editors.loading import load_editor
from tests.browsers import running_browser
from tests.comfyui.native_graphs import FAMILIES
from tests.support.comfyui_server import LORA, install_pack, running_comfyui
from tests.support.comfyui_window import CANVASES, LONG, empty_window, open_window, wait_until_ready
from tests.support.editor_miniatures import as_diffusers, factors, write_lora
from tests.support.hosts import comfyui_python, find_comfyui
from tests.support.miniatures import write_clip, write_folder


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    root = find_comfyui()
    if not (root and comfyui_python(root)):
        pytest.skip("no ComfyUI with a virtual environment of its own was found")
    base = tmp_path_factory.mktemp("comfyui")
    install_pack(root, base)
    shutil.copytree(Path(__file__).parent / "miniature_nodes", base / "custom_nodes" / "miniature_nodes")
    with running_comfyui(root, base, lambda: write_models(base / "models")) as server:
        yield server


def write_models(folder: Path) -> None:
    miniature = write_folder(folder / "diffusers" / "miniature", "StableDiffusionInstructPix2PixPipeline")
    (folder / "loras").mkdir(exist_ok=True)
    write_lora(as_diffusers(factors(load_editor(miniature))), folder / "loras", LORA.removesuffix(".safetensors"))
    write_folder(folder / "diffusers" / "stable-diffusion-v1-5", "StableDiffusionPipeline")
    write_clip(folder / "clip_vision" / "clip-vit-large-patch14")


@pytest.fixture(scope="package")
def browser():
    with running_browser() as chromium:
        yield chromium


@pytest.fixture(scope="package", params=CANVASES)
def window(request, server, browser):
    """The tests of one canvas come one after another, so that its window is loaded once for all of them."""
    server.post("/settings/Comfy.VueNodes.Enabled", request.param == "nodes-2.0")
    server.post("/settings/Comfy.TutorialCompleted", True)
    page = open_window(server, browser)
    page.canvas_kind = request.param
    yield page
    page.close()


@pytest.fixture(scope="package")
def second_window(server, browser, window):
    """Of somebody else, on the same canvas."""
    page = open_window(server, browser)
    page.canvas_kind = window.canvas_kind
    yield page
    page.close()


@pytest.fixture
def page(server, window):
    """The window, with nothing in it; whatever is still running when the test is over is cancelled."""
    empty_window(window)
    yield window
    cancel_everything(server)
    check_problems(window)


@pytest.fixture
def other_page(server, page, second_window):
    """The second window, with nothing in it."""
    if second_window.url == "about:blank":  # as good as closed
        second_window.goto(server.address)
        wait_until_ready(second_window)
    empty_window(second_window)
    yield second_window
    check_problems(second_window)


def check_problems(page) -> None:
    problems, page.problems[:] = list(page.problems), []
    assert problems == []


def cancel_everything(server) -> None:
    server.post("/queue", {"clear": True})
    end = time.monotonic() + LONG / 1000
    while server.json("/queue")["queue_running"]:
        server.post("/interrupt", {})
        assert time.monotonic() < end, "what was running cannot be cancelled"
        time.sleep(0.05)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """The tests of one family come one after another, so that its models are loaded once for all of them."""
    return request.param


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Of the tests here, those in the window come last: once it is loaded, it draws all the time."""
    places = [place for place, item in enumerate(items) if item.path.is_relative_to(Path(__file__).parent)]
    here = sorted((items[place] for place in places), key=lambda item: "window" in item.fixturenames)
    for place, item in zip(places, here):
        items[place] = item
