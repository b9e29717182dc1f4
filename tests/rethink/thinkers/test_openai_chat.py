"""A thinker behind a real server on loopback: every fault recovers or is said, and the key is in no word of it."""

import base64
import io
import json
import logging
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

from rethink.errors import RethinkError
from rethink.servers.address import parse_address
from rethink.servers.trust import Trust
from rethink.thinkers import openai_chat
from rethink.thinkers.critique import Thinker
from rethink.thinkers.openai_chat import OpenAIChat
from rethink.thinkers.protocol import NO_USAGE, Request, ThinkerError, TokenUsage
from rethink.trajectory import new_trajectory, record_run
from tests.support.servers import completion, held_port
from tests.support.thinking import SOURCE, Painter, said, start_thinking
from tests.support.waiting import LATE, SOON, wait_until

KEY = "sk-planted-0123456789abcdef"
MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "image"}]}]


@pytest.fixture
def talk(server, pauses):
    def talk(**options):
        options = {"base_url": server.url, "model": "m"} | options
        return OpenAIChat(**options).chat(MESSAGES, [SOURCE], max_tokens=99, seed=5, temperature=0.5)

    return talk


def test_images_that_are_encoded_ahead_are_sent_as_any_others(server, talk):
    talk()
    chat = OpenAIChat(server.url, "m")
    chat.chat(MESSAGES, chat.encode_images([SOURCE]), max_tokens=99, seed=5, temperature=0.5)
    assert server.requests[0].body == server.requests[1].body


def test_asks_as_openai_does(server, talk):
    assert talk() == "fine"
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert {k: request.body[k] for k in ("model", "max_tokens", "seed", "temperature")} == {
        "model": "m",
        "max_tokens": 99,
        "seed": 5,
        "temperature": 0.5,
    }
    text, picture = request.body["messages"][0]["content"]
    assert text == {"type": "text", "text": "hello"}
    data = base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(data)).size == (32, 32)  # which no image shown is smaller than


def test_reasoning_that_the_server_took_apart_is_put_back(server, talk):
    server.replies = [(200, completion("<answer>a</answer>", reasoning_content="why"), {})]
    assert talk() == "<think>why</think><answer>a</answer>"


@pytest.mark.parametrize(
    ("content", "reasoning", "text"),
    [
        (None, "All of it.", "<think>All of it."),
        ("\n\n", "All of it.", "<think>All of it."),
        ("", "<think>Hm.</think><answer>a</answer>", "<think>Hm.</think><answer>a</answer>"),
        ("<answer>a</answer>", "</think><answer>b</answer>", "<think><answer>b</answer></think><answer>a</answer>"),
        ("<think>b</think>a", "c", "<think>b</think>a"),
        ("a", None, "a"),
        (None, None, ""),
        ("half \ud83d of it", None, "half \ufffd of it"),
        ("a 😀", None, "a 😀"),
    ],
)
def test_what_was_reasoned_and_what_was_said_stay_apart(server, talk, content, reasoning, text):
    body = json.loads(completion(content, reasoning=reasoning))
    body["choices"][0]["finish_reason"] = "stop"
    server.replies = [(200, json.dumps(body), {})]
    assert talk() == text


@pytest.mark.parametrize(
    "fault",
    [
        (500, "oops", {}),
        (503, "<html><body>busy</body></html>", {"Content-Type": "text/html"}),
        (429, "{}", {}),
        (200, completion("fine")[:40], {}),
        (200, "<html>welcome</html>", {"Content-Type": "text/html"}),
        (200, "", {}),
        (200, "null", {}),
        (200, "[]", {}),
        (200, '{"choices": []}', {}),
        (200, '{"choices": [{"message": null}]}', {}),
        (200, '{"choices": [{"message": {"content": 7}}]}', {}),
        (200, "[" * 100_000, {}),
        (200, '{"choices": [{"message": {"content": ' + "[" * 5000 + "]" * 5000 + "}}]}", {}),
        (200, "9" * 5000, {}),
        (200, '{"choices": 1e400}', {}),
    ],
)
def test_what_may_pass_is_tried_again(server, talk, pauses, fault):
    server.replies = [fault, fault, (200, completion("fine"), {})]
    assert talk() == "fine"
    assert len(server.requests) == 3 and pauses == [1.0, 2.0]
    server.requests.clear()
    server.replies = [fault]
    with pytest.raises(ThinkerError, match=r"^thinker: m at http://127.0.0.1.*after 3 tries"):
        talk(retries=2)
    assert len(server.requests) == 3


