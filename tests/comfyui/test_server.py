"""The pack in a real ComfyUI, headless: prompts posted, pictures fetched, mistakes answered in one sentence."""

import copy
import io
import json
import shutil
import time

import pytest
from PIL import Image

from rethink.builtin import EDITOR_FOLDER, THINKER_FOLDER
from rethink.images import save_image
from rethink.tiny import render, sample_task
from tests.comfyui.native_graphs import error_of
from tests.support.comfyui_server import LORA
from tests.support.hosts import PACK_ROOT, self_contained
from tests.support.miniatures import write_cache

# Those that need no file; the others run with miniatures in tests/nodes/test_workflows.py and test_native.py.
WORKFLOWS = [PACK_ROOT / "workflows" / "api" / f"{name}.json" for name in self_contained()]


@pytest.fixture
def prompt(server):
    """The shipped graph with the miniature as its editor, so that it runs in a second."""
    graph = json.loads((PACK_ROOT / "workflows" / "api" / "built_in_edit.json").read_text(encoding="utf-8"))
    names = server.json("/object_info/RethinkLoadEditor")["RethinkLoadEditor"]["input"]["required"]["editor"]
    options = names[0] if isinstance(names[0], list) else names[1]["options"]
    node(graph, "RethinkLoadEditor")["editor"] = next(name for name in options if "miniature" in name)
    node(graph, "RethinkSampleEdit")["steps"] = 2
    return graph


def node(graph: dict, kind: str) -> dict:
    return next(entry["inputs"] for entry in graph.values() if entry["class_type"] == kind)


def pictures(server, entry: dict) -> list[Image.Image]:
    found = [image for output in entry["outputs"].values() for image in output.get("images", [])]
    return [Image.open(io.BytesIO(server.view(image))) for image in found]


def test_the_pack_loads_and_describes_itself(server):
    nodes = {name: info for name, info in server.json("/object_info").items() if name.startswith("Rethink")}
    assert {"RethinkLoadEditor", "RethinkSampleEdit", "RethinkEditChain", "RethinkTrainThinker"} <= set(nodes)
    for info in nodes.values():
        for group in ("required", "optional"):
            for name, spec in info["input"].get(group, {}).items():
                assert spec[1].get("tooltip"), f"{info['name']}: {name}"
    assert "IMPORT FAILED" not in server.log.read_text(errors="replace")


def test_an_edit_makes_pictures_and_is_cached(server, prompt):
    first = server.run(prompt)
    assert first["status"]["status_str"] == "success", error_of(first)
    assert {picture.size for picture in pictures(server, first)} == {(128, 128)}
    again = server.run(prompt)
    cached = next(data["nodes"] for name, data in again["status"]["messages"] if name == "execution_cached")
    assert set(cached) >= {key for key, entry in prompt.items() if entry["class_type"].startswith("Rethink")}


