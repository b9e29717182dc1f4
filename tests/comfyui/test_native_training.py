"""ComfyUI's own models learn from pairs, in a real ComfyUI: every family, miniature; what they have learned loads in ComfyUI."""

import io
import json
import time
import uuid

import pytest
from PIL import Image
from safetensors import safe_open

from rethink.training.lora_families import TRAINED
from tests.comfyui.native_graphs import (
    difference,
    diffusion_model,
    edit,
    editor,
    error_of,
    loaders,
    native,
    node,
    noise,
    run,
    together,
)
from tests.support import lora_names
from tests.support.comfyui_server import PATIENCE
from tests.support.hosts import PACK_ROOT
from tests.support.lora_training import write_pairs

SIZE = {"megapixels": 64 * 64 / 2**20}
# Those that look at the image while they read the text take seconds for that; the first Qwen-Image-Edit is Plus but for the text.
FAMILIES = {
    "instruct_pix2pix": 56,
    "instruct_pix2pix_xl": 56,
    "flux_kontext": 10,
    "qwen_image_edit_plus": 12,
    "flux2": 10,
    "flux2_klein": 10,
    "longcat_image_edit": 10,
    "omnigen2": 16,
}  # → how many layers a LoRA adapts
QUICK = {
    "steps": 4,
    "rank": 4,
    "seed": 0,
    "batch": 2,
    "accumulate": 1,
    "learning_rate": 2e-2,
    "keep": "off",
    "save_every": 2,
    "previews": 0,
}


@pytest.fixture(scope="module")
def dataset(server):
    """The name of a store of pairs in ComfyUI's folder."""
    name = f"pairs-{uuid.uuid4().hex}"
    write_pairs(server.log.parent / "datasets" / name, 8)
    return name


@pytest.fixture(scope="module")
def dressed(server):
    """The name of a store of pairs with two references each."""
    name = f"pairs-{uuid.uuid4().hex}"
    write_pairs(server.log.parent / "datasets" / name, 8, references=(2,))
    return name


@pytest.fixture
def train(server, dataset):
    """train(graph, pairs, **options) runs a graph with an editor and the trainer → (the LoRA's name, its training's record)."""

    def train(graph, pairs=dataset, **options):
        name, seen = f"native-{uuid.uuid4().hex}", len(log(server))
        entry = server.run({**graph, **training(pairs, name, **options)})
        assert entry["status"]["status_str"] == "success", error_of(entry)
        assert "lora key not loaded" not in log(server)[seen:]
        return f"{name}.safetensors", record_of(server, name)

    return train


def training(dataset, name, **options):
    inputs = {"editor": ["editor", 0], "pairs": ["pairs", 0], "name": name}
    return {
        "pairs": node("RethinkLoadEditDataset", **{"format": "pair store", "format.dataset": dataset}),
        "train": node("RethinkTrainEditLora", **inputs, **{**QUICK, **options}),
        "report": node("PreviewAny", source=["train", 2]),
    }


def record_of(server, name):
    (record,) = (server.log.parent / "output" / "rethink" / "training").glob(f"{name}-*/training.json")
    return json.loads(record.read_text(encoding="utf-8"))


def log(server):
    return server.log.read_text(errors="replace")


def with_both_loaders(family, name, weight_dtype="default"):
    """An edit without the LoRA, with it by the pack's loader, and with it by ComfyUI's own."""
    graph = {**native(family, **SIZE), "image": noise(width=64, height=64), "before": edit(steps=1)}
    graph |= {"model": diffusion_model(family, weight_dtype), "report": node("PreviewAny", source=["adapted", 1])}
    graph |= {"adapted": node("RethinkEditLoraLoader", editor=["editor", 0], lora=name, strength=1.0)}
    graph |= {"loaded": node("LoraLoaderModelOnly", model=["model", 0], lora_name=name, strength_model=1.0)}
    graph |= {**editor(family, "_core", model=["loaded", 0], **SIZE), "core": edit(editor=["editor_core", 0], steps=1)}
    graph |= {"after": edit(editor=["adapted", 0], steps=1)}
    return {**graph, "same": difference("after", "core"), "changed": difference("before", "after")}


