"""Files that appear whole or not at all, and lock files that only one process can hold."""

import errno
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import RethinkError, reason_of

# Seconds before each new attempt at moving something into place. Elsewhere a refusal is final.
ON_WINDOWS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
PAUSES = ON_WINDOWS if sys.platform == "win32" else ()
_IN_USE = re.compile(r"os error (5|13|32|1224)\b")  # in safetensors' words
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}  # on this file system


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path to write to: it is moved to `path` at the end, and removed if anything is raised.

    Raises OSError if it cannot be written or moved (`move`).
    """
    temporary = _temp_path(path)
    try:
        yield temporary
        move(temporary, path)
    except BaseException:
        with suppress(OSError):  # the disk is gone; what was raised says more
            temporary.unlink(missing_ok=True)
        raise


def check_target(path: Path, name: str) -> None:
    """Check that a file can be written at `path`, and create its folder, before the work whose result it will hold.

    Raises RethinkError naming the input `name`.
    """
    try:
        if path.exists() and not path.is_file():
            what = "a folder; name a file in it" if path.is_dir() else "not a file; choose another place"
            raise RethinkError(f"{name}: {path} is {what}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        _temp_path(path).touch()
        _temp_path(path).unlink()
    except OSError as error:
        raise RethinkError(f"{name}: {path} cannot be written: {reason_of(error)}; choose another place.") from error
    except ValueError as error:  # a NUL in it
        if isinstance(error, RethinkError):
            raise
        raise RethinkError(f"{name}: {str(path)!r} is not a file name.") from error


def _temp_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder on its disk; an existing file of that name is replaced. Raises OSError.

    Windows cannot move anything that is open, such as a new file in a virus scanner, or models and results in ComfyUI,
    which lists them by their contents. So it is retried for a few seconds.
    """
    for pause in PAUSES:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            time.sleep(pause)
    os.replace(source, target)


@contextmanager
def in_use_as_error(output: Path) -> Iterator[None]:
    """Turn a failure to replace something in a results folder into a RethinkError, however the libraries report it.

    This happens on Windows while a model from these files is loaded.
    """
    try:
        yield
    except Exception as error:  # safetensors has an error class of its own
        if not (isinstance(error, PermissionError) or _IN_USE.search(str(error))):
            raise
        raise RethinkError(
            f"output: {output} cannot be replaced ({error}); close the program that has it open, such as ComfyUI, and "
            "start again: nothing has to be trained again."
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, created if it is missing; the system releases it when the process dies.

    Raises BlockingIOError if it is already held, even by this process, and OSError if it cannot be created. On a file
    system without locks, nothing is held.
    """
    with open(path, "a+b") as file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise BlockingIOError(error.errno, error.strerror) from error
        yield


def _lock(file: BinaryIO) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
