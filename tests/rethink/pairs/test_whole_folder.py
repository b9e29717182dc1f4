"""Folders that appear complete: what we did not make is never overwritten or removed, and a kill loses nothing."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rethink import atomic
from rethink.errors import RethinkError
from rethink.pairs import whole_folder
from rethink.pairs.exporting import export
from rethink.pairs.own_files import REPLACED, UNFINISHED
from rethink.pairs.whole_folder import finish_exports
from tests.support.hosts import PACK_ROOT


class Killed(BaseException):
    pass


def tree(folder):
    """{name: bytes} of all that is in a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_export_takes_the_place_of_an_earlier_one(store, tmp_path):
    export(store, "imagefolder", tmp_path / "out")
    assert export(store, "ai-toolkit", tmp_path / "out", replace=True) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert (tmp_path / "out/dataset.yaml").exists() and not (tmp_path / "out/metadata.jsonl").exists()


@pytest.mark.parametrize("file", ["diary.txt", "target/mine.png", "cache/latent.bin", ".hidden", "notes/"])
def test_what_was_put_into_an_export_by_hand_is_never_taken_away(store, tmp_path, file):
    export(store, "ai-toolkit", tmp_path / "out")
    path = tmp_path / "out" / file
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if file.endswith("/") else path.write_text("dear")
    before = tree(tmp_path)
    with pytest.raises(RethinkError, match=f"^replace: .*holds files that Rethink did not write.*: {file}"):
        export(store, "imagefolder", tmp_path / "out", replace=True)
    assert tree(tmp_path) == before and path.exists()


def test_a_caption_that_was_changed_by_hand_is_never_taken_away(store, tmp_path):
    export(store, "ai-toolkit", tmp_path / "out")
    (tmp_path / "out/target/00000000.txt").write_text("Do 2.")  # of the same length
    with pytest.raises(RethinkError, match="target/00000000.txt"):
        export(store, "ai-toolkit", tmp_path / "out", replace=True)
    assert (tmp_path / "out/target/00000000.txt").read_text() == "Do 2."


def test_what_the_system_puts_into_every_folder_is_in_nobodys_way(store, tmp_path):
    export(store, "ai-toolkit", tmp_path / "out")
    (tmp_path / "out/target/.DS_Store").write_bytes(b"x")
    assert export(store, "ai-toolkit", tmp_path / "out", replace=True) == 2