def test_waits_as_long_as_it_is_asked_to(server, talk, pauses):
    server.replies = [(429, "{}", {"Retry-After": "7"}), (200, completion("fine"), {})]
    assert talk() == "fine" and pauses == [7.0]


@pytest.mark.parametrize("charset", ["utf8mb4", "no-such-thing", "latin-1", '"', "idna"])
def test_a_charset_that_nobody_knows_is_no_matter(server, talk, charset):
    server.replies = [(200, completion("größer 星"), {"Content-Type": f"application/json; charset={charset}"})]
    assert talk() == "größer 星"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (400, "error 400: no such thing"),
        (401, r"needs a key \(401: no such thing\); name the environment variable"),
        (403, "error 403: no such thing"),
        (404, "error 404: no such thing"),
        (501, "error 501: no such thing"),
    ],
)
def test_what_will_not_pass_is_said_at_once(server, talk, pauses, code, sentence):
    server.replies = [(code, json.dumps({"error": {"message": "no such thing"}}), {})]
    with pytest.raises(ThinkerError, match=sentence):
        talk()
    assert len(server.requests) == 1 and not pauses


def test_a_key_that_is_refused_is_checked_and_one_that_is_not_to_blame_is_not_blamed(server, pauses, monkeypatch):
    monkeypatch.setenv("RETHINK_TEST_KEY", KEY)
    for code, sentence in (
        (401, r"rejects the key \(401: .*\); check the environment"),
        (403, "error 403: not in Mars"),
    ):
        server.replies = [(code, json.dumps({"error": {"message": "not in Mars"}}), {})]
        with pytest.raises(ThinkerError, match=sentence):
            with_key(server).chat(MESSAGES, [SOURCE], max_tokens=9, seed=0, temperature=0)


def with_key(server, **options):
    """A chat that may send the key."""
    origin, _ = parse_address(server.url)
    trust = Trust(Path("servers.json")).with_pair("RETHINK_TEST_KEY", origin)
    return OpenAIChat(server.url, "m", "RETHINK_TEST_KEY", trust=trust, **options)


def test_a_server_that_hangs_is_given_up(server, talk):
    server.replies = [lambda body: time.sleep(LATE) or (200, completion("late"), {})]
    started = time.monotonic()
    with pytest.raises(ThinkerError, match="no answer within 1 s"):
        talk(timeout=1, retries=0)
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/v1", "http://no-such-host.invalid/v1"])
def test_a_server_that_is_not_there(talk, pauses, owner, address):
    owner.parent.mkdir(exist_ok=True)
    owner.write_text('{"hosts": ["http://no-such-host.invalid"]}')
    words = r"cannot be reached \(.*\); start the server or check the address(\.| \(after)"
    with held_port() as port, pytest.raises(ThinkerError, match=words):
        talk(base_url=address.format(port=port), retries=2)
    assert pauses == [1.0, 2.0]


def test_what_a_model_refuses_is_left_out(server, talk):
    def picky(body):
        for name in ("max_tokens", "temperature", "seed"):
            if name in body:
                return 400, json.dumps({"error": {"message": f"Unsupported parameter: '{name}'."}}), {}
        return 200, completion(f"with {body['max_completion_tokens']}"), {}

    server.replies = [picky]
    assert talk(retries=0) == "with 99", "what is refused counts as no try"


def test_what_nobody_could_answer_is_said(server, talk):
    server.replies = [(200, completion("", reasoning_content="Hm."), {})]
    assert talk() == "<think>Hm.", "the critique says what is missing"
    body = json.loads(completion("", reasoning_content="Hm. Hm."))
    body["choices"][0]["finish_reason"] = "length"
    server.replies = [(200, json.dumps(body), {})]
    with pytest.raises(ThinkerError, match=r"used up max_tokens \(99\) on reasoning; raise max_tokens\.$"):
        talk()


def test_an_answer_may_come_in_parts(server, talk):
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    server.replies = [(200, completion([thinking, {"type": "text", "text": "<answer>a</answer>"}]), {})]
    assert talk() == "<answer>a</answer>"


@pytest.mark.parametrize(
    ("models", "hint"),
    [
        (None, "; is the address right? Most end in /v1."),
        (["qwen3-vl:8b", "gemma3", "qwen2.5"], "; it has qwen3-vl:8b, qwen2.5, gemma3."),
        (["models/qwen3-vl"], "."),
        ([], "."),
    ],
)
def test_a_wrong_name_is_told_the_right_ones(server, talk, models, hint):
    server.models = models
    server.replies = [(404, json.dumps([{"error": {"message": "not found"}}]), {})]
    with pytest.raises(ThinkerError) as told:
        talk(model="qwen3-vl")
    assert str(told.value) == f"thinker: qwen3-vl at {server.url}: error 404: not found{hint}"


