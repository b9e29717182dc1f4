"""Load Editor From Server: an editor elsewhere, in the same nodes, and asked for as thinkers are."""

from types import SimpleNamespace

import pytest
import server as host_server
import torch

from tests.support.edit_servers import edit, edit_server, refusal
from tests.support.thinking import said

STEPS = "num_inference_steps"
FAR = "http://192.0.2.1:8000"  # nobody's


@pytest.fixture
def server():
    with edit_server() as running:
        yield running


def test_an_editor_of_a_server_edits_in_the_nodes_that_edit(classes, server):
    (editor,) = classes["RethinkLoadEditorFromServer"].execute(server.url, "painter", retries=0).result
    image = torch.rand(2, 64, 96, 3)
    options = {"editor": [editor], "image": [image], "instruction": ["invert it"], "seed": [3], "variations": [2]}
    (edited,) = classes["RethinkSampleEdit"].execute(**options).result
    assert [each.shape for each in edited] == [(4, 64, 96, 3)] and len(server.requests) == 4
    last, steps = classes["RethinkEditChain"].execute(editor, image[:1], "invert it\nback again", 3).result
    assert last.shape == (1, 64, 96, 3) and len(steps) == 3


@pytest.mark.parametrize("node", ["RethinkSampleEdit", "RethinkEditChain", "RethinkThinkWhileEdit"])
def test_images_and_nodes_say_what_was_sent(classes, server, node, make_thinker, results):
    server.replies = [lambda r: refusal(400, "Unknown parameter", param=n) if (n := STEPS) in r.fields else edit(r)]
    (editor,) = classes["RethinkLoadEditorFromServer"].execute(server.url, "painter", retries=0).result
    prompt = SimpleNamespace(get_display_node_id=lambda node_id: node_id)
    hidden = SimpleNamespace(unique_id="5", prompt={"5": {}}, extra_pnginfo={}, dynprompt=prompt)
    cls, image = type(node, (classes[node],), {"hidden": hidden}), torch.rand(1, 64, 96, 3)
    if node == "RethinkSampleEdit":
        cls.execute([editor], [image], ["snow"], [3], steps=[8], text_guidance=[2.0])
    elif node == "RethinkEditChain":
        cls.execute(editor, image, "snow", 3, steps=8, text_guidance=2.0)
    else:
        cls.execute(editor, make_thinker(said(9, 9)), image, "snow", 3, steps=8, text_guidance=2.0)
    note = hidden.extra_pnginfo["rethink"]["5"]
    assert note["editor"] == f"painter @ {server.origin}" and note["text_guidance"] == 2 and "steps" not in note


def test_a_lora_and_a_training_say_why_not(classes, server, models, part, RethinkError):
    (models.loras / "snow.safetensors").write_bytes(b"")
    (editor,) = classes["RethinkLoadEditorFromServer"].execute(server.url, "painter").result
    with pytest.raises(RethinkError, match="^lora: .* load the LoRA there"):
        classes["RethinkEditLoraLoader"].execute(editor, "snow.safetensors", 1.0)


def test_a_server_elsewhere_needs_its_owners_leave(classes, owner, RethinkError, monkeypatch):
    monkeypatch.setattr(host_server, "workflow", {})  # a program, which cannot be asked
    with pytest.raises(RethinkError, match=f"^base_url: {FAR} is not this machine"):
        classes["RethinkLoadEditorFromServer"].execute(f"{FAR}/v1", "painter")


def test_what_is_wrong_is_said_by_the_inputs_name(classes, server, RethinkError):
    with pytest.raises(RethinkError, match="^model: is empty"):
        classes["RethinkLoadEditorFromServer"].execute(server.url, "")
    with pytest.raises(RethinkError, match="^key_variable: no environment variable"):
        classes["RethinkLoadEditorFromServer"].execute(server.url, "painter", "RETHINK_UNSET")


def test_it_is_opened_again_as_long_as_nobody_has_allowed_the_server(classes, server, owner):
    stamp = classes["RethinkLoadEditorFromServer"].fingerprint_inputs
    assert stamp(base_url=server.url, model="painter") == stamp(base_url=server.url, model="painter")
    far = stamp(base_url=FAR, model="painter")
    assert far != far
