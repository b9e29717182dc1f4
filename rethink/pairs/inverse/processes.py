"""Several at once: threads that wait for a server, and processes that damage pictures, each a plain Python of its own.

A worker reads one job a line from its standard input and answers with one line of drafts. It holds no state, starts in
a fraction of a second (no torch), and works under any name that the pack's folder has, which the pools of the standard
library do not. When one dies, its job is known: it is tried once more in a fresh process, then skipped with that reason.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import RethinkError
from ...threads import DaemonThreads
from ..jsonl_log import DiskFull
from ..store import PairStore
from .drafts import PROCESS_DIED, Draft, SynthesisConfig, failed_drafts, operation_maker
from .instructions import MapFn
from .sources import NamedBox, Source

PACKAGE = Path(__file__).resolve().parents[2]
START = f"import sys; sys.path.insert(0, sys.argv[1]); from {PACKAGE.name}.pairs.inverse.processes import worker_main; worker_main()"
MAX_ATTEMPTS = 2  # of the processes that had one job
POLL, PARTING = 0.2, 0.5  # seconds between two looks for a result, and for what is being asked when all ends

Job = tuple[Source, Sequence[int]]


def thread_map(count: int) -> MapFn:
    """Like `map`, results in the order of the jobs, but with `count` of them at once: for work that waits for a server.

    When it ends early, by an error, Cancel or Ctrl-C, what still waits for an answer is left a moment and no more.
    """

    def each(do: Callable, jobs: Iterable) -> Iterator:
        threads, ahead = DaemonThreads(count), deque()
        try:
            for job in jobs:
                ahead.append(threads.submit(do, job))
                if len(ahead) > 2 * count:
                    yield _result(ahead.popleft())
            while ahead:
                yield _result(ahead.popleft())
        finally:
            threads.end()
            wait(ahead, PARTING)

    return each if count > 1 else map


def _result(future: Future) -> Any:
    """What comes of a future; Ctrl-C ends the wait on Windows too, where it would not end a longer one."""
    while not wait([future], POLL).done:
        pass
    return future.result()


class Worker:
    """One process and the line to it."""

    def __init__(self, setup: bytes):
        self.setup = setup
        self.process = None

    def ask(self, line: bytes) -> dict:
        """Raises EOFError when the process dies over it."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, str(PACKAGE.parent)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            line = self.setup + line
        assert self.process.stdin and self.process.stdout, "the process has pipes"
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except OSError:
            answer = b""
        if not answer.endswith(b"\n"):
            self.stop()
            raise EOFError
        return json.loads(answer)

    def kill(self) -> None:
        """End the process, so that who waits for its answer, on another thread, waits no longer."""
        process = self.process  # which that thread may set to None meanwhile
        if process is not None:
            process.kill()

    def stop(self) -> None:
        """End the process and close the line to it."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def process_executor(
    count: int, store: PairStore, config: SynthesisConfig
) -> Callable[[Iterator[Job]], Generator[list[Draft], None, None]]:
    """For `synthesize`: jobs to drafts over `count` processes, a few jobs ahead of who consumes them."""
    setup = _line({"store": str(store.folder.resolve()), "config": asdict(config)})

    def execute(jobs: Iterator[Job]) -> Generator[list[Draft], None, None]:
        crew = _ProcessPool([Worker(setup) for _ in range(count)], jobs, config.key())
        try:
            yield from crew.drafts()
        finally:
            crew.end()

    return execute


class _ProcessPool:
    """Workers, each with a thread that brings it jobs and puts what it made into one queue."""

    def __init__(self, workers: list[Worker], jobs: Iterator[Job], key: str):
        self._workers, self._jobs, self._key = workers, jobs, key
        self._taking, self._over = threading.Lock(), threading.Event()
        self._made = queue.Queue(
            4 * len(workers)
        )  # lists of drafts; None: a worker has no more jobs; or what was raised
        self._threads = [threading.Thread(target=self._serve, args=[worker], daemon=True) for worker in workers]

    def drafts(self) -> Iterator[list[Draft]]:
        """What was made of the jobs, in any order. Raises what taking or doing a job has raised."""
        for thread in self._threads:
            thread.start()
        running = len(self._workers)
        while running:
            made = self._made.get()
            if isinstance(made, BaseException):
                raise made
            if made is None:
                running -= 1
            else:
                yield made

    def end(self) -> None:
        """Stop at once, whatever is being made; a thread that gets its job by asking a server is left a moment and no more."""
        self._over.set()
        for worker in self._workers:
            worker.kill()
        end = time.monotonic() + PARTING
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        for worker in self._workers:
            worker.stop()

    def _serve(self, worker: Worker) -> None:
        try:
            while not self._over.is_set():
                with self._taking:
                    job = next(self._jobs, None)
                if job is None or self._over.is_set():
                    break
                self._put(_answer(worker, job, self._key, self._over))
            self._put(None)
        except BaseException as error:  # told to the consumer, who raises it
            self._put(error)

    def _put(self, made: list[Draft] | BaseException | None) -> None:
        while not self._over.is_set():
            try:
                self._made.put(made, timeout=0.2)
                return
            except queue.Full:
                continue


def _answer(worker: Worker, job: Job, key: str, stop: threading.Event) -> list[Draft]:
    source, numbers = job
    line = _line({"source": asdict(source), "numbers": list(numbers)})
    for _ in range(MAX_ATTEMPTS):
        try:
            answer = worker.ask(line)
        except EOFError:
            if stop.is_set():
                return []
            continue
        if "full" in answer:
            raise DiskFull(answer["full"])
        if "wrong" in answer:
            raise RethinkError(answer["wrong"])
        return [Draft(**draft) for draft in answer["drafts"]]
    return failed_drafts(key, job, PROCESS_DIED)


def worker_main() -> None:
    """The loop of a worker: until its standard input ends, which it does when the parent dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends us
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints goes to the error stream
    setup = json.loads(sys.stdin.buffer.readline())
    make = operation_maker(PairStore(setup["store"]), _read_config(setup["config"]))
    for line in sys.stdin.buffer:
        job = json.loads(line)
        try:
            drafts = make(_read_source(job["source"]), job["numbers"])
            answer = {"drafts": [asdict(draft) for draft in drafts]}
        except DiskFull as error:
            answer = {"full": str(error)}
        except Exception as error:
            answer = {"wrong": f"pairs: a worker failed: {type(error).__name__}: {error}"}
        answers.write(_line(answer))


def _read_config(record: dict) -> SynthesisConfig:
    return SynthesisConfig(**{**record, "operations": tuple(record["operations"]), "area": tuple(record["area"])})


def _read_source(record: dict) -> Source:
    return Source(**{**record, "boxes": tuple(NamedBox(**{**s, "box": tuple(s["box"])}) for s in record["boxes"])})


def _line(record: dict) -> bytes:
    return json.dumps(record).encode() + b"\n"
