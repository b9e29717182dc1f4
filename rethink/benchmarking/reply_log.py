"""The judge's replies, each by its question, so that the same question about the same images is asked once; and the lock of their
folder, which only one run may write to at a time."""

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
    """The key of a question. judge: its name and settings. parts: texts, and the bytes of images, in order."""
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
    """An append-only file of replies, for any number of threads; only positions in the file are kept in memory.

    alone: whether no other run can be writing to it, because its folder is locked (`hold_folder`).
    """

    def __init__(self, folder: Path, alone: bool = True):
        self._log = JsonlLog(folder / NAME, fields_are(id=str, reply=str))
        if alone:
            self._log.repair()
        else:
            self._log.end_line()
        self._index, self._lock = LatestIndex(self._log), threading.Lock()

    def find(self, key: str) -> str | None:
        """The reply to a question that was asked before; None if it was not."""
        with self._lock:
            if key not in self._index:
                return None
            return next(self._index.records([key]))["reply"]

    def add(self, key: str, reply: str, item: str, question: str) -> None:
        """Log a reply. item, question: for people who read the file."""
        with self._lock:
            self._log.append({"id": key, "item": item, "question": question, "reply": reply})
            self._index.refresh()


@contextmanager
def hold_folder(folder: Path, lock: str = LOCK, name: str = "-o") -> Iterator[None]:
    """Lock a results folder, creating it if needed. lock: the lock file. name: the input that names the folder.

    Raises RethinkError if another run holds the lock, or if the folder is not writable.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder / lock))
        except BlockingIOError as error:
            raise RethinkError(
                f"{name}: another run is writing to {folder}; wait for it, or choose another folder."
            ) from error
        except OSError as error:
            raise RethinkError(f"{name}: cannot write to {folder}: {error.strerror}.") from error
        yield