@pytest.mark.parametrize("ending", ["/", "/chat/completions", "/chat/completions/"])
def test_the_address_may_be_the_one_of_the_manual(server, talk, ending):
    assert talk(base_url=server.url + ending) == "fine" and server.requests[0].path == "/v1/chat/completions"


def test_a_key_that_is_missing_or_damaged_is_missed_before_anything_is_edited(server, monkeypatch):
    with pytest.raises(RethinkError, match="key_variable: no environment variable"):
        OpenAIChat(server.url, "m", "RETHINK_UNSET")
    monkeypatch.setenv("RETHINK_TEST_KEY", f"{KEY}\u200b")  # as web pages give it
    with pytest.raises(RethinkError, match="key_variable: the variable contains a character") as told:
        OpenAIChat(server.url, "m", "RETHINK_TEST_KEY")
    assert KEY not in str(told.value)


def test_several_at_once_and_one_that_fails_takes_no_other_with_it(server):
    def slow(body):
        wait_until(lambda: server.most_at_once == 3)
        seed = body["seed"]
        return (400, "{}", {}) if seed == 2 else (200, completion(f"answer {seed}"), {})

    server.replies = [slow]
    chat = OpenAIChat(server.url, "m", concurrency=3)
    answers = chat.chat_all([Request(MESSAGES, [SOURCE], seed) for seed in range(6)], max_tokens=9, temperature=0)
    assert [a for i, a in enumerate(answers) if i != 2] == [f"answer {i}" for i in (0, 1, 3, 4, 5)]
    assert isinstance(answers[2], ThinkerError) and server.most_at_once == 3


def test_cancel_does_not_wait_for_the_server(server):
    class Cancelled(BaseException):
        pass

    def cancel(*_):
        raise Cancelled

    server.replies = [lambda body: time.sleep(LATE) or (200, completion("late"), {})]
    started = time.monotonic()
    with pytest.raises(Cancelled):
        OpenAIChat(server.url, "m").chat(MESSAGES, [SOURCE], max_tokens=9, seed=0, temperature=0, on_token=cancel)
    assert time.monotonic() - started < SOON


def test_nothing_is_left_waiting_for_another_try_after_a_cancel(server):
    server.replies = [(500, "busy", {"Retry-After": "60"})]
    before = set(threading.enumerate())

    def cancel(*_):
        if server.requests:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OpenAIChat(server.url, "m").chat(MESSAGES, [SOURCE], max_tokens=9, seed=0, temperature=0, on_token=cancel)
    asking = [t for t in set(threading.enumerate()) - before if t.name == "rethink-thread"]
    for thread in asking:
        thread.join(SOON)
    assert not any(thread.is_alive() for thread in asking) and len(server.requests) == 1


def broken(key):
    """Forms in which a server may say a key."""
    spaced, tagged, seen = " ".join(key), "<b>" + "</b><i>".join(key), "\u200b".join(key)
    encoded = [base64.b64encode(b"x" * shift + key.encode()).decode() for shift in range(3)]
    escaped = "".join(f"%{ord(letter):02X}" for letter in key)
    return " | ".join(
        [key, key.upper(), key[3:11], key[::-1], spaced, tagged, seen, *encoded, escaped, key.encode().hex()]
    )


def echoes(status):
    """A server that repeats the key it was given wherever it can, and in what forms it can."""
    return lambda body: (
        status,
        json.dumps({"error": {"message": f"bad {broken(KEY)}", "code": KEY}})
        if status != 200
        else completion(said(4, 4, f"b {broken(KEY)}", f"Why: {broken(KEY)}")),
        {"X-Key": KEY, "Server": KEY},
    )


