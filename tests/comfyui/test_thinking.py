"""Thinking in a real ComfyUI, by a server on loopback: runs, loops around a graph, faults, resume, the planted key."""

import json
import threading
import time
import uuid

import pytest

from tests.comfyui.far_thinker import FAR, far_graph
from tests.comfyui.native_graphs import error_of
from tests.support.comfyui_server import KEY, read_run
from tests.support.servers import completion, openai_server
from tests.support.thinking import said


@pytest.fixture
def critic(server):
    """A server that its owner has paired with the key of the tests."""
    settings = server.log.parent / "user" / "__rethink" / "servers.json"
    with openai_server() as running:
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(json.dumps({"keys": {"RETHINK_TEST_KEY": [running.url.removesuffix("/v1")]}}))
        yield running
        settings.unlink()


def scores(*pairs):
    """Replies with these scores, each with a prompt of its own; the last one for ever."""
    return [(200, completion(said(*pair, f"make it number {number}")), {}) for number, pair in enumerate(pairs, 1)]


def graph(critic, loop, prefix=None, **rules):
    """Built-in Scene edited by the miniature, thinking with the server."""
    backend = {"base_url": critic.url, "model": "m", "key_variable": "RETHINK_TEST_KEY", "timeout": 120, "retries": 0}
    thinker = {
        "backend": "server",
        **{f"backend.{name}": value for name, value in backend.items()},
        "backend.concurrency": 2,
    }
    prefix = prefix or f"rethink/{uuid.uuid4().hex}"
    think = {"thinker": ["3", 0], "image": ["2", 0], "instruction": ["2", 1], "seed": 3, "prefix": prefix, **rules}
    prompt = {
        "1": ("RethinkLoadEditor", {"editor": "miniature", "dtype": "auto", "offload": "none"}),
        "2": ("RethinkScene", {"seed": 10, "level": "plain"}),
        "3": ("RethinkLoadThinker", thinker),
    }
    if loop:
        edit = {"editor": ["1", 0], "image": ["4", 1], "instruction": ["4", 2], "seed": ["4", 3], "steps": 2}
        prompt["4"] = ("RethinkThinkLoopOpen", think)
        prompt["5"] = ("RethinkSampleEdit", edit)
        prompt["6"] = ("RethinkThinkLoopClose", {"loop": ["4", 0], "edited": ["5", 0]})
    else:
        prompt["6"] = ("RethinkThinkWhileEdit", {"editor": ["1", 0], "steps": 2, **think})
    prompt["7"] = ("RethinkTrajectoryViewer", {"trajectory": ["6", 3]})
    prompt["8"] = ("SaveImage", {"images": ["6", 0], "filename_prefix": "thought"})
    prompt["9"] = ("SaveImage", {"images": ["6", 1], "filename_prefix": "thoughts"})
    return {node: {"class_type": kind, "inputs": inputs} for node, (kind, inputs) in prompt.items()}


def record_of(server, entry):
    (run,) = entry["outputs"]["7"]["rethink_run"]
    return read_run(server, run)


BOTH = pytest.mark.parametrize("loop", [False, True], ids=["node", "loop"])


@BOTH
def test_a_run_stops_early_and_the_best_comes_out(server, critic, loop):
    critic.replies = scores((2, 5), (6, 6), (9, 9), (1, 1))
    entry = server.run(graph(critic, loop, turns=9))
    assert entry["status"]["status_str"] == "success", entry["status"]
    record = record_of(server, entry)
    assert [step["prompt"] for step in record["steps"]][1:] == ["make it number 1", "make it number 2"]
    assert record["stopped"] == "accepted" and record["best"] == 2
    assert len(entry["outputs"]["8"]["images"]) == 1 and len(entry["outputs"]["9"]["images"]) == 3
    best, *_ = entry["outputs"]["8"]["images"]
    last = entry["outputs"]["9"]["images"][2]
    assert pixels(server, best) == pixels(server, last)


def pixels(server, image):
    import io

    from PIL import Image

    return Image.open(io.BytesIO(server.view(image))).tobytes()


@BOTH
def test_a_server_that_goes_leaves_the_best_and_the_same_prompt_goes_on_later(server, critic, loop):
    prompt = graph(critic, loop, turns=4)
    critic.replies = [*scores((5, 5)), (500, "gone", {})]
    record = record_of(server, server.run(prompt))
    assert record["stopped"] == "failed" and "error 500" in record["message"] and record["best"] == 0
    critic.requests.clear()
    critic.replies = scores((9, 9))
    record = record_of(server, server.run(prompt))  # not from ComfyUI's cache
    assert record["stopped"] == "accepted" and len(record["steps"]) == 2 and len(critic.requests) == 1


@BOTH
def test_a_cancelled_run_goes_on_at_its_next_turn(server, critic, loop):
    def slow(body):
        time.sleep(0.2 if len(critic.requests) < 3 else 120)
        return scores((3, 3))[0]

    prompt = graph(critic, loop, turns=4)
    critic.replies = [slow]
    _, answer = server.post("/prompt", {"prompt": prompt})
    end = time.monotonic() + 180
    while len(critic.requests) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    server.post("/interrupt", {})
    entry = server.wait(answer["prompt_id"])
    assert any(name == "execution_interrupted" for name, _ in entry["status"]["messages"])
    critic.requests.clear()
    critic.replies = scores((3, 3))
    record = record_of(server, server.run(prompt))
    assert len(record["steps"]) == 4 and len(critic.requests) == 2 and record["stopped"] == "turns"


def test_the_key_is_nowhere(server, critic):
    told = threading.Event()

    def echoes(body):
        told.set()
        return 401, json.dumps({"error": {"message": f"bad key {KEY}"}}), {}

    critic.replies = [*scores((5, 5)), echoes]
    entry = server.run(graph(critic, False, turns=4))
    assert told.is_set() and critic.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert record_of(server, entry)["stopped"] == "failed"
    base = server.log.parent
    files = [file for file in base.rglob("*") if file.is_file() and "custom_nodes" not in file.parts]
    assert len(files) > 10 and not [file for file in files if KEY.encode() in file.read_bytes()]
    assert KEY not in json.dumps([entry, server.json("/history"), server.json("/object_info/RethinkLoadThinker")])


def test_pictures_go_to_no_server_that_the_owner_has_not_allowed(server):
    settings = server.log.parent / "user" / "__rethink" / "servers.json"
    assert f'add {{"hosts": ["{FAR}"]}} to {settings}' in error_of(server.run(far_graph()))

    def on_the_canvas(answer):
        workflow = {"extra_pnginfo": {"workflow": {"id": "of a stranger"}}}
        _, posted = server.post("/prompt", {"prompt": far_graph(), "extra_data": workflow})
        end = time.monotonic() + 180
        while not (questions := server.json("/rethink/hosts")) and time.monotonic() < end:
            time.sleep(0.1)
        (question,) = questions
        assert question["host"] == FAR
        assert server.post("/rethink/hosts", {"id": "guessed", "answer": "always"})[0] == 400
        assert server.post("/rethink/hosts", {"id": question["id"], "answer": answer})[0] == 200
        return error_of(server.wait(posted["prompt_id"]))

    assert "is not this machine" in on_the_canvas("no") and not settings.exists()
    assert f"thinker: m at {FAR}/v1: " in on_the_canvas("once") and not settings.exists()
    on_the_canvas("always")
    assert json.loads(settings.read_text()) == {"hosts": [FAR]}
    assert "is not this machine" not in error_of(server.run(far_graph())), "a program too, from now on"
    settings.unlink()