def test_links_and_hub_folders_are_listed_and_open(server, prompt, tmp_path):
    """As people have them: models on another disk, and what the hub's client has fetched."""
    models = server.log.parent / "models"
    (models / "LLM").mkdir(exist_ok=True)
    try:
        write_cache(models / "diffusers", shutil.copytree(models / "diffusers" / "miniature", tmp_path / "model"))
        (models / "diffusers" / "linked").symlink_to(tmp_path / "model", target_is_directory=True)
        (models / "loras" / "linked.safetensors").symlink_to(models / "loras" / LORA)
        (models / "LLM" / "linked").symlink_to(THINKER_FOLDER, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    assert "models--owner--name" not in json.dumps(server.json("/object_info/RethinkLoadEditor"))
    sampler = next(key for key, entry in prompt.items() if entry["class_type"] == "RethinkSampleEdit")
    loader, _ = prompt[sampler]["inputs"]["editor"]
    folder = {"folder": "linked", "dtype": "auto", "quantization": "none", "template": "Rethink's own"}
    backend = {"backend": "local folder"} | {f"backend.{name}": value for name, value in folder.items()}
    critique = {"thinker": ["thinker", 0], "source": prompt[sampler]["inputs"]["image"], "edited": [sampler, 0]}
    prompt |= {
        "lora": {
            "class_type": "RethinkEditLoraLoader",
            "inputs": {"editor": [loader, 0], "lora": "linked.safetensors", "strength": 1.0},
        },
        "thinker": {"class_type": "RethinkLoadThinker", "inputs": backend | {"max_tokens": 1024}},
        "critique": {"class_type": "RethinkCritiqueEdit", "inputs": critique | {"instruction": "red", "seed": 0}},
        "said": {"class_type": "PreviewAny", "inputs": {"source": ["critique", 2]}},
    }
    prompt[sampler]["inputs"]["editor"] = ["lora", 0]
    for name in ("owner/name", "linked"):
        node(prompt, "RethinkLoadEditor")["editor"] = name
        entry = server.run(prompt)
        assert entry["status"]["status_str"] == "success", error_of(entry)


def test_a_name_that_leaves_the_model_folders_is_refused(server, prompt):
    node(prompt, "RethinkLoadEditor")["editor"] = "../../secrets"
    _, answer = server.post("/prompt", {"prompt": prompt})
    assert [error["class_type"] for error in answer["node_errors"].values()][:1] == ["RethinkLoadEditor"]


@pytest.mark.parametrize(("name", "value"), [("steps", -3), ("variations", 0), ("sampler", "magic")])
def test_a_wrong_value_is_a_node_error(server, prompt, name, value):
    node(prompt, "RethinkSampleEdit")[name] = value
    _, answer = server.post("/prompt", {"prompt": prompt})  # the graph's other outputs may still run
    (found,) = answer["node_errors"].values()
    assert found["class_type"] == "RethinkSampleEdit" and found["errors"][0]["extra_info"]["input_name"] == name


def test_an_empty_instruction_is_one_sentence_and_the_next_run_works(server, prompt):
    wrong = copy.deepcopy(prompt)
    node(wrong, "RethinkSampleEdit")["instruction"] = "  "
    message = error_of(server.run(wrong))
    assert "instruction" in message and "Traceback" not in message
    assert server.run(prompt)["status"]["status_str"] == "success"


def test_interrupt_ends_a_long_run_and_the_next_one_works(server, prompt):
    long = copy.deepcopy(prompt)
    node(long, "RethinkSampleEdit").update(steps=900, variations=8)
    _, answer = server.post("/prompt", {"prompt": long})
    while not server.json("/queue")["queue_running"]:
        time.sleep(0.05)

    time.sleep(1.5)
    entry = server.interrupt(answer["prompt_id"])
    assert any(name == "execution_interrupted" for name, _ in entry["status"]["messages"])
    assert server.run(prompt)["status"]["status_str"] == "success"


def test_memory_that_was_freed_comes_back(server, prompt):
    server.run(prompt)
    server.post("/free", {"unload_models": True, "free_memory": True})
    assert server.run(prompt)["status"]["status_str"] == "success"


def test_an_editor_and_its_loras_take_turns(server, prompt):
    """In one prompt, and again when everything was thrown out: each edits as it did."""
    loader = next(key for key, entry in prompt.items() if entry["class_type"] == "RethinkLoadEditor")
    sampler = next(key for key, entry in prompt.items() if entry["class_type"] == "RethinkSampleEdit")

    def lora(base: list, strength: float) -> dict:
        return {"class_type": "RethinkEditLoraLoader", "inputs": {"editor": base, "lora": LORA, "strength": strength}}

    graph = copy.deepcopy(prompt) | {"first": lora([loader, 0], 1.0), "second": lora(["first", 0], 0.5)}
    for name, editor in {"one": "first", "alone": loader, "both": "second"}.items():
        graph[name] = copy.deepcopy(prompt[sampler])
        graph[name]["inputs"]["editor"] = [editor, 0]
        graph[f"saved {name}"] = {"class_type": "PreviewImage", "inputs": {"images": [name, 0]}}
    graph["report"] = {"class_type": "PreviewAny", "inputs": {"source": ["second", 1]}}

    def run() -> dict[str, bytes]:  # the pixels: a file also says which nodes had to run
        entry = server.run(graph)
        assert entry["status"]["status_str"] == "success", error_of(entry)
        (text,) = entry["outputs"]["report"]["text"]
        assert "layers fit" in text
        files = {name: server.view(entry["outputs"][f"saved {name}"]["images"][0]) for name in ("alone", "one", "both")}
        return {name: Image.open(io.BytesIO(data)).tobytes() for name, data in files.items()}

    pixels = run()
    assert len(set(pixels.values())) == 3
    server.post("/free", {"unload_models": True, "free_memory": True})
    assert run() == pixels


def test_the_lora_workflow_runs_with_a_miniature_in_place_of_its_model(server):
    Image.new("RGB", (96, 64), "teal").save(server.log.parent / "input" / "example.png")
    graph = json.loads((PACK_ROOT / "workflows" / "api" / "lora_stack.json").read_text(encoding="utf-8"))
    small = {
        "RethinkLoadEditor": {"editor": "miniature"},
        "RethinkEditLoraLoader": {"lora": LORA},
        "RethinkSampleEdit": {"steps": 2},
    }
    for entry in graph.values():
        entry["inputs"] |= small.get(entry["class_type"], {})
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", error_of(entry)
    assert {picture.size for picture in pictures(server, entry)} == {(96, 64)}


@pytest.mark.skipif(not EDITOR_FOLDER.exists(), reason="the built-in editor is not trained yet")
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_shipped_workflow_runs(server, path):
    prompt = json.loads(path.read_text(encoding="utf-8"))
    if any(node["class_type"] == "RethinkLoadThinker" for node in prompt.values()) and not THINKER_FOLDER.exists():
        pytest.skip("the built-in thinker is not trained yet")
    entry = server.run(prompt)
    assert entry["status"]["status_str"] == "success", error_of(entry)
    assert pictures(server, entry) or any(shown.get("rethink_text") for shown in entry["outputs"].values())


def test_a_lora_is_trained_and_at_work_in_one_graph(server):
    """The shipped graph with two steps in place of sixty; ComfyUI lists the file at once, for its own loader too."""
    graph = json.loads((PACK_ROOT / "workflows" / "api" / "learn_black_squares.json").read_text(encoding="utf-8"))
    few = {"name": "taught/two-steps", "steps": 2, "save_every": 2, "batch": 2, "replay": 2, "previews": 1}
    node(graph, "RethinkTrainEditLora").update(few)
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", error_of(entry)
    assert {image.size for image in pictures(server, entry)} == {(128, 128)}
    said = "".join(text for output in entry["outputs"].values() for text in output.get("rethink_text", []))
    assert "layers fit" in said and "step 2 of 2" in said
    loaders = server.json("/object_info/LoraLoaderModelOnly")["LoraLoaderModelOnly"]["input"]["required"]
    assert any("two-steps.safetensors" in name for name in json.dumps(loaders["lora_name"]).split('"'))


def write_tasks(folder, count):
    """Scenes of the built-in world of several sizes, each with its instruction beside it."""
    folder.mkdir()
    for number in range(count):
        task = sample_task(300 + number, "plain")
        save_image(render([task.source])[:, : 128 - 16 * number], folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(task.instruction, encoding="utf-8")


@pytest.mark.skipif(not THINKER_FOLDER.exists(), reason="the built-in thinker is not trained yet")
def test_an_editor_learns_from_its_runs_and_thinks_over_the_same_folder_again(server):
    """The shipped graph with the images of a folder in place of scenes, in two steps: think, pairs, LoRA, think, compare."""
    graph = json.loads((PACK_ROOT / "workflows" / "api" / "learn_from_runs.json").read_text(encoding="utf-8"))
    write_tasks(server.log.parent / "input" / "my pictures", 2)
    scene = next(entry for entry in graph.values() if entry["class_type"] == "RethinkScene")
    scene.update(class_type="RethinkLoadInstructedImages", inputs={"folder": "input/my pictures"})
    for entry in graph.values():
        if entry["class_type"] == "RethinkThinkWhileEdit":
            entry["inputs"].update(turns=1)
    node(graph, "RethinkTrajectoriesToPairs").update(name="two-runs", score=0.5, preservation=0.0, duplicates=-1)
    few = {"name": "taught/two-runs", "steps": 2, "save_every": 2, "batch": 2, "replay": 2, "previews": 0}
    node(graph, "RethinkTrainEditLora").update(few)
    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", error_of(entry)
    said = {
        graph[id]["class_type"]: shown["rethink_text"][0]
        for id, shown in entry["outputs"].items()
        if "rethink_text" in shown
    }
    assert "2 pairs from 2 runs, 2 made now" in said["RethinkTrajectoriesToPairs"]
    assert "step 2 of 2" in said["RethinkTrainEditLora"]
    assert said["RethinkCompareRuns"].startswith("2 tasks, before → after\nturns: 1.00 → 1.00\nsuccess: ")
    assert len(pictures(server, entry)) >= 1
    output = server.log.parent / "output" / "rethink"
    editors = {
        side: {
            json.loads(file.read_text(encoding="utf-8"))["options"]["editor"]
            for file in output.glob(f"{side}_*/trajectory.json")
        }
        for side in ("before", "after")
    }
    assert editors == {"before": {"built-in"}, "after": {"built-in + two-runs × 1"}}


def test_unchanged_pixels_are_the_sources(server):
    """A square is pasted onto the source by ComfyUI's own nodes."""
    graph = {
        "1": {"class_type": "RethinkScene", "inputs": {"seed": 3, "level": "plain"}},
        "2": {"class_type": "EmptyImage", "inputs": {"width": 24, "height": 24, "batch_size": 1, "color": 0xFF00FF}},
        "3": {
            "class_type": "ImageCompositeMasked",
            "inputs": {"destination": ["1", 0], "source": ["2", 0], "x": 50, "y": 40, "resize_source": False},
        },
        "4": {"class_type": "RethinkKeepUnchangedPixels", "inputs": {"source": ["1", 0], "edited": ["3", 0]}},
        "5": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "6": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}},
        "7": {"class_type": "MaskPreview", "inputs": {"mask": ["4", 1]}},
        "8": {"class_type": "PreviewAny", "inputs": {"source": ["4", 6]}},
        "9": {
            "class_type": "ImageCompare",
            "inputs": {"image_a": ["1", 0], "image_b": ["4", 0], "compare_view": {}},
        },
    }

    entry = server.run(graph)
    assert entry["status"]["status_str"] == "success", error_of(entry)
    source, kept, mask = (
        Image.open(io.BytesIO(server.view(entry["outputs"][node]["images"][0]))).convert("RGB") for node in "567"
    )
    assert kept.size == mask.size == (128, 128)
    for x, y in ((62, 52), (10, 10), (120, 120), (30, 100)):
        inside = 50 <= x < 74 and 40 <= y < 64
        assert kept.getpixel((x, y)) == ((255, 0, 255) if inside else source.getpixel((x, y)))
        assert mask.getpixel((x, y)) == ((255, 255, 255) if inside else (0, 0, 0))
    assert "% changed" in entry["outputs"]["8"]["text"][0]
    assert entry["outputs"]["9"]["a_images"] and entry["outputs"]["9"]["b_images"]


