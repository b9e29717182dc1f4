"""Files that this process has in its memory: on Windows nothing can replace or remove them."""

from pathlib import Path

import pytest

MAPS = Path("/proc/self/maps")


def is_mapped(file):
    """Whether the file is mapped into this process; skips the test where the system does not tell."""
    if not MAPS.is_file():
        pytest.skip("This system does not list what is mapped into a process.")
    return str(file) in MAPS.read_text(encoding="utf-8")
