"""Files that appear whole or not at all."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TRIES, PAUSE = 10, 0.05  # of moving a file into its place, and seconds between them


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Where to write what shall stand at `path`: it is moved there in the end, and taken away if anything is raised.

    Raises OSError where it cannot be written. On Windows nothing takes the place of a file that is being read, by a
    scanner for viruses too: that passes, and is tried again for half a second before it is a PermissionError.
    """
    passing = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield passing
        _move(passing, path)
    except BaseException:
        passing.unlink(missing_ok=True)
        raise


def _move(passing: Path, path: Path) -> None:
    for left in reversed(range(TRIES)):
        try:
            return os.replace(passing, path)
        except PermissionError:
            if not left:
                raise
            time.sleep(PAUSE)