def test_a_program_need_not_send_what_has_a_default_and_is_told_names_as_it_sends_them(server):
    prompt = {
        "1": {"class_type": "RethinkScene", "inputs": {"seed": 3, "level": "plain"}},
        "2": {
            "class_type": "RethinkInverseEditSynthesizer",
            "inputs": {
                "operation": "cover",
                "pictures": "connected pictures",
                "image": ["1", 0],
                "dataset": "few-words",
                "pairs": 1,
                "seed": 0,
            },
        },
        "3": {"class_type": "RethinkPreviewPairs", "inputs": {"pairs": ["2", 0], "count": 1}},
    }
    assert server.run(prompt)["status"]["status_str"] == "success"
    reversed_range = {"operation.lowest_strength": 0.12, "operation.highest_strength": 0.1}
    prompt["2"]["inputs"] |= {"operation": "blur", **reversed_range}
    error = failure_of(server.run(prompt))
    assert error["exception_message"].startswith("operation.lowest_strength: is 0.12, above highest_strength")
    assert error["exception_type"] == "RethinkError"


def test_a_missing_model_is_named_with_the_folder_that_it_belongs_into(server):
    prompt = {
        "1": {
            "class_type": "RethinkLoadEditor",
            "inputs": {"editor": "gone.safetensors", "dtype": "auto", "offload": "none"},
        },
        "2": {"class_type": "RethinkScene", "inputs": {"seed": 3, "level": "plain"}},
        "3": {
            "class_type": "RethinkEditChain",
            "inputs": {"editor": ["1", 0], "image": ["2", 0], "instructions": "x", "seed": 0},
        },
    }
    code, answer = server.post("/prompt", {"prompt": prompt})
    (error,) = answer["node_errors"]["1"]["errors"]
    assert code == 400 and error["type"] == "custom_validation_failed"
    assert error["details"].startswith("editor - there is no “gone.safetensors” in ComfyUI's model folders; put ")
    think = {"1": {"class_type": "RethinkLoadThinker", "inputs": {"backend": "local folder", "backend.folder": "gone"}}}
    think |= {
        "2": prompt["2"],
        "3": {
            "class_type": "RethinkCritiqueEdit",
            "inputs": {"thinker": ["1", 0], "source": ["2", 0], "edited": ["2", 0], "instruction": "x", "seed": 0},
        },
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 2]}},
    }
    assert failure_of(server.run(think))["exception_message"].startswith("backend.folder: there is no “gone”")


def failure_of(entry: dict) -> dict:
    return next(data for name, data in entry["status"]["messages"] if name == "execution_error")
