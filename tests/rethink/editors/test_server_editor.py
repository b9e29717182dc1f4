"""An editor behind a server: what it is sent, what comes back, and what becomes of servers that fail."""

import io
import json
import threading
import time
from dataclasses import replace

import pytest
import torch
from PIL import Image

from rethink.editors.protocol import used_settings_by_row
from rethink.editors.server_editor import ServerEditor
from rethink.editors.settings import Settings, summarize_settings, used_settings
from rethink.errors import EditorUnavailable, RethinkError
from rethink.servers.trust import Trust
from tests.support.edit_servers import answer, edit, edit_server, is_inverted, png, refusal, run, source
from tests.support.waiting import SOON, wait_until

KEY = "sk-Zq7vKx93TmWp2Ld8"


@pytest.fixture
def server():
    with edit_server() as running:
        yield running


@pytest.fixture
def editor(server):
    return ServerEditor(server.url, "painter", retries=0)


def test_a_row_is_one_request_with_its_image_at_a_megapixel_and_comes_back_at_the_sources_size(server, editor):
    edited = run(editor, seeds=[2**33 + 7], settings=Settings(steps=8, text_guidance=4, negative_prompt="blur"))
    (request,) = server.requests
    assert request.path == "/v1/images/edits" and request.names == {"image"} and "authorization" not in request.headers
    assert request.fields == {
        "model": "painter",
        "prompt": "make it night",
        "n": "1",
        "size": "1280x864",
        "response_format": "b64_json",
        "output_format": "png",
        "seed": "7",
        "num_inference_steps": "8",
        "guidance_scale": "4",
        "true_cfg_scale": "4",
        "negative_prompt": "blur",
    }
    assert Image.open(io.BytesIO(request.images[0])).size == (1280, 864)
    assert edited.shape == (1, 96, 144, 3) and is_inverted(edited, source())
    assert (edited[..., 2] * 255).round().unique().tolist() == [7]


def test_what_is_left_open_is_not_sent(server, editor):
    run(editor)
    assert set(server.requests[0].fields) == {
        "model",
        "prompt",
        "n",
        "size",
        "response_format",
        "output_format",
        "seed",
    }
    assert used_settings(editor, Settings()) == {"sampler": "default"}
    assert summarize_settings(used_settings(editor, Settings())) == "the server's own number of steps"


def test_rows_are_requests_a_few_at_once_each_with_its_own_seed_and_image(server):
    def slow(request):
        wait_until(lambda: server.most_at_once == 3)
        return edit(request)

    server.replies = [slow]
    editor, images = ServerEditor(server.url, "painter", concurrency=3), source(batch=2)
    edited = run(editor, images, ["a", "b", "c", "d"], [1, 2, 3, 4])
    assert (edited[:, 0, 0, 2] * 255).round().tolist() == [1, 2, 3, 4] and server.most_at_once == 3
    assert is_inverted(edited[:2], images[:1]) and is_inverted(edited[2:], images[1:])
    assert {request.fields["prompt"]: request.fields["seed"] for request in server.requests}["c"] == "3"
    assert len({request.images[0] for request in server.requests}) == 2, "made a PNG once each"


