"""The judge's replies, each by what it was asked: the same question about the same images is asked once. And the folder that they lie
in, which one run writes to at a time."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..atomic import locked
from ..errors import RethinkError
from ..pairs.jsonl_log import JsonlLog, LatestIndex, fields_are

NAME, LOCK = "judge-replies.jsonl", ".rethink-lock"


def reply_key(judge: str, parts: Sequence[str | bytes]) -> str:
    """What a question is known by. judge: its name and settings. parts: texts, and the bytes of images, in their order."""
    digest = hashlib.sha256(judge.encode())
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(f"\n{'text' if isinstance(part, str) else 'image'} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def judge_identity(name: str, max_tokens: int, temperature: float, seed: int) -> str:
    """What an answer depends on besides the question."""
    return f"{name} {max_tokens} {temperature:g} {seed}"


class ReplyLog:
    """An append-only file of replies, for any number of threads; only places in the file are held in memory.

    alone: whether no other run can be writing to it, as where its folder is held (`hold_folder`).
    """

    def __init__(self, folder: Path, alone: bool = True):
        self._log = JsonlLog(folder / NAME, fields_are(id=str, reply=str))
        if alone:
            self._log.repair()
        else:
            self._log.end_line()
        self._index, self._lock = LatestIndex(self._log), threading.Lock()

    def find(self, key: str) -> str | None:
        """The reply to a question that was asked before."""
        with self._lock:
            if key not in self._index:
                return None
            return next(self._index.records([key]))["reply"]

    def add(self, key: str, reply: str, item: str, question: str) -> None:
        """Note a reply. item, question: for people who read the file."""
        with self._lock:
            self._log.append({"id": key, "item": item, "question": question, "reply": reply})
            self._index.refresh()


@contextmanager
def hold_folder(folder: Path, lock: str = LOCK, name: str = "-o") -> Iterator[None]:
    """Hold a folder of results, which is made if need be. lock: the file that says so. name: of the input that names the folder.

    Raises RethinkError where another run does, or where it cannot be written.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder / lock))
        except BlockingIOError as error:
            raise RethinkError(
                f"{name}: another run is writing to {folder}; wait for it, or choose another."
            ) from error
        except OSError as error:
            raise RethinkError(f"{name}: cannot write to {folder}: {error.strerror}.") from error
        yield
