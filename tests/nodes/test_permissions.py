"""A workflow names a server: its owner's machine sends it nothing that the owner has not allowed, on the canvas or in a file."""

import json
import threading
import time

import pytest
import server as host_server
from comfy import model_management

from tests.browsers import needs_chromium
from tests.support.hosts import PACK_ROOT
from tests.support.servers import completion, openai_server
from tests.support.thinking import SOURCE, said
from tests.support.waiting import LATE, SOON, wait_until

FAR = "http://192.0.2.1:8000"  # nobody's


@pytest.fixture
def load(classes):
    """Load Thinker with a server."""

    def load(base_url, **backend):
        return classes["RethinkLoadThinker"].execute(
            {"backend": "server", "base_url": base_url, "model": "m", **backend}
        )

    return load


@pytest.fixture
def permissions(part):
    permissions = part("nodes.permissions")
    yield permissions
    permissions._once.clear()


@pytest.fixture
def headless(monkeypatch):
    monkeypatch.setattr(host_server, "workflow", {})


def asked():
    """The question that the canvas is shown, once it is."""
    return wait_until(lambda: [data for event, data in host_server.sent if event == "rethink.ask_host"])[-1]


@pytest.fixture
def answering(permissions):
    """answering("once"): what is asked next is answered so."""

    def answering(answer):
        host_server.sent.clear()
        thread = threading.Thread(target=lambda: permissions.take_answer(asked()["id"], answer), daemon=True)
        thread.start()
        return thread

    return answering


def questions():
    return [data["host"] for event, data in host_server.sent if event == "rethink.ask_host"]


def test_a_server_on_this_machine_is_nobody_s_question(load, permissions):
    with openai_server() as server:
        load(server.url)
    assert not questions()


def test_a_program_is_refused_with_the_line_to_add(load, permissions, headless, owner, RethinkError):
    with pytest.raises(RethinkError, match=r"^backend\.base_url: http://192.0.2.1:8000 is not this machine") as refused:
        load(f"{FAR}/v1")
    assert f'add {{"hosts": ["{FAR}"]}} to {owner}' in str(refused.value) and not questions()
    owner.parent.mkdir(exist_ok=True)
    owner.write_text(json.dumps({"hosts": [FAR]}))
    load(f"{FAR}/v1")


def test_the_settings_lie_where_no_page_can_write(permissions, results, tmp_path, monkeypatch):
    monkeypatch.delenv("RETHINK_SERVERS")
    assert permissions.read_settings().file == tmp_path / "user" / "__rethink" / "servers.json"


def test_what_is_always_allowed_is_asked_once(load, permissions, answering, owner):
    answering("always")
    load(f"{FAR}/v1")
    assert questions() == [FAR] and json.loads(owner.read_text()) == {"hosts": [FAR]}
    assert [event for event, _ in host_server.sent] == ["rethink.ask_host", "rethink.host_answered"]
    host_server.sent.clear()
    load(f"{FAR}/v1")
    assert not questions() and permissions.list_questions() == []


def test_what_is_allowed_once_is_asked_again_in_the_next_run(
    load, permissions, answering, owner, monkeypatch, part, classes
):
    answering("once")
    load(f"{FAR}/v1")
    load(f"{FAR}/v1")
    assert questions() == [FAR] and not owner.exists(), "two nodes of one run ask once"
    monkeypatch.setattr(part("nodes.comfy.server"), "prompt_id", lambda: "another")
    monkeypatch.setattr(host_server, "running", ["another"])
    answering("no")
    with pytest.raises(ValueError, match="is not this machine"):
        load(f"{FAR}/v1")
    assert questions() == [FAR]


def test_a_node_whose_server_has_to_be_asked_for_is_never_taken_from_the_cache(classes, owner, monkeypatch):
    def stamp(**backend):
        return classes["RethinkLoadThinker"].fingerprint_inputs(backend={"backend": "server", **backend})

    far = stamp(base_url=f"{FAR}/v1")
    assert far != far, "not even equal to itself"
    here = {"base_url": "http://127.0.0.1:8000/v1"}
    assert stamp(**here) == stamp(**here, key_variable="")
    with_key = stamp(**here, key_variable="MY_SECRET")
    assert with_key != with_key
    assert stamp(base_url="junk") != stamp(base_url="junk") and stamp() != stamp()
    owner.parent.mkdir(exist_ok=True)
    owner.write_text(json.dumps({"hosts": [FAR], "keys": {"MY_SECRET": ["http://127.0.0.1:8000"]}}))
    assert stamp(base_url=f"{FAR}/v1") == stamp(base_url=f"{FAR}/v1")
    assert stamp(**here, key_variable="MY_SECRET") == stamp(**here, key_variable="MY_SECRET")