@pytest.mark.parametrize("kind", FAMILIES)
def test_it_learns_and_what_it_has_learned_loads_everywhere(server, train, kind):
    fewer = {"steps": 1, "batch": 1, "hold_out": 0.0} if kind == "longcat_image_edit" else {}  # it reads 1900 tokens
    name, record = train(native(kind, **SIZE), **fewer)
    losses = [save["held_out"] for save in record["saves"]]
    assert (fewer or losses[1] < losses[0]) and record["layers"] == FAMILIES[kind]
    seen = len(log(server))
    found = run(server, with_both_loaders(kind, name))
    assert "lora key not loaded" not in log(server)[seen:]
    assert found["report"]["text"][0].endswith(f": {FAMILIES[kind]} of {FAMILIES[kind]} layers fit.")
    assert found["same"]["difference"] == [0.0] and found["changed"]["difference"][0] > 1e-3


WITH_REFERENCES = ["flux_kontext", "qwen_image_edit_plus", "flux2", "flux2_klein", "omnigen2"]


@pytest.mark.parametrize("kind", WITH_REFERENCES)
def test_it_learns_pairs_with_two_references(train, dressed, kind):
    longer = {"steps": 16, "save_every": 8} if kind == "omnigen2" else {}  # it begins slowly, without references too
    _, record = train(native(kind, **SIZE), dressed, **longer)
    losses = [save["held_out"] for save in record["saves"]]
    assert losses[1] < losses[0] and record["references"] == 2


def test_other_edits_are_kept_and_previews_are_made_with_references(train, dressed):
    _, record = train(native("qwen_image_edit_plus", **SIZE), dressed, keep="high", replay=2, previews=1)
    assert len(record["saves"][1]["previews"]) == 1 and record["losses"][-1] < record["losses"][0]


@pytest.mark.parametrize("kind", WITH_REFERENCES)
def test_it_is_trained_with_what_an_edit_with_references_calls_it_with(server, kind):
    graph = {**native(kind), "image": noise(1), "second": noise(2), "third": noise(3)}
    graph |= {"others": together("second", "third")}
    seen = node("TestTrainedAsEdited", editor=["editor", 0], image=["image", 0], others=["others", 0])
    found = run(server, {**graph, "seen": seen})["seen"]
    assert found["images"] == [3] and found["latents"] == [0.0] and found["answer"][0] < 1e-3


@pytest.mark.parametrize("kind", ["instruct_pix2pix", "longcat_image_edit"])
def test_references_are_refused_before_any_work_where_a_family_takes_none(server, dressed, kind):
    message = error_of(server.run({**native(kind, **SIZE), **training(dressed, "x")})).strip()
    assert message.startswith("pairs: 0000000000000000 (“make it red”) has 2 references, but ")
    assert "takes none; choose another editor" in message


def test_weights_in_fp8_are_learned_over_and_other_edits_are_kept(server, train):
    graph = {**native("flux_kontext", **SIZE), "model": diffusion_model("flux_kontext", "fp8_e4m3fn")}
    name, record = train(graph, keep="high", replay=1, previews=1)
    losses = [save["held_out"] for save in record["saves"]]
    assert losses[1] < losses[0] and len(record["saves"][1]["previews"]) == 1
    found = run(server, with_both_loaders("flux_kontext", name, "fp8_e4m3fn"))
    assert found["same"]["difference"] == [0.0] and found["changed"]["difference"][0] > 1e-3
    with safe_open(server.log.parent / "models" / "loras" / name, "pt") as file:
        assert file.metadata()["ss_base_model_version"] == "flux.1_kontext"


@pytest.mark.parametrize("choice", ["family", "all"])
def test_every_name_that_models_of_diffusers_learn_under_is_known_to_comfyui(server, choice):
    families = set(TRAINED) - {"qwen_image_edit_plus"}  # the model of the first one
    names = json.dumps({family: lora_names.stems(family, choice) for family in sorted(families)})
    assert len(names) > 20_000
    assert run(server, {"names": node("TestUnknownNames", names=names)})["names"].get("unknown", []) == []


