"""Files that appear whole or not at all, and files that one process holds."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import RethinkError

TRIES, PAUSE = 10, 0.05  # of moving a file into its place, and seconds between them
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}  # on this file system


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Where to write what shall stand at `path`: it is moved there in the end, and taken away if anything is raised.

    Raises OSError where it cannot be written. On Windows nothing takes the place of a file that is being read, by a
    scanner for viruses too: that passes, and is tried again for half a second before it is a PermissionError.
    """
    passing = _passing(path)
    try:
        yield passing
        _move(passing, path)
    except BaseException:
        with suppress(OSError):  # the disk that is gone; what was raised says more
            passing.unlink(missing_ok=True)
        raise


def check_target(path: Path, name: str) -> None:
    """See that a file can be written at `path`, whose folder is made, before the work is done that it is to hold.

    Raises RethinkError naming the input `name`.
    """
    try:
        if path.exists() and not path.is_file():
            what = "a folder; name a file in it" if path.is_dir() else "no file; choose another place"
            raise RethinkError(f"{name}: {path} is {what}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        _passing(path).touch()
        _passing(path).unlink()
    except OSError as error:
        raise RethinkError(
            f"{name}: {path} cannot be written: {error.strerror or error}; choose another place."
        ) from error
    except ValueError as error:  # a NUL in it
        if isinstance(error, RethinkError):
            raise
        raise RethinkError(f"{name}: {str(path)!r} is no name for a file.") from error


def _passing(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _move(passing: Path, path: Path) -> None:
    for left in reversed(range(TRIES)):
        try:
            os.replace(passing, path)
            return
        except PermissionError:
            if not left:
                raise
            time.sleep(PAUSE)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, made where it is missing; the system lets go of it when the process dies.

    Raises BlockingIOError where it is held already, by this process too, and OSError where it cannot be made. On a file
    system that has no locks nothing is held.
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
