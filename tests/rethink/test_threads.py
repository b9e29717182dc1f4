"""Threads that nobody has to wait for."""

import subprocess
import sys
import threading
import weakref
from contextvars import ContextVar

import pytest

from rethink.threads import DaemonThreads, ends_within, result_of
from tests.support.hosts import PACK_ROOT


def test_results_and_errors_come_where_they_are_asked_for():
    threads = DaemonThreads(2)
    assert [threads.submit(pow, 2, number).result(10) for number in range(5)] == [1, 2, 4, 8, 16]
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result(10)
    threads.end()


def test_a_result_is_waited_for_so_long_and_no_longer():
    threads, release = DaemonThreads(1), threading.Event()
    future = threads.submit(release.wait, 60)
    assert not ends_within(future, 0.3)
    release.set()
    assert ends_within(future, 60) and result_of(future) is True
    assert result_of(threads.submit(pow, 2, 3)) == 8
    threads.end()


def test_as_many_work_at_once_as_were_asked_for():
    threads, meeting = DaemonThreads(3), threading.Barrier(3)
    waiting = [threads.submit(meeting.wait, 10) for _ in range(3)]
    assert sorted(future.result(10) for future in waiting) == [0, 1, 2]
    threads.end()


def test_work_has_the_context_of_whoever_submits_it():
    threads, node = DaemonThreads(1), ContextVar("node", default="none")
    assert threads.submit(node.get).result(10) == "none"
    node.set("3")
    assert threads.submit(node.get).result(10) == "3", "also in a thread that is there already"
    threads.end()


def test_what_was_not_begun_is_cancelled():
    threads, begun, release = DaemonThreads(1), threading.Event(), threading.Event()
    first = threads.submit(lambda: (begun.set(), release.wait(10)))
    begun.wait(10)
    second = threads.submit(pow, 2, 2)
    threads.end()
    release.set()
    assert second.cancelled() and first.result(10)


class Thing:
    """Anything that takes up memory."""


def test_who_is_told_finds_no_thread_that_holds_on_to_what_it_was_given():
    threads, let_go, told, found, thing = DaemonThreads(1), threading.Event(), threading.Event(), [], Thing()
    held = weakref.ref(thing)
    future = threads.submit(lambda thing: let_go.wait(10), thing)
    del thing
    future.add_done_callback(lambda _: (found.append(held()), told.set()))
    let_go.set()
    assert told.wait(10) and found == [None]
    threads.end()


def test_python_ends_while_they_wait():
    script = (
        "import threading; from rethink.threads import DaemonThreads; DaemonThreads(1).submit(threading.Event().wait)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=PACK_ROOT, timeout=60).returncode == 0
