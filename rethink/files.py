"""Files that appear whole or not at all."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import RethinkError

TRIES, PAUSE = 10, 0.05  # of moving a file into its place, and seconds between them


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Where to write what shall stand at `path`: it is moved there in the end, and taken away if anything is raised.

    Raises OSError where it cannot be written. On Windows nothing takes the place of a file that is being read, by a
    scanner for viruses too: that passes, and is tried again for half a second before it is a PermissionError.
    """
    passing = _passing(path)
    try:
        yield passing
        _move(passing, path)
    except BaseException:
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
        raise RethinkError(f"{name}: {path} cannot be written: {error.strerror or error}; choose another place.") from error
    except ValueError as error:  # a NUL in it
        if isinstance(error, RethinkError):
            raise
        raise RethinkError(f"{name}: {str(path)!r} is no name for a file.") from error


def _passing(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _move(passing: Path, path: Path) -> None:
    for left in reversed(range(TRIES)):
        try:
            return os.replace(passing, path)
        except PermissionError:
            if not left:
                raise
            time.sleep(PAUSE)
