"""Stand-in for the server: what is sent to the front end is kept in `sent` as (event, data), what is served in `served`."""

import json
from types import SimpleNamespace

sent: list[tuple[str, dict]] = []
running = ["prompt"]
workflow = {"extra_pnginfo": {"workflow": {"id": "workflow"}}}
served: dict[tuple[str, str], object] = {}


def send_sync(event, data, sid=None):
    sent.append((event, json.loads(json.dumps(data, allow_nan=False))))


def _route(method, path):
    return lambda handler: served.update({(method, path): handler})


_queue = SimpleNamespace(get_current_queue=lambda: ([(0, prompt, {}, workflow) for prompt in running], []))
PromptServer = SimpleNamespace(
    instance=SimpleNamespace(
        send_sync=send_sync, client_id="client", prompt_queue=_queue, routes=SimpleNamespace(route=_route)
    )
)
