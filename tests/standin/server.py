"""Stand-in for the server: what is sent to the front end is kept in `sent` as (event, data)."""

import json
from types import SimpleNamespace

sent: list[tuple[str, dict]] = []
running = ["prompt"]


def send_sync(event, data, sid=None):
    sent.append((event, json.loads(json.dumps(data, allow_nan=False))))


_queue = SimpleNamespace(get_current_queue=lambda: ([(0, prompt) for prompt in running], []))
PromptServer = SimpleNamespace(instance=SimpleNamespace(send_sync=send_sync, client_id="client", prompt_queue=_queue))
