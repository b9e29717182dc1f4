"""Pairs in a real ComfyUI: made, filtered, drawn from captions."""

import urllib.error
import urllib.parse

import pytest

from tests.comfyui.native_graphs import error_of, run
from tests.support.hosts import read_workflow
from tests.support.miniatures import QUICK


def test_pairs_are_made_previewed_and_cached(server):
    first = run(server, read_workflow("inverse_edit_pairs"))
    assert first["3"]["rethink_pairs"][0]["count"] == 12 and first["4"]["images"]
    entry = server.run(read_workflow("inverse_edit_pairs"))
    cached = next(data["nodes"] for name, data in entry["status"]["messages"] if name == "execution_cached")
    assert {"1", "2", "3"} <= set(cached)


def test_every_choice_of_an_operation_is_understood(server):
    described = server.json("/object_info/RethinkInverseEditSynthesizer")["RethinkInverseEditSynthesizer"]["input"]
    options = described["required"]["operation"][1]["options"]
    assert len(options) >= 18
    prompt = read_workflow("inverse_edit_pairs")
    for option in options:
        needs_place = option["key"] in ("remove_object", "text_erase", "flat_background", "editor")
        if needs_place:
            continue
        prompt["2"]["inputs"] |= {"operation": option["key"], "pairs": 1, "dataset": "operations"}
        inner = {name: spec[1]["default"] for name, spec in option["inputs"]["required"].items()}
        chosen = {**prompt["2"]["inputs"], **{f"operation.{name}": value for name, value in inner.items()}}
        run(server, {**prompt, "2": {**prompt["2"], "inputs": chosen}})


def test_an_editor_does_the_inverse_edit(server):
    prompt = read_workflow("inverse_edit_pairs")
    names = server.json("/object_info/RethinkLoadEditor")["RethinkLoadEditor"]["input"]["required"]["editor"][1][
        "options"
    ]
    loader = {"editor": next(name for name in names if "miniature" in name), "dtype": "auto", "offload": "none"}
    prompt["9"] = {"class_type": "RethinkLoadEditor", "inputs": loader}
    prompt["2"]["inputs"] |= {
        "operation": "editor",
        "operation.editor": ["9", 0],
        "operation.inverse": "remove the star",
        "pairs": 1,
        "dataset": "by-an-editor",
    }
    assert run(server, prompt)["3"]["rethink_pairs"][0]["count"] == 1


def test_prompt_to_prompt_draws_pairs(server):
    prompt = read_workflow("prompt_to_prompt_pairs")
    prompt["2"]["inputs"] |= QUICK | {"caption_fit": -1.0}
    assert run(server, prompt)["3"]["rethink_pairs"][0]["count"] == 2


def test_a_mistake_is_one_sentence_and_the_next_run_works(server):
    wrong = read_workflow("inverse_edit_pairs")
    wrong["2"]["inputs"]["dataset"] = "../../x"
    message = error_of(server.run(wrong))
    assert message.startswith("dataset: “../../x” is not a valid name") and "Traceback" not in message
    run(server, read_workflow("inverse_edit_pairs"))


def test_the_routes_answer_for_published_pairs_alone(server, filtered):
    key, shown = filtered
    listed = server.json(f"/rethink/pairs/{key}?count=3")
    assert listed["counts"]["all"] == 40 and len(listed["pairs"]) == 3 and shown["count"] < 40
    pair = listed["pairs"][0]
    picture = server.get(f"/rethink/pairs/{key}/picture?" + urllib.parse.urlencode({"path": pair["input"], "side": 64}))
    assert picture[:4] == b"RIFF"
    for path in (
        f"/rethink/pairs/{key}/picture?path=../manifest.jsonl&side=64",
        "/rethink/pairs/unknown",
        f"/rethink/pairs/{key}?x=1",
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            server.get(path)
        assert refused.value.code == 400
    assert server.post(f"/rethink/pairs/{key}/verdict", {"id": pair["id"], "accepted": True})[1]["by"] == "person"
    assert server.post(f"/rethink/pairs/{key}/verdict", {"id": pair["id"], "accepted": None})[1]["by"] != "person"
    assert server.post(f"/rethink/pairs/{key}/tried", {"changed": 1.0})[1]["rejected"] > 0
