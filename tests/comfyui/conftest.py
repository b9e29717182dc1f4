"""A real ComfyUI with the pack and miniature models, started once for all tests of this folder and of those in it."""

import shutil
from pathlib import Path

import pytest

from rethink.editors.loading import load_editor
from tests.comfyui.native_graphs import FAMILIES, run
from tests.support.comfyui_server import LORA, install_pack, running_comfyui
from tests.support.editor_miniatures import as_diffusers, factors, write_lora
from tests.support.hosts import comfyui_python, find_comfyui, read_workflow
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


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """The tests of one family come one after another, so that its models are loaded once for all of them."""
    return request.param


@pytest.fixture
def filtered(server):
    """(key of the filtered pairs, what Preview Pairs shows) of the shipped workflow."""
    found = run(server, read_workflow("filter_and_save_pairs"))
    return found["3"]["rethink_filter"][0]["key"], found["4"]["rethink_pairs"][0]
