"""The pack's routes in a real ComfyUI, asked what nobody should ask: one sentence each, at once, and no file of others."""

import http.client
import json
import os
import urllib.parse

import pytest

from tests.comfyui import native_graphs
from tests.support.hosts import read_workflow
from tests.support.runs import made_up_run
from tests.support.waiting import SOON

DEEP = b"[" * 1000 + b"]" * 1000
BODIES = [
    DEEP,
    b'{"run":' * 100_000,
    b'{"run": ' + DEEP + b"}",
    b"",
    b"{",
    b"null",
    b"3",
    b"[]",
    b'"x"',
    b"\xff\xfe\x00",
    b"\0" * 100,
    b'{"run": 1e400}',
    b'{"run": NaN}',
    b'{"run": ' + b"9" * 5000 + b"}",
    b'{"run": "\\ud83d"}',
    b'{"run": "a\\u0000b"}',
    b'{"run": {"type": "output", "subfolder": "\\ud83d", "filename": "trajectory.json"}}',
    b'{"\\ud83d": 1}',
    b'{"self": 1}',
    json.dumps({"run": {"type": "output", "subfolder": "/" * 4000, "filename": "trajectory.json"}}).encode(),
    json.dumps({"run": "/" * 4000, "action": "stop"}).encode(),
    json.dumps({"run": "x" * 500_000, "action": "x" * 500_000}).encode(),
    json.dumps({"id": ["x"], "accepted": {"a": 1}}).encode(),
    b'{"id": "x", "accepted": 1}',
    b'{"changed": "a lot"}',
    b'{"changed": ' + b"9" * 400 + b"}",
    b'{"duplicates": 1e300}',
]


@pytest.fixture(scope="module")
def key(server):
    return native_graphs.run(server, read_workflow("filter_and_save_pairs"))["4"]["rethink_pairs"][0]["key"]


@pytest.fixture
def run(server):
    """What names a run in the output folder, which is made anew."""
    folder = server.log.parent / "output" / "shown_by_name"
    if not folder.exists():
        made_up_run(folder, turns=1)
    return {"type": "output", "subfolder": folder.name, "filename": "trajectory.json"}


def ask(
    server, method: str, path: str, body: bytes | None = None, headers=None
) -> tuple[int, dict, http.client.HTTPMessage]:
    """(status, what is answered, headers); nothing hangs."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.address).netloc, timeout=SOON)
    try:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        text = reply.read()
    finally:
        connection.close()
    answer = json.loads(text) if reply.headers.get_content_type() == "application/json" else {}
    return reply.status, answer, reply.headers


def is_a_sentence(answer: dict) -> bool:
    error = answer.get("error", "")
    return 0 < len(error) < 600 and len(error.splitlines()) == 1 and "Traceback" not in error


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_body_that_makes_no_sense_is_answered_in_one_sentence(server, key, body):
    for path in ("/rethink/order", "/rethink/export", f"/rethink/pairs/{key}/verdict"):
        status, answer, _ = ask(server, "POST", path, body)
        assert status == 400 and is_a_sentence(answer), (path, status, answer)
    status, answer, _ = ask(server, "POST", f"/api/rethink/pairs/{key}/tried", body)
    assert status == 200 or (status == 400 and is_a_sentence(answer)), (status, answer)


@pytest.mark.parametrize(
    "kind", ["application/json; charset=klingon", "text/plain; charset=utf-7", "multipart/form-data", "x", ""]
)
def test_a_body_is_json_whatever_it_is_called(server, run, kind):
    body = json.dumps({"run": run}).encode()
    status, answer, _ = ask(server, "POST", "/rethink/export", body, {"Content-Type": kind})
    assert (
        status == 200
        and answer["filename"].startswith("shown_by_name make the smallest shape")
        and answer["filename"].endswith(".html")
    )
    assert server.view(answer).startswith(b"<!doctype html>")


def test_a_large_body_is_refused_before_it_is_read(server):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.address).netloc, timeout=SOON)
    connection.putrequest("POST", "/rethink/order")
    connection.putheader("Content-Length", str(60 * 2**20))
    connection.endheaders()
    connection.send(b"{")  # and no more
    reply = connection.getresponse()
    assert reply.status == 413 and is_a_sentence(json.loads(reply.read()))
    connection.close()


def test_a_large_body_in_parts_is_refused_when_it_is_too_large(server):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.address).netloc, timeout=SOON)
    connection.putrequest("POST", "/rethink/order")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    for _ in range(20):
        connection.send(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
    reply = connection.getresponse()
    assert reply.status == 413 and is_a_sentence(json.loads(reply.read()))
    connection.close()


ODD = [
    "%00",
    "..",
    "..%2F..%2Fetc%2Fpasswd",
    "%2Fetc%2Fpasswd",
    "%ED%A0%BD",
    "%ff",
    "a" * 3000,
    "%2F" * 2000,
    "images%2F..%2F..%2F..%2Fsecret",
    "images",
    "%3Cscript%3E",
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_address_that_makes_no_sense_is_answered_in_one_sentence(server, key, odd):
    paths = [
        f"/rethink/pairs/{key}/picture?side=64&path={odd}",
        f"/rethink/pairs/{key}/picture?path=x&side={odd}",
        f"/rethink/pairs/{key}?count={odd}",
        f"/rethink/pairs/{key}?{odd}=1",
        f"/rethink/running?{odd}=1",
        f"/rethink/pairs/{key}/picture",
    ]
    for path in paths:
        status, answer, _ = ask(server, "GET", path)
        assert status == 400 and is_a_sentence(answer), (path, status, answer)
    status, answer, _ = ask(server, "GET", f"/rethink/pairs/{odd}")
    assert status in (400, 404)


@pytest.mark.parametrize(
    "change",
    [
        {"subfolder": ".."},
        {"subfolder": "", "filename": "."},
        {"filename": ".."},
        {"subfolder": "../output/../"},
        {"subfolder": "/etc"},
        {"type": "models"},
        {"filename": "passwd", "subfolder": "../../../../../../etc"},
        {"subfolder": "a/" * 2000},
    ],
)
def test_an_export_stays_in_comfyuis_folders(server, run, change):
    base = server.log.parent
    made_up = base / "trajectory.json"
    made_up.write_bytes((base / "output" / "shown_by_name" / "trajectory.json").read_bytes())
    status, answer, _ = ask(server, "POST", "/rethink/export", json.dumps({"run": run | change}).encode())
    assert status == 400 and is_a_sentence(answer) and not list(base.glob("*.html"))


def test_an_export_embeds_no_link(server, run):
    folder = server.log.parent / "output" / "linked"
    made_up_run(folder, turns=1)
    (folder / "source.png").unlink()
    os.symlink("/etc/passwd", folder / "source.png")
    body = json.dumps({"run": run | {"subfolder": "linked"}}).encode()
    status, answer, _ = ask(server, "POST", "/rethink/export", body)
    assert (
        status == 400 and is_a_sentence(answer) and "source.png" in answer["error"] and not list(folder.glob("*.html"))
    )


def test_nothing_of_all_that_was_a_failure_of_the_server(server):
    assert "Error handling request" not in server.log.read_text(errors="replace")


def test_browsers_ask_whether_a_file_of_the_front_end_has_changed(server):
    for name, policy in {"extension.js": "no-store", "graph.mjs": "no-cache", "viewer/viewer.mjs": "no-cache"}.items():
        status, _, headers = ask(server, "GET", f"/extensions/rethink/{name}")
        assert (status, headers["Cache-Control"]) == (200, policy), name