def test_no_answer_is_no_and_cancel_ends_the_wait(load, permissions, monkeypatch, RethinkError):
    monkeypatch.setattr(permissions, "PATIENCE", 0.3)
    with pytest.raises(RethinkError, match="is not this machine"):
        load(f"{FAR}/v1")
    monkeypatch.setattr(permissions, "PATIENCE", LATE)
    threading.Timer(0.3, model_management.interrupt_current_processing).start()
    started = time.monotonic()
    with pytest.raises(model_management.InterruptProcessingException):
        load(f"{FAR}/v1")
    assert time.monotonic() - started < SOON and permissions.list_questions() == []


def test_only_who_was_asked_can_answer_and_only_what_was_asked(load, permissions, owner, RethinkError):
    refused = []

    def refuse():
        with pytest.raises(RethinkError):
            load(f"{FAR}/v1")
        refused.append(1)

    thread = threading.Thread(target=refuse, daemon=True)
    host_server.sent.clear()
    thread.start()
    question = asked()
    assert permissions.list_questions() == [question] and len(question["id"]) > 20
    for id, answer in (
        ("", "always"),
        ("x", "always"),
        (FAR, "always"),
        (question["id"], "yes"),
        (question["id"], None),
    ):
        with pytest.raises(RethinkError):
            permissions.take_answer(id, answer)
    permissions.take_answer(question["id"], "no")  # the first answer that counts
    thread.join(SOON)
    assert refused and not owner.exists()
    with pytest.raises(RethinkError, match="no open question"):
        permissions.take_answer(question["id"], "always")


def test_a_stranger_s_workflow_gets_no_secret_and_nobody_is_asked_for_one(load, permissions, monkeypatch, RethinkError):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-0123456789")
    with openai_server() as server:
        for address in (server.url, f"{FAR}/v1", "https://api.openai.com/v1"):
            with pytest.raises(
                RethinkError, match=r"^backend\.key_variable: AWS_SECRET_ACCESS_KEY is not paired with http"
            ):
                load(address, key_variable="AWS_SECRET_ACCESS_KEY")
        assert not server.requests and not questions()


def test_a_thinker_that_is_allowed_thinks(load, permissions, owner, monkeypatch, classes):
    monkeypatch.setenv("MY_SECRET", "planted-0123456789")
    with openai_server() as server:
        server.replies = [(200, completion(said(9, 8, "b")), {})]
        owner.parent.mkdir(exist_ok=True)
        owner.write_text(json.dumps({"keys": {"MY_SECRET": [server.url.removesuffix("/v1")]}}))
        (thinker,) = load(server.url, key_variable="MY_SECRET").result
        classes["RethinkCritiqueEdit"].execute(thinker, SOURCE, SOURCE * 0, "make it red", 0)
        assert server.requests[0].headers["authorization"] == "Bearer planted-0123456789"


PAGE = """<!doctype html><link rel="stylesheet" href="/viewer/viewer.css"><script type="module">
import { askAboutHosts } from "/hosts.mjs";
window.api = Object.assign(new EventTarget(), {
  given: [],
  async fetchApi(path, options) {
    if (options) this.given.push(JSON.parse(options.body));
    return new Response(options ? "{}" : JSON.stringify([{ id: "early", host: "https://early.example" }]));
  },
});
askAboutHosts(window.api, (said) => (window.said = said));
window.ask = (id, host) => window.api.dispatchEvent(new CustomEvent("rethink.ask_host", { detail: { id, host } }));
</script>"""


@needs_chromium
def test_the_canvas_asks_by_name_and_no_is_the_answer_at_hand(browser):
    page, home = browser.new_page(), "http://canvas.test"
    types = {".mjs": "text/javascript", ".css": "text/css"}

    def answer(route):
        file = PACK_ROOT / "web" / route.request.url.removeprefix(f"{home}/")
        if file.is_file():
            return route.fulfill(body=file.read_bytes(), content_type=types[file.suffix])
        return route.fulfill(body=PAGE, content_type="text/html")

    page.route(f"{home}/**", answer)
    page.goto(home)
    dialog = page.get_by_role("dialog")
    assert "https://early.example" in dialog.inner_text(), "asked before the page was there"
    assert page.evaluate("document.activeElement.textContent") == "No"
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    for label in ("Allow once", "Allow always", "No"):
        page.evaluate("ask('two', 'https://<img src=x onerror=alert(1)>.example')")
        page.evaluate("ask('two', 'again')")
        dialog.wait_for()
        assert dialog.count() == 1 and "https://<img src=x" in dialog.inner_text() and not dialog.locator("img").count()
        dialog.get_by_role("button", name=label, exact=True).click()
        dialog.wait_for(state="detached")
    given = [(record["id"], record["answer"]) for record in page.evaluate("api.given")]
    assert given == [("early", "no"), ("two", "once"), ("two", "always"), ("two", "no")]
    page.evaluate("ask('three', 'https://gone.example')")
    answered = "api.dispatchEvent(new CustomEvent('rethink.host_answered', { detail: { id: 'three' } }))"
    page.evaluate(f"{answered}, ask('three', 'https://next.example')")
    assert "https://next.example" in dialog.inner_text(), "asked in the moment in which the one before goes"
    page.evaluate(answered)
    dialog.wait_for(state="detached")
    page.close()
