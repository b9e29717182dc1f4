"""Threads that block neither Ctrl-C nor the exit of Python."""

import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial
from typing import Any

POLL = 0.2  # seconds between checks for a result


def result_of(future: Future) -> Any:
    """Return or raise what a future does."""
    ends_within(future, math.inf)
    return future.result()


def ends_within(future: Future, seconds: float) -> bool:
    """Whether a future ends within `seconds`. It polls, because on Windows Ctrl-C does not interrupt one long wait."""
    end = time.monotonic() + seconds
    while not wait([future], max(0.0, min(POLL, end - time.monotonic()))).done:
        if time.monotonic() >= end:
            return False
    return True


class DaemonThreads:
    """A pool of `count` threads for work that waits on others.

    Unlike those of ThreadPoolExecutor, they do not keep Python from exiting while they wait.
    """

    def __init__(self, count: int):
        self._count = count
        self._work: queue.SimpleQueue[tuple[Future, Callable, tuple] | None] = queue.SimpleQueue()
        self._started: list[threading.Thread] = []

    def submit(self, do: Callable, *arguments: Any) -> Future:
        """A future for what `do(*arguments)` returns or raises, in the context (`contextvars`) of the caller."""
        future: Future = Future()
        self._work.put((future, copy_context().run, (do, *arguments)))
        if len(self._started) < self._count:
            thread = threading.Thread(target=self._run, daemon=True, name="rethink-thread")
            self._started.append(thread)
            thread.start()
        return future

    def end(self) -> None:
        """Cancel what has not started, and do not wait for the rest."""
        while True:
            try:
                work = self._work.get_nowait()
            except queue.Empty:
                break
            if work is not None:
                work[0].cancel()
        for _ in self._started:
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            tell = _done(*work)
            del work  # so that no thread still holds its arguments when the result is announced
            tell()
            del tell


def _done(future: Future, do: Callable, arguments: tuple) -> Callable[[], None]:
    """Run `do(*arguments)` and return the function that tells the future how it ended."""
    if not future.set_running_or_notify_cancel():
        return lambda: None
    try:
        return partial(future.set_result, do(*arguments))
    except BaseException as error:  # raised again when the result is requested
        return partial(future.set_exception, error)
    finally:
        del future  # it holds the error, and the error's traceback this frame