def test_a_field_that_is_refused_is_left_out_from_then_on_and_the_record_says_so(server, editor):
    def strict(request):
        for name in ("response_format", "seed", "num_inference_steps", "guidance_scale", "true_cfg_scale"):
            if name in request.fields:
                return refusal(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        return edit(request)

    server.replies = [strict]
    settings = Settings(steps=8, text_guidance=3, negative_prompt="blur")
    run(editor, settings=settings)
    assert len(server.requests) == 6 and "seed" not in server.requests[-1].fields
    run(editor, prompts=["again"], settings=settings)
    assert len(server.requests) == 7
    (used,) = used_settings_by_row(editor, editor.prepare(source()), [1], settings)
    assert used == used_settings(editor, settings) == {"sampler": "default", "negative": "blur"}
    assert used_settings(editor, replace(settings, randomize_guidance=True)) == used


class SlowSet(frozenset):
    """Takes its time to become another one, as the system may let other threads go on in between."""

    def __or__(self, other):
        time.sleep(0.05)
        return SlowSet(super().__or__(other))


def test_what_rows_learn_at_the_same_time_is_all_remembered(editor):
    editor._refused, editor._unsized = SlowSet(), SlowSet()
    lessons = [("seed", (64, 64)), ("num_inference_steps", (64, 64)), ("size", (64, 96)), ("size", (96, 64))]
    threads = [
        threading.Thread(target=editor._learn, args=(field, "it is not supported", size)) for field, size in lessons
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert editor._refused == {"seed", "num_inference_steps"} and editor._unsized == {(64, 96), (96, 64)}


def test_a_value_that_is_refused_is_told_and_its_field_is_sent_again(server, editor):
    def limited(request):
        steps = int(request.fields["num_inference_steps"])
        return edit(request) if steps <= 50 else refusal(400, f"num_inference_steps {steps} is not supported")

    server.replies = [limited]
    with pytest.raises(RethinkError, match="error 400: num_inference_steps 60 is not supported"):
        run(editor, settings=Settings(steps=60))
    run(editor, settings=Settings(steps=20))
    assert server.requests[-1].fields["num_inference_steps"] == "20"


def test_an_image_at_an_address_of_the_server_itself_is_fetched_with_the_key_and_no_other(server, monkeypatch):
    monkeypatch.setenv("RETHINK_TEST_KEY", KEY)
    editor = ServerEditor(
        server.url, "painter", "RETHINK_TEST_KEY", retries=0, trust=trusting(server, "RETHINK_TEST_KEY")
    )
    server.files["/files/1.png?x=1"] = png((torch.ones(64, 96, 3) * 255).to(torch.uint8).numpy())
    for url in ("/files/1.png?x=1", f"{server.origin}/files/1.png?x=1"):
        server.replies = [(200, json.dumps({"data": [{"url": url}]}), {})]
        assert run(editor).min() > 0.999 and server.gets[-1].headers["authorization"] == f"Bearer {KEY}"
    with edit_server() as other:
        server.replies = [(200, json.dumps({"data": [{"url": f"{other.origin}/files/1.png?token=secret"}]}), {})]
        with pytest.raises(
            RethinkError, match="is on another server, which is not followed; configure it to answer with b64_json"
        ) as told:
            run(editor)
        assert not other.gets and "secret" not in str(told.value)
    server.replies = [(200, json.dumps({"data": [{"url": "/gone.png"}]}), {})]
    with pytest.raises(RethinkError, match=r"cannot be fetched from there \(error 404\)"):
        run(editor)


def test_an_edit_that_cannot_be_fetched_at_once_is_not_made_again(server, pauses):
    def drop():
        raise ConnectionError

    image = png((torch.ones(64, 96, 3) * 255).to(torch.uint8).numpy())
    replies = [lambda: (503, b"", {}), drop, lambda: (200, image, {})]
    server.files["/1.png"] = lambda: replies[len(server.gets) - 1]()
    server.replies = [(200, json.dumps({"data": [{"url": "/1.png"}]}), {})]
    assert run(ServerEditor(server.url, "painter")).min() > 0.999
    assert (len(server.requests), len(server.gets), len(pauses)) == (1, 3, 2)
    del server.gets[:], replies[1:]
    server.files["/1.png"] = replies[0]
    with pytest.raises(EditorUnavailable, match=r"cannot be fetched from there \(error 503\) \(after 5 tries\)"):
        run(ServerEditor(server.url, "painter"))
    assert (len(server.requests), len(server.gets)) == (2, 5)


def test_an_answer_without_an_image_is_not_asked_for_again(server, pauses):
    server.replies = [(200, json.dumps({"id": "job-1", "status": "queued"}), {})]
    with pytest.raises(RethinkError, match="the answer contains no image: .*queued") as told:
        run(ServerEditor(server.url, "painter"))
    assert len(server.requests) == 1 and not isinstance(told.value, EditorUnavailable)


def trusting(server, variable):
    from rethink.servers.address import parse_address

    return Trust(file=None).with_pair(variable, parse_address(server.url)[0])


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((200, "<html>hello</html>", {}), "the answer contains no image"),
        ((200, json.dumps({"data": []}), {}), "the answer contains no image"),
        (
            (200, json.dumps({"data": [{"b64_json": None, "url": None}]}), {}),
            "the answer contains no image, neither b64_json nor url",
        ),
        (answer(b"<!DOCTYPE html>"), "the edited image cannot be read as an image: it is a web page"),
        (answer(png((torch.rand(64, 64, 3) * 255).to(torch.uint8).numpy())[:3000]), "the edited image cannot be read"),
        ((200, json.dumps({"data": [{"b64_json": "!"}]}), {}), "the edited image"),
        ((200, json.dumps({"error": {"message": "the safety system"}}), {}), "error: the safety system"),
        (refusal(400, "Your request was rejected by the safety system."), "error 400: Your request was rejected"),
        (refusal(401, "no key"), r"needs a key \(401: no key\)"),
    ],
)
def test_what_is_no_edit_is_an_error_in_the_servers_own_words(server, editor, reply, why):
    server.replies = [reply]
    with pytest.raises(RethinkError, match=f"editor: painter at {server.url}: {why}"):
        run(editor)


def test_an_answer_without_end_is_not_read_to_it(server, editor, monkeypatch):
    monkeypatch.setattr("rethink.editors.server_editor.LONGEST_ANSWER", 2**20)
    server.replies = [(200, b" " * (2**20 + 1), {})]
    with pytest.raises(RethinkError, match="the answer is longer than 1 MB"):
        run(ServerEditor(server.url, "painter", retries=0))


def test_a_busy_server_is_waited_for_as_long_as_it_asks(server, pauses):
    server.replies = [(429, "{}", {"Retry-After": "7"}), refusal(503, "loading"), edit]
    assert is_inverted(run(ServerEditor(server.url, "painter")), source()) and pauses == [7, 2]


