"""Stand-in for the server: what is sent to the front end is kept in `sent` as (event, data)."""

import json
from collections.abc import Callable
from types import SimpleNamespace

sent: list[tuple[str, dict]] = []
texts: list[str] = []  # on nodes
routes: dict[tuple[str, str], Callable] = {}  # (method, path) → handler
running = ["prompt"]


def send_sync(event, data, sid=None):
    sent.append((event, json.loads(json.dumps(data, allow_nan=False))))


def send_progress_text(text, node_id, sid=None):
    texts.append(text)


def route(method, path):
    return lambda handler: routes.setdefault((method, path), handler)


_queue = SimpleNamespace(get_current_queue=lambda: ([(0, prompt) for prompt in running], []))
PromptServer = SimpleNamespace(
    instance=SimpleNamespace(
        send_sync=send_sync, send_progress_text=send_progress_text, routes=SimpleNamespace(route=route),
        client_id="client", prompt_queue=_queue,
    )
)  # fmt: skip
