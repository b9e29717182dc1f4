"""Stand-in for the server: what it was told to send, to say on nodes and to serve is kept here."""

import json
from collections.abc import Callable
from types import SimpleNamespace

sent: list[tuple[str, dict]] = []  # (event, data)
addressees: list[str | None] = []  # of each; None: every page
texts: list[str] = []  # on nodes
served: dict[tuple[str, str], Callable] = {}  # (method, path) → handler
running = ["prompt"]
sockets = {"client": None}  # who listens
workflow = {"extra_pnginfo": {"workflow": {"id": "workflow"}}}


def send_sync(event, data, sid=None):
    sent.append((event, json.loads(json.dumps(data, allow_nan=False))))
    addressees.append(sid)


def send_progress_text(text, node_id, sid=None):
    texts.append(text)


def _route(method, path):
    return lambda handler: served.update({(method, path): handler})


_queue = SimpleNamespace(get_current_queue=lambda: ([(0, prompt, {}, workflow) for prompt in running], []))
PromptServer = SimpleNamespace(
    instance=SimpleNamespace(
        send_sync=send_sync,
        send_progress_text=send_progress_text,
        client_id="client",
        prompt_queue=_queue,
        sockets=sockets,
        routes=SimpleNamespace(route=_route),
    )
)