def test_a_server_that_takes_too_long_or_is_gone_is_unavailable(server, pauses):
    hold = threading.Event()
    server.replies = [lambda request: hold.wait(SOON) and edit(request)]
    with pytest.raises(EditorUnavailable, match=r"no answer within 1 s\.$"):
        run(ServerEditor(server.url, "painter", timeout=1, retries=1))
    hold.set()
    assert len(server.requests) <= 1, "it may still be making that one"
    server.stop()
    with pytest.raises(EditorUnavailable, match="cannot be reached"):
        run(ServerEditor(server.url, "painter", retries=1), prompts=["a"] * 9, seeds=range(9))


def test_a_server_that_is_gone_is_not_asked_for_the_rows_that_wait_even_where_nobody_looks_in(server):
    server.replies = [refusal(503, "loading")]
    editor = ServerEditor(server.url, "painter", retries=0, concurrency=1)
    with pytest.raises(EditorUnavailable, match="error 503: loading"):
        run(editor, prompts=["a", "b", "c"], seeds=[1, 2, 3], on_step=lambda *_: time.sleep(0.5))
    assert len(server.requests) == 1


def test_what_the_other_rows_have_given_is_not_asked_for_again(server, editor):
    server.replies = [lambda request: refusal(400, "not this") if request.fields["prompt"] == "bad" else edit(request)]
    prepared = editor.prepare(source())
    with pytest.raises(RethinkError, match="error 400: not this") as told:
        editor.edit(prepared, ["good", "bad", "fine"], [1, 2, 3])
    assert not isinstance(told.value, EditorUnavailable) and len(server.requests) == 3
    assert editor.edit(prepared, ["good", "fine"], [1, 3])[:, 0, 0, 2].mul(255).round().tolist() == [1, 3]
    assert len(server.requests) == 3
    editor.edit(prepared, ["good"], [1])
    assert len(server.requests) == 4, "it was kept for that one time"


def test_what_is_there_when_it_is_canceled_is_not_asked_for_again(server):
    editor = ServerEditor(server.url, "painter", concurrency=1)
    prepared, hold = editor.prepare(source()), threading.Event()
    server.replies = [edit, edit, lambda request: hold.wait(SOON) and edit(request)]

    def cancel(done, *_):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        editor.edit(prepared, ["a", "b", "c"], [1, 2, 3], on_step=cancel)
    hold.set()
    server.requests.clear()
    server.replies = [edit]
    edited = editor.edit(prepared, ["a", "b", "c"], [1, 2, 3])
    assert (edited[:, 0, 0, 2] * 255).round().tolist() == [1, 2, 3]
    assert not {request.fields["prompt"] for request in server.requests} & {"a", "b"}


def test_whoever_waits_is_told_and_may_end_it(server, editor):
    hold, seen = threading.Event(), []
    server.replies = [edit, lambda request: hold.wait(SOON) and edit(request)]
    editor = ServerEditor(server.url, "painter", concurrency=1)

    def look(done, total, preview):
        seen.append((done, total, preview().shape))
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(editor, prompts=["a", "b", "c"], seeds=[1, 2, 3], on_step=look)
    hold.set()
    assert seen[-1] == (1, 3, (3, 96, 144, 3)) and len(server.requests) <= 2


def test_the_key_is_in_no_message(server, pauses, monkeypatch):
    monkeypatch.setenv("RETHINK_TEST_KEY", KEY)
    editor = ServerEditor(server.url, "painter", "RETHINK_TEST_KEY", trust=trusting(server, "RETHINK_TEST_KEY"))
    server.replies = [refusal(400, f"Incorrect API key provided: {KEY}.")]
    with pytest.raises(RethinkError, match="Incorrect API key provided: …") as told:
        run(editor)
    assert KEY not in str(told.value) and server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    with pytest.raises(RethinkError, match="key_variable: RETHINK_TEST_KEY is not paired with"):
        ServerEditor(server.url, "painter", "RETHINK_TEST_KEY", trust=Trust(file=None))


def test_only_what_is_allowed_is_opened():
    with pytest.raises(RethinkError, match="base_url: http://192.0.2.1 is not this machine"):
        ServerEditor("http://192.0.2.1/v1", "painter", trust=Trust(file=None))
    with pytest.raises(RethinkError, match="model: is empty"):
        ServerEditor("http://127.0.0.1/v1", " ")


def test_it_is_named_by_its_model_and_its_server_and_takes_no_memory(server, editor):
    assert editor.name == f"painter @ {server.origin}" and editor.device == torch.device("cpu")
    assert list(editor.module.parameters()) == [] and editor.moves_itself


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (Settings(sampler="euler"), "sampler: a server uses its own"),
        (Settings(randomize_guidance=True), "randomize_guidance: needs text_guidance"),
    ],
)
def test_what_no_server_can_be_told_is_refused(server, editor, settings, why):
    with pytest.raises(RethinkError, match=why):
        run(editor, settings=settings)
    assert server.requests == []


def test_a_lora_is_loaded_on_the_server(editor, tmp_path):
    with pytest.raises(RethinkError, match="lora: painter @ .* has its weights on a server; load the LoRA there"):
        editor.with_lora(tmp_path / "a.safetensors", 1.0)
