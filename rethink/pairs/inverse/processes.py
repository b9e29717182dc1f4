"""Worker processes that damage images, each a plain Python of its own.

A worker reads one job per line from its standard input and answers with one line of drafts. It holds no state, starts in
a fraction of a second (no torch), and works whatever the pack's folder is called, unlike the standard library's pools.
When one dies, its job is tried once more in a new process, then skipped with that reason.
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
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from ...errors import RethinkError
from ..jsonl_log import DiskFull
from ..store import PairStore
from .drafts import PROCESS_DIED, Draft, SynthesisConfig, failed_drafts, operation_maker
from .sources import NamedBox, Source

PACKAGE = Path(__file__).resolve().parents[2]
START = (
    f"import sys; sys.path.insert(0, sys.argv[1]); from {PACKAGE.name}.pairs.inverse.processes import worker_main; "
    "worker_main()"
)
MAX_ATTEMPTS = 2  # per job: processes that may die over it
GRACE = 0.5  # seconds that threads get to finish when a run ends

Job = tuple[Source, Sequence[int]]


class Worker:
    """One process and the pipes to it."""

    def __init__(self, setup: bytes):
        self.setup = setup
        self.process = None

    def ask(self, line: bytes) -> dict:
        """Send a line, wait for the answer. Raises EOFError when the process dies."""
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
        """End the process, so that a thread waiting for its answer wakes up."""
        process = self.process  # which that thread may set to None meanwhile
        if process is not None:
            process.kill()

    def stop(self) -> None:
        """End the process and close its pipes."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def process_executor(
    count: int, store: PairStore, config: SynthesisConfig
) -> Callable[[Iterator[Job]], Generator[list[Draft], None, None]]:
    """The executor for `synthesize` that turns jobs into drafts in `count` processes, a few jobs ahead of the consumer."""
    setup = _line({"store": str(store.folder.resolve()), "config": asdict(config)})

    def execute(jobs: Iterator[Job]) -> Generator[list[Draft], None, None]:
        pool = _ProcessPool([Worker(setup) for _ in range(count)], jobs, config.key())
        try:
            yield from pool.drafts()
        finally:
            pool.end()

    return execute


class _ProcessPool:
    """Workers, each with a thread that feeds it jobs and puts its drafts into one queue."""

    def __init__(self, workers: list[Worker], jobs: Iterator[Job], key: str):
        self._workers, self._jobs, self._key = workers, jobs, key
        self._next_job, self._stopped = threading.Lock(), threading.Event()
        # lists of drafts; None: a worker has no more jobs; or an exception
        self._results = queue.Queue(4 * len(workers))
        self._threads = [threading.Thread(target=self._serve, args=[worker], daemon=True) for worker in workers]

    def drafts(self) -> Iterator[list[Draft]]:
        """The drafts of every job, in any order. Raises whatever taking or doing a job raised."""
        for thread in self._threads:
            thread.start()
        running = len(self._workers)
        while running:
            result = self._results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                running -= 1
            else:
                yield result

    def end(self) -> None:
        """Stop at once. A thread whose next job needs an answer from a server gets GRACE seconds and no more."""
        self._stopped.set()
        for worker in self._workers:
            worker.kill()
        end = time.monotonic() + GRACE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        for worker in self._workers:
            worker.stop()

    def _serve(self, worker: Worker) -> None:
        try:
            while not self._stopped.is_set():
                with self._next_job:
                    job = next(self._jobs, None)
                if job is None or self._stopped.is_set():
                    break
                self._put(_answer(worker, job, self._key, self._stopped))
            self._put(None)
        except BaseException as error:  # the consumer raises it
            self._put(error)

    def _put(self, result: list[Draft] | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                self._results.put(result, timeout=0.2)
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
    """The loop of a worker, until its standard input ends, as it does when the parent dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
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