def pieces_in(text):
    """What is left of the key in a text: six letters in a row, in small letters and with nothing between them."""
    text = re.sub(r"<[^<>]*>|\s|\u200b", "", text).lower()
    forms = [KEY, KEY[::-1]] + [base64.b64encode(b"x" * shift + KEY.encode()).decode().lower() for shift in range(3)]
    sizes = [6, 6, 10, 10, 10]
    return {f[at : at + n] for f, n in zip(forms, sizes) for at in range(2, len(f) - n) if f[at : at + n] in text}


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
def test_the_key_is_in_no_file_no_error_and_no_log(server, pauses, tmp_path, monkeypatch, caplog, capfd, status):
    monkeypatch.setenv("RETHINK_TEST_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server.models = [f"model-{KEY}", f"model-{KEY[:9]}"]
    server.replies = [(200, completion(said(4, 4, "b")), {}), echoes(status)]
    chat = with_key(server, retries=1)
    run = start_thinking(Painter(), Thinker(chat), SOURCE, "make it red", turns=3)
    *_, trajectory = record_run(new_trajectory(tmp_path / "run", SOURCE, "make it red", {"thinker": chat.name}), run)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert trajectory.stopped == ("turns" if status == 200 else "failed") and trajectory.best == 0
    written = [file.read_text("utf-8") for file in tmp_path.rglob("*.json")]
    said_aloud = [caplog.text, *capfd.readouterr(), repr(vars(chat)), repr(trajectory), trajectory.message]
    assert written and not any(pieces_in(text) for text in [*written, *said_aloud])


def test_an_error_keeps_nothing_of_the_key_behind_it(server, pauses, monkeypatch):
    monkeypatch.setenv("RETHINK_TEST_KEY", KEY)
    server.replies = [(200, "{", {"X-Key": KEY})]
    with pytest.raises(ThinkerError) as told:
        with_key(server, retries=0).chat(MESSAGES, [SOURCE], max_tokens=9, seed=0, temperature=0)
    assert told.value.__cause__ is None and told.value.__context__ is None


def test_everything_made_before_the_server_went_is_kept(server, tmp_path):
    server.replies = [(200, completion(said(4, 4, "b")), {}), (200, completion(said(6, 6, "c")), {}), (500, "gone", {})]
    chat = OpenAIChat(server.url, "m", retries=0)
    run = start_thinking(Painter(), Thinker(chat), SOURCE, "make it red", turns=5)
    *_, trajectory = record_run(new_trajectory(tmp_path / "run", SOURCE, "make it red", {}), run)
    assert trajectory.stopped == "failed" and "error 500: gone" in trajectory.message
    assert len(trajectory.steps) == 3 and trajectory.best == 1
    assert torch.equal(trajectory.image(trajectory.steps[1])[0, 9, 9], SOURCE[0, 9, 9].mul(255).round().div(255))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"base_url": "127.0.0.1:8000"}, "base_url: is not an address"),
        ({"base_url": "http://host:port/v1"}, "base_url: is not an address"),
        ({"base_url": "file:///etc/passwd"}, "base_url: is not an address"),
        ({"base_url": f"http://me:{KEY}@host/v1"}, "base_url: a key"),
        ({"base_url": f"http://host/v1?key={KEY}"}, "base_url: a key"),
        ({"key_variable": KEY}, "key_variable: give the NAME"),
        ({"key_variable": "RETHINK_UNSET"}, "key_variable: no environment variable"),
        ({"model": " "}, "model: is empty"),
        ({"timeout": 0}, "timeout: expected"),
        ({"retries": -1}, "retries: expected"),
        ({"concurrency": 0}, "concurrency: expected"),
    ],
)
def test_mistakes_are_one_sentence_without_the_key(talk, options, sentence):
    with pytest.raises(RethinkError, match=sentence) as told:
        talk(**options)
    assert KEY not in str(told.value)


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}, TokenUsage(1, 12, 3)),
        ({"prompt_tokens": 12}, NO_USAGE),
        ({"prompt_tokens": True, "completion_tokens": 1.5}, NO_USAGE),
        ({"prompt_tokens": -1, "completion_tokens": 10**20}, NO_USAGE),
        (None, NO_USAGE),
        ("12", NO_USAGE),
    ],
)
def test_what_answers_take_is_what_the_server_says(server, usage, counted):
    reply = json.dumps(json.loads(completion("fine")) | {"usage": usage})
    server.replies = [(200, reply, {})]
    chat = OpenAIChat(server.url, "m")
    requests = [Request(MESSAGES, [SOURCE], seed) for seed in range(3)]
    chat.chat_all(requests, max_tokens=99, temperature=0)
    assert chat.usage == counted + counted + counted


def test_whoever_asks_from_a_thread_waits_in_it(server, talk, monkeypatch):
    pools, own = [], openai_chat.DaemonThreads
    monkeypatch.setattr(openai_chat, "DaemonThreads", lambda count: pools.append(count) or own(count))
    assert ThreadPoolExecutor(1).submit(talk).result() == "fine" and not pools
    assert talk() == "fine" and pools == [1], "of the main thread Ctrl-C has to be heeded"
