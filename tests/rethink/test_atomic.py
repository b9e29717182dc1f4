"""Files that one process holds."""

import errno
import os
import subprocess
import sys
import time

import pytest

from rethink import atomic
from rethink.atomic import locked, move
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


def test_what_is_read_for_seconds_is_replaced_when_that_is_over(tmp_path, monkeypatch):
    """As a large file is on Windows, by ComfyUI, which lists models by their contents."""
    seconds, replace = [0.0], os.replace
    monkeypatch.setattr(atomic, "PAUSES", atomic.ON_WINDOWS)
    monkeypatch.setattr(time, "sleep", lambda pause: seconds.__setitem__(0, seconds[0] + pause))

    def refuse(source, target):
        if seconds[0] < 5:
            raise PermissionError(13, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    (tmp_path / "new").write_text("new", encoding="utf-8")
    (tmp_path / "old").write_text("old", encoding="utf-8")
    move(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text(encoding="utf-8") == "new"