def test_the_shipped_workflow_trains_a_miniature_in_place_of_its_model(server):
    Image.new("RGB", (96, 64), "teal").save(server.log.parent / "input" / "example.png")
    path = PACK_ROOT / "workflows" / "api" / "native_fp8_lora.json"
    graph, name = json.loads(path.read_text(encoding="utf-8")), f"native-{uuid.uuid4().hex}"
    small = {
        "RethinkEditorFromModel": SIZE,
        "RethinkInverseEditSynthesizer": {"dataset": name, "pairs": 4},
        "RethinkTrainEditLora": {"name": name, "steps": 1, "replay": 1, "previews": 0, "accumulate": 1},
        "RethinkSampleEdit": {"steps": 1},
    }
    for entry in graph.values():
        entry["inputs"] |= small.get(entry["class_type"], {})
    keys = {entry["class_type"]: key for key, entry in graph.items()}
    miniature = {**loaders("flux_kontext"), "model": diffusion_model("flux_kontext", "fp8_e4m3fn")}
    for kind, part in {"UNETLoader": "model", "DualCLIPLoader": "clip", "VAELoader": "vae"}.items():
        graph[keys[kind]] = miniature[part]
    (saved,) = run(server, graph)[keys["SaveImage"]]["images"]
    assert Image.open(io.BytesIO(server.view(saved))).size == (96, 64)


def test_after_a_cancel_the_model_edits_as_before_and_the_newest_lora_is_kept(server, dataset):
    graph = {**native("flux_kontext", **SIZE), "image": noise(width=64, height=64), "before": edit()}
    run(server, {**graph, "seen": difference("before", "before")})
    name = f"native-{uuid.uuid4().hex}"
    _, answer = server.post("/prompt", {"prompt": {**graph, **training(dataset, name, steps=10_000)}})
    folder, end = server.log.parent / "output" / "rethink" / "training", time.monotonic() + PATIENCE
    while not list(folder.glob(f"{name}-*/state.safetensors")) and time.monotonic() < end:
        time.sleep(0.05)
    server.post("/interrupt", {})
    assert server.wait(answer["prompt_id"])["status"]["status_str"] == "error"
    assert (server.log.parent / "models" / "loras" / f"{name}.safetensors").is_file()
    graph |= {"unchanged": node("TestUnchanged", model=["model", 0], file="miniature_flux_kontext.safetensors")}
    graph |= {"copy": node("TestRow", image=["image", 0], index=0), "again": edit(image=["copy", 0])}
    found = run(server, {**graph, "same": difference("before", "again")})
    assert found["unchanged"]["unchanged"] == [True] and found["same"]["difference"] == [0.0]


def test_a_rank_that_no_layer_has_is_refused_before_any_work(server, dataset):
    graph = {**loaders("flux_kontext"), **editor("flux_kontext"), **training(dataset, "x", rank=1000)}
    assert error_of(server.run(graph)).strip().startswith("rank: expected 1 to 128, the size of this editor's smallest")


@pytest.mark.parametrize(
    ("family", "kind", "options"),
    [
        ("longcat_image_edit", "longcat_image_edit", {}),
        ("qwen_image_edit_2511", "qwen_image_edit_plus", {"kind": "Qwen-Image-Edit-Plus 2511"}),
    ],
)
def test_those_that_look_at_the_image_while_they_read_learn_too(train, family, kind, options):
    _, record = train(native(kind, **SIZE, **options), batch=1, steps=6, save_every=3)
    assert record["family"] == family
    losses = [save["held_out"] for save in record["saves"]]
    assert losses[1] < losses[0]


def test_it_learns_at_fewer_megapixels_than_it_edits_at(server, train):
    _, record = train(native("flux_kontext", megapixels=128 * 128 / 2**20), previews=1, **SIZE)
    _, whole = train(native("flux_kontext", **SIZE), previews=1)
    assert record["losses"] == whole["losses"] and record["settings"]["megapixels"] == SIZE["megapixels"]


def test_previews_are_those_of_another_editor_and_what_is_learned_stays_the_same(server, train, dataset):
    graph = native("flux_kontext", **SIZE)
    other = {"model_8": diffusion_model("flux_kontext", "fp8_e4m3fn")}
    other |= editor("flux_kontext", "_8", model=["model_8", 0], **SIZE)
    _, plain = train(graph, previews=1)
    _, record = train({**graph, **other}, previews=1, preview_editor=["editor_8", 0])
    assert record["losses"] == plain["losses"]
    assert {save["preview_editor"] for save in record["saves"]} == {"FLUX.1 Kontext (preview_editor)"}
    wrong = {**graph, **loaders("flux2", "_2"), **editor("flux2", "_2", "_2")}
    message = error_of(server.run({**wrong, **training(dataset, "x", preview_editor=["editor_2", 0])})).strip()
    assert message.startswith("preview_editor: FLUX.2 dev is of another family, FLUX.2 dev; choose")
