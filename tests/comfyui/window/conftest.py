"""ComfyUI's window in a browser: it is loaded once a canvas for all tests here.

Their scope is this folder (a package): what comes after it shares the machine with none of them.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.browsers import running_browser
from tests.support.comfyui_window import CANVASES, LONG, empty_window, open_window, wait_until_ready

ANSWERS = (
    (3.0, 6.5, "make the red circle blue"),
    (6.0, 7.0, "make the small red circle at the bottom blue"),
    (7.0, 7.5, "make the small red circle at the bottom blue; keep the rest"),
)
BOXES = '<boxes>[{"bbox_2d": [100, 100, 450, 450], "kind": "wrong", "label": "still red"}]</boxes>'


@pytest.fixture(scope="package")
def thinker():
    """The address of a server that answers in OpenAI's language, one of ANSWERS after the other, with BOXES where it is asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            question = self.rfile.read(int(self.headers["Content-Length"]))
            semantic, quality, prompt = ANSWERS[len(asked) % len(ANSWERS)]
            asked.append(prompt)
            text = f"<think>Look {len(asked)}.</think>"
            text += f'<score>{{"semantic": {semantic}, "quality": {quality}}}</score><answer>{prompt}</answer>'
            text += BOXES if b"<boxes>" in question else ""
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "scripted", "choices": [choice]}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.fixture(scope="package")
def browser():
    with running_browser() as chromium:
        yield chromium


@pytest.fixture(scope="package", params=CANVASES)
def window(request, server, browser):
    """The tests of one canvas come one after another, so that its window is loaded once for all of them."""
    server.post("/settings/Comfy.VueNodes.Enabled", request.param == "nodes-2.0")
    server.post("/settings/Comfy.TutorialCompleted", True)
    page = open_window(server, browser)
    page.canvas_kind = request.param
    yield page
    page.close()


@pytest.fixture(scope="package")
def second_window(server, browser, window):
    """Of somebody else, on the same canvas."""
    page = open_window(server, browser)
    page.canvas_kind = window.canvas_kind
    yield page
    page.close()


@pytest.fixture
def page(server, window):
    """The window, with nothing in it; whatever is still running when the test is over is cancelled."""
    empty_window(window)
    yield window
    cancel_everything(server)
    check_problems(window)


@pytest.fixture
def other_page(server, page, second_window):
    """The second window, with nothing in it."""
    if second_window.url == "about:blank":  # as good as closed
        second_window.goto(server.address)
        wait_until_ready(second_window)
    empty_window(second_window)
    yield second_window
    check_problems(second_window)


def check_problems(page) -> None:
    problems, page.problems[:] = list(page.problems), []
    assert problems == []


def cancel_everything(server) -> None:
    server.post("/queue", {"clear": True})
    end = time.monotonic() + LONG / 1000
    while server.json("/queue")["queue_running"]:
        server.post("/interrupt", {})
        assert time.monotonic() < end, "what was running cannot be cancelled"
        time.sleep(0.05)
