"""Files that one process holds."""

import errno
import subprocess
import sys

import pytest

from rethink import atomic
from rethink.atomic import locked
from tests.support.hosts import PACK_ROOT

HOLDS = """
import sys, time
from pathlib import Path
from rethink.atomic import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_held_once_and_let_go_of(tmp_path):
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock"):
        pass
    with locked(tmp_path / "lock"):
        pass
    with pytest.raises(OSError), locked(tmp_path / "missing" / "lock"):
        pass


def test_a_process_that_is_killed_leaves_no_lock(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, tmp_path / "lock"], cwd=PACK_ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), locked(tmp_path / "lock"):
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with locked(tmp_path / "lock"):
        pass


def test_a_file_system_without_locks_is_no_reason_to_refuse(tmp_path, monkeypatch):
    def none(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(atomic, "_lock", none)
    with locked(tmp_path / "lock"):
        pass
