"""The pack in a real ComfyUI, headless: prompts posted, pictures fetched, mistakes answered in one sentence."""

import copy
import io
import json
import time

import pytest
from PIL import Image

from rethink.tiny import EDITOR_FOLDER, THINKER_FOLDER
from tests.hosts import PACK_ROOT

# Those that need no file; the others run with miniatures in tests/nodes/test_workflows.py and test_native.py.
WORKFLOWS = [
    path
    for path in sorted((PACK_ROOT / "workflows" / "api").glob("*.json"))
    if '"built-in"' in path.read_text(encoding="utf-8")
]


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


def error_of(entry: dict) -> str:
    return next(data["exception_message"] for name, data in entry["status"]["messages"] if name == "execution_error")


def test_the_pack_loads_and_describes_itself(server):
    nodes = {name: info for name, info in server.json("/object_info").items() if name.startswith("Rethink")}
    assert {"RethinkLoadEditor", "RethinkSampleEdit", "RethinkEditChain", "RethinkScene"} <= set(nodes)
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
    server.post("/interrupt", {})
    entry = server.wait(answer["prompt_id"], 20)
    assert any(name == "execution_interrupted" for name, _ in entry["status"]["messages"])
    assert server.run(prompt)["status"]["status_str"] == "success"


def test_memory_that_was_freed_comes_back(server, prompt):
    server.run(prompt)
    server.post("/free", {"unload_models": True, "free_memory": True})
    assert server.run(prompt)["status"]["status_str"] == "success"


@pytest.mark.skipif(not EDITOR_FOLDER.exists(), reason="the built-in editor is not trained yet")
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_shipped_workflow_runs(server, path):
    prompt = json.loads(path.read_text(encoding="utf-8"))
    if any(node["class_type"] == "RethinkLoadThinker" for node in prompt.values()) and not THINKER_FOLDER.exists():
        pytest.skip("the built-in thinker is not trained yet")
    entry = server.run(prompt)
    assert entry["status"]["status_str"] == "success", error_of(entry)
    assert pictures(server, entry)
