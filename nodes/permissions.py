"""Permission to send images to a server: what the owner of this machine has allowed, or answers when asked on the
canvas.

A workflow names a server, and workflows come from strangers. Only a page with the canvas is asked, and shown the
server's name; a program that posts a prompt is refused. An answer counts only with the secret of its question, which no
other site knows.
"""

import secrets
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..rethink.errors import RethinkError
from ..rethink.servers.address import Origin, parse_address
from ..rethink.servers.trust import SETTINGS_FILE, Trust, allow_images, read_trust, settings_file
from .comfy import folders, progress, server

T = TypeVar("T")
PATIENCE = 600.0  # seconds to answer a question
POLL = 0.1  # seconds between two checks for the answer and for Cancel
ANSWERS = ("always", "once", "no")

_asked: dict[str, "Question"] = {}  # secret → open question
_once: set[tuple[str, Origin]] = set()  # (prompt, server that it may send images to)


class Question:
    """The question whether images may be sent to a server. answer: one of ANSWERS, or None while there is none."""

    def __init__(self, origin: Origin, workflow: str):
        self.id, self.origin, self.workflow = secrets.token_urlsafe(16), origin, workflow
        self.answer: str | None = None
        self.answered = threading.Event()

    def state(self) -> dict[str, Any]:
        return {"id": self.id, "host": str(self.origin), "workflow": self.workflow}


def read_settings() -> Trust:
    """Read what the owner of this machine allows, from a folder of ComfyUI that no page can write to."""
    return read_trust(settings_file(folders.system_user_folder("rethink") / SETTINGS_FILE))


def stamp(base_url: str, key_variable: str) -> str | float:
    """A value that changes when a server loses its permission, and on every run for as long as each has to ask."""
    try:
        origin, _ = parse_address(base_url)
        trust = read_settings()
        if trust.allows_images(origin) and (not key_variable or trust.allows_key(key_variable.strip(), origin)):
            return str(origin)
    except RethinkError:  # reported when the node runs
        pass
    return float("nan")


def open_remote(address: str, open: Callable[[Trust], T]) -> T:
    """Open a model behind the server at an address, with what the owner trusts. Any other error is raised before the
    user is asked about sending images."""
    origin, _ = parse_address(address)
    model = open(read_settings().with_host(origin))
    check_images(address)
    return model


def check_images(base_url: str) -> None:
    """Raise RethinkError if images may not be sent to the server at an address. Asks the user where possible."""
    origin, _ = parse_address(base_url)
    trust, prompt = read_settings(), server.prompt_id()
    workflow = server.workflow_id(prompt)
    if trust.allows_images(origin) or (prompt, origin) in _once:
        return
    if not workflow:  # no page shows it
        trust.check_images(origin)
    answer = _ask(Question(origin, workflow))
    if answer == "always":
        allow_images(trust.file, origin)
    elif answer == "once":
        _once.difference_update(
            {allowed for allowed in _once if allowed[0] != prompt}
        )  # those prompts are over: only one runs at a time
        _once.add((prompt, origin))
    else:
        trust.check_images(origin)


def _ask(question: Question) -> str | None:
    """Return the answer of a person at the canvas, or None if there is none. Cancel ends the wait."""
    _asked[question.id] = question
    try:
        progress.show_status("Waiting for your answer: may images be sent to this server?")
        server.send_event("rethink.ask_host", question.state(), server.client_id(), question.workflow)
        for _ in range(int(PATIENCE / POLL)):
            progress.stop_if_cancelled()
            if question.answered.wait(POLL):
                break
        progress.show_status(
            "Images may be sent to this server." if question.answer in ANSWERS[:2] else "No images are sent."
        )
        return question.answer
    finally:
        _asked.pop(question.id, None)
        server.send_event(
            "rethink.host_answered", {"id": question.id}, None, question.workflow
        )  # to every page: one opened later asks too


def list_questions() -> list[dict[str, Any]]:
    """The questions that are open now, for a page that was just loaded."""
    return [question.state() for question in list(_asked.values())]


def take_answer(id: str, answer: str) -> dict:
    """Take the answer to a question: {id, answer}, one of ANSWERS."""
    question = _asked.get(id)
    if question is None:
        raise RethinkError("id: no open question has this id.")
    if answer not in ANSWERS:
        raise RethinkError(f"answer: expected one of {', '.join(ANSWERS)}.")
    if not question.answered.is_set():
        question.answer = answer
        question.answered.set()
    return {}


def serve() -> None:
    """Let the front end list the open questions and answer them."""
    server.add_route("GET", "/rethink/hosts", list_questions)
    server.add_route("POST", "/rethink/hosts", take_answer)
