"""What a node says while it works."""

from types import SimpleNamespace

import server


def test_what_a_node_says_is_no_markup(part, monkeypatch):
    progress = part("nodes.comfy.progress")
    monkeypatch.setattr(progress, "get_executing_context", lambda: SimpleNamespace(node_id="1"))
    progress.show_status("2 × <img src=x onerror=alert(1)>.png: [[click|https://evil.test]]")
    assert server.texts == ["2 × ‹img src=x onerror=alert(1)›.png: [ [click|https://evil.test]]"]
