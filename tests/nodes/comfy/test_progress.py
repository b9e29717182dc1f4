"""What a node says while it works."""

from types import SimpleNamespace

import comfy.utils
import pytest
import server


def test_what_a_node_says_is_no_markup(part, monkeypatch):
    progress = part("nodes.comfy.progress")
    monkeypatch.setattr(progress, "get_executing_context", lambda: SimpleNamespace(node_id="1"))
    progress.show_status("2 × <img src=x onerror=alert(1)>.png: [[click|https://evil.test]]")
    assert server.texts == ["2 × ‹img src=x onerror=alert(1)›.png: [ [click|https://evil.test]]"]


def test_what_is_asked_for_cancel_again_and_again_sends_the_same_only_once(part):
    comfy.utils.reports.clear()
    report = part("nodes.comfy.progress").silent_progress()
    for done in (1, 1, 1, 2, 2):
        report(done, 4)
    assert [done for done, *_ in comfy.utils.reports] == [1, 2]


@pytest.mark.parametrize("kind", ["silent_progress", "count_progress"])
def test_a_second_stage_is_seen_from_its_beginning(part, monkeypatch, kind):
    progress = part("nodes.comfy.progress")
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    comfy.utils.reports.clear()
    report = getattr(progress, kind)()
    for done, total in ((250, 500), (500, 500), (1, 400), (2, 400), (400, 400)):
        report(done, total, *(["a line"] if kind == "count_progress" else []))
    assert [(done, total) for done, total, _ in comfy.utils.reports] == [
        *((250, 500), (500, 500)),
        *((1, 400), (2, 400), (400, 400)),
    ]
