"""What a node says while it works."""

import threading
from types import SimpleNamespace

import comfy.utils
import pytest
import server
from comfy import model_management

from rethink.threads import DaemonThreads


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


def test_cancel_ends_every_thread_of_a_call(part):
    progress, threads = part("nodes.comfy.progress"), DaemonThreads(1)
    with pytest.raises(model_management.InterruptProcessingException), progress.node_call():
        model_management.interrupt_current_processing()
        for _ in range(2):
            with pytest.raises(model_management.InterruptProcessingException):
                threads.submit(progress.stop_if_cancelled).result(10)
        progress.stop_if_cancelled()
    threads.end()


def test_a_thread_that_a_call_has_left_behind_takes_no_cancel_of_a_later_one(part):
    """One that waited for a hung server took it, and what was cancelled went on."""
    progress, threads = part("nodes.comfy.progress"), DaemonThreads(1)

    def look():
        over.wait(10)
        progress.stop_if_cancelled()

    over = threading.Event()
    with progress.node_call():
        progress.stop_if_cancelled()
        left_behind = threads.submit(look)
    with pytest.raises(model_management.InterruptProcessingException) as cancelled, progress.node_call():
        model_management.interrupt_current_processing()
        over.set()
        assert isinstance(left_behind.exception(10), model_management.InterruptProcessingException), "it ends"
        progress.stop_if_cancelled()
    assert cancelled.value is not left_behind.exception()
    threads.end()
