"""Messages between the front end and the pack: who is told, and how a request is answered."""

import asyncio
import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import server as host


@pytest.fixture
def server(part, monkeypatch):
    monkeypatch.setattr(host, "served", {})
    return part("nodes.comfy.server")


class Request:
    """A request as aiohttp gives it: its body comes in parts."""

    def __init__(self, query=(), match=(), parts=(), length=None):
        self.query, self.match_info, self.content_length = dict(query), dict(match), length
        self._parts = list(parts)
        self.can_read_body, self.content = bool(parts), self

    async def readany(self):
        return self._parts.pop(0) if self._parts else b""


@pytest.fixture
def ask(server, monkeypatch):
    """ask(reply, request) → (status, what was answered)."""
    web = SimpleNamespace(
        Response=lambda body, content_type, headers: SimpleNamespace(status=200, answer=body, headers=headers),
        json_response=lambda answer, status=200: SimpleNamespace(status=status, answer=json.loads(json.dumps(answer))),
    )
    aiohttp = ModuleType("aiohttp")
    aiohttp.web = web
    monkeypatch.setitem(sys.modules, "aiohttp", aiohttp)

    def ask(reply, request):
        server.add_route("POST", "/rethink/test", reply)
        response = asyncio.run(host.served["POST", "/rethink/test"](request))
        return response.status, response.answer

    return ask


def test_the_page_that_queued_is_told_and_all_pages_where_it_is_closed(server, monkeypatch):
    server.send_event("rethink.x", {}, "client", "workflow")
    server.send_event("rethink.x", {}, "client", "")
    monkeypatch.setattr(host.PromptServer.instance, "sockets", {})
    server.send_event("rethink.x", {}, "client", "workflow")
    server.send_event("rethink.x", {}, "client", "")
    assert host.addressees == ["client", "client", None, "client"], "no page shows a program's prompt"


def test_what_runs_is_known_with_its_workflow(server):
    assert server.is_running("prompt") and not server.is_running("another")
    assert server.workflow_id("prompt") == "workflow" and server.workflow_id("another") == ""
    assert server.client_id() == "client" and server.is_connected("client") and not server.is_connected("other")
    dynprompt = SimpleNamespace(get_display_node_id=lambda id: id.rpartition(".")[2])
    assert server.display_id(SimpleNamespace(unique_id="4.0.0.6", dynprompt=dynprompt)) == "6"


def test_parameters_come_from_path_query_and_body(ask):
    request = Request({"a": "1"}, {"b": "2"}, [b'{"c":', b" [3]}"])
    assert ask(lambda a, b, c: {"all": [a, b, c]}, request) == (200, {"all": ["1", "2", [3]]})
    assert ask(lambda: None, Request()) == (200, None)


def test_bytes_are_an_image_that_never_changes(server, ask):
    server.add_route("GET", "/rethink/picture", lambda: b"webp")
    response = asyncio.run(host.served["GET", "/rethink/picture"](Request()))
    assert response.answer == b"webp" and "immutable" in response.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (Request(parts=[b"{"]), "request: its body is not JSON"),
        (Request(parts=[b"[1]"]), "request: its body is not a JSON object"),
        (Request({"unknown": "1"}), "request: "),
    ],
)
def test_a_request_that_makes_no_sense_is_answered_in_one_sentence(ask, request_, sentence):
    status, answer = ask(lambda known=None: known, request_)
    assert status == 400 and answer["error"].startswith(sentence)


@pytest.mark.parametrize("declared", [True, False])
def test_a_large_body_is_refused_however_it_comes(server, ask, declared):
    part = b"x" * 2**18
    request = Request(parts=[part] * 9, length=9 * len(part) if declared else None)
    status, answer = ask(lambda: None, request)
    assert status == 413 and "larger than 1 MB" in answer["error"]
    assert len(request._parts) == (9 if declared else 4), "no more is read than is needed"


def test_an_error_of_the_pack_is_its_sentence_and_any_other_is_no_failure_of_the_server(ask, RethinkError, caplog):
    def refuse():
        raise RethinkError("key: is unknown. " + "x" * 1000)

    def fail():
        raise ZeroDivisionError("deep within")

    status, answer = ask(refuse, Request())
    assert status == 400 and answer["error"].startswith("key: is unknown.") and len(answer["error"]) < 600
    status, answer = ask(fail, Request())
    assert (
        status == 400 and answer["error"].startswith("request: cannot be answered") and "deep within" in answer["error"]
    )
    assert "could not answer POST /rethink/test" in caplog.text


def test_headers_are_added_to_files_of_the_pack_alone(server, monkeypatch):
    app = SimpleNamespace(on_response_prepare=[])
    monkeypatch.setattr(host.PromptServer.instance, "app", app, raising=False)
    server.forbid_framing("pairs/review.html")
    server.revalidate_modules()
    folder = server.Path(server.__file__).parents[2].name

    def headers(path):
        response = SimpleNamespace(headers={})
        for add in app.on_response_prepare:
            asyncio.run(add(SimpleNamespace(path=path), response))
        return response.headers

    assert headers(f"/extensions/{folder}/pairs/review.html")["X-Frame-Options"] == "DENY"
    assert headers(f"/extensions/{folder}/viewer/viewer.mjs") == {"Cache-Control": "no-cache"}
    assert headers("/extensions/another/viewer.mjs") == {} == headers(f"/extensions/{folder}/extension.js")