@pytest.mark.parametrize("kind", ["folder", "file", "link", "store"])
def test_what_is_no_export_is_never_replaced(store, tmp_path, kind):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    elif kind == "link":
        export(store, "imagefolder", tmp_path / "elsewhere")
        out.symlink_to(tmp_path / "elsewhere")
    elif kind == "store":
        shutil.copytree(store.folder, out)
    else:
        out.mkdir()
        (out / "README.md").write_text("Mine. Made with Rethink.\n")
    before = tree(tmp_path)
    with pytest.raises(RethinkError, match="^replace: "):
        export(store, "imagefolder", out, replace=True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("ending", ["part", "old"])
def test_a_users_hidden_folder_beside_it_is_left_alone(store, tmp_path, ending):
    export(store, "imagefolder", tmp_path / "out")
    mine = tmp_path / f".out.{ending}"
    mine.mkdir()
    (mine / "diary.txt").write_text("dear")
    if ending == "part":
        with pytest.raises(RethinkError, match="^export: .*out.part is in the way"):
            export(store, "imagefolder", tmp_path / "out", replace=True)
    else:
        assert export(store, "imagefolder", tmp_path / "out", replace=True) == 2
    assert tree(mine) == {"diary.txt": b"dear"}


def test_what_comes_in_while_it_is_replaced_is_kept(store, tmp_path):
    export(store, "imagefolder", tmp_path / "out")

    def add(done, total):
        (tmp_path / "out/diary.txt").write_text("dear")

    with pytest.raises(RethinkError, match="changed in the meantime"):
        export(store, "ai-toolkit", tmp_path / "out", add, replace=True)
    assert (tmp_path / "out/diary.txt").read_text() == "dear" and (tmp_path / "out/metadata.jsonl").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_two_exports_to_one_folder_do_not_mix(store, tmp_path):
    def second(done, total):
        with pytest.raises(RethinkError, match="another run"):
            export(store, "ai-toolkit", tmp_path / "out")

    assert export(store, "imagefolder", tmp_path / "out", second) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def is_whole(folder):
    """Whether it is one of the two exports, and nothing else."""
    names = {name for name in tree(folder) if not name.startswith(".")}
    return names in [
        {
            "README.md",
            "contact-sheet.jpg",
            "metadata.jsonl",
            *(f"{side}/0000000{n}.png" for side in ("input", "edited") for n in (0, 1)),
        },
        {
            "README.md",
            "contact-sheet.jpg",
            "dataset.yaml",
            *(f"target/0000000{n}.{e}" for n in (0, 1) for e in ("png", "txt")),
            *(f"control/0000000{n}.png" for n in (0, 1)),
        },
    ]


def test_a_folder_that_is_being_scanned_on_windows_is_moved_when_that_is_over(store, tmp_path, monkeypatch):
    move, scans = os.replace, [True] * 3

    def refuse(source, target):
        if scans and Path(source).is_dir():
            scans.pop()
            raise PermissionError(13, "in use")
        move(source, target)

    export(store, "imagefolder", tmp_path / "out")
    monkeypatch.setattr(atomic, "PAUSES", atomic.ON_WINDOWS)
    monkeypatch.setattr(os, "replace", refuse)
    assert export(store, "ai-toolkit", tmp_path / "out", replace=True) == 2
    assert not scans and is_whole(tmp_path / "out")


def test_a_folder_that_stays_open_on_windows_is_left_as_it_is(store, tmp_path, monkeypatch):
    export(store, "imagefolder", tmp_path / "out")
    before = tree(tmp_path)

    def refuse(source, target):
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(whole_folder, "move", refuse)
    with pytest.raises(
        RethinkError, match="Access is denied; close the program that has it open, or choose another folder"
    ):
        export(store, "ai-toolkit", tmp_path / "out", replace=True)
    assert tree(tmp_path) == before


def test_a_kill_at_any_step_of_a_replacement_loses_nothing_and_is_said(store, tmp_path, monkeypatch, caplog):
    """Every change of the disk in turn is the last that happens."""
    steps = ("unlink", "rmdir", "mkdir", "touch")
    moment, gone = 0, 0
    while True:
        root = tmp_path / str(moment)
        export(store, "imagefolder", root / "out")
        left = [moment]

        def dying(real, left=left):
            def step(file, *arguments, **options):
                if not left[0]:
                    raise Killed
                left[0] -= 1
                return real(file, *arguments, **options)

            return step

        with monkeypatch.context() as patched:
            for name in steps:
                patched.setattr(whole_folder.Path, name, dying(getattr(whole_folder.Path, name)))
            patched.setattr(whole_folder, "move", dying(whole_folder.move))
            patched.setattr(shutil, "rmtree", lambda *arguments, **options: None)
            try:
                export(store, "ai-toolkit", root / "out", replace=True)
                killed = False
            except Killed:
                killed = True
        missing = not (root / "out").exists()
        gone += missing
        caplog.clear()
        finish_exports(root)
        assert is_whole(root / "out"), moment
        assert ("has been completed" in caplog.text) == missing
        if not missing:
            export(store, "ai-toolkit", root / "out", replace=True)
            assert sorted(path.name for path in root.iterdir()) == ["out"] and is_whole(root / "out")
        moment += 1
        if not killed:
            break
    assert moment > 8 and gone


def test_kills_at_random_moments_of_replacements_lose_nothing(store, tmp_path):
    """A process that replaces an export for ever, as two layouts in turn, is killed again and again."""
    program = (
        "import sys; from rethink.pairs.exporting import export; from rethink.pairs.store import PairStore\n"
        "store = PairStore(sys.argv[1])\n"
        "for n in range(10 ** 6):\n"
        "    export(store, ('imagefolder', 'ai-toolkit')[n % 2], sys.argv[2], replace=True)\n"
        "    print(n, flush=True)\n"
    )
    export(store, "imagefolder", tmp_path / "out")
    pause = random.Random(0)
    for _ in range(3):
        run = subprocess.Popen(
            [sys.executable, "-c", program, str(store.folder), str(tmp_path / "out")],
            cwd=PACK_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert run.stdout.readline() == "0\n", run.stderr.read()
        time.sleep(pause.uniform(0, 0.2))
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        finish_exports(tmp_path)
        assert is_whole(tmp_path / "out")
    export(store, "imagefolder", tmp_path / "out", replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_what_a_kill_left_half_written_is_cleared_away(store, tmp_path):
    left = tmp_path / ".out.part"
    (left / "target").mkdir(parents=True)
    (left / UNFINISHED).touch()
    (left / "target/half.png").write_bytes(b"x")
    assert export(store, "imagefolder", tmp_path / "out") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"] and is_whole(tmp_path / "out")


def test_a_dataset_put_aside_whose_place_was_taken_is_said_and_kept(store, tmp_path):
    export(store, "imagefolder", tmp_path / ".out.part")
    export(store, "imagefolder", tmp_path / ".out.part" / REPLACED)
    (tmp_path / "out").mkdir()
    with pytest.raises(RethinkError, match="an earlier run was killed"):
        export(store, "imagefolder", tmp_path / "out")
    assert is_whole(tmp_path / ".out.part" / REPLACED)


def test_a_strangers_dataset_cannot_have_another_taken_away(store, tmp_path):
    export(store, "imagefolder", tmp_path / "mine")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / REPLACED).symlink_to(tmp_path / "mine")
    finish_exports(tmp_path)
    assert is_whole(tmp_path / "mine")
