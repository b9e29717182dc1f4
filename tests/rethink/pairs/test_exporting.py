"""Exports and a user's own files: what we did not make is never written over or taken away, and a kill loses nothing."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rethink.errors import RethinkError
from rethink.pairs.formats import describe_store, export, exporting
from rethink.pairs.formats.exporting import finish_exports
from rethink.pairs.own_files import REPLACED, UNFINISHED
from rethink.pairs.store import EditPair, PairStore
from tests.support.hosts import PACK_ROOT
from tests.support.pairs import draw_image as drawn


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two pairs."""
    with PairStore(tmp_path_factory.mktemp("exporting")).writing() as store:
        for number in (1, 2):
            paths = [f"images/00/{number}-{role}.png" for role in ("input", "target")]
            for seed, path in enumerate(paths):
                store.write_image(path, drawn(48, 64, 2 * number + seed))
            store.add(EditPair(f"{number:016x}", *paths, f"Do {number}."))
    return store


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
    with pytest.raises(RethinkError, match=f"^replace: .*holds what Rethink did not write.*: {file}"):
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

    with pytest.raises(RethinkError, match="has changed meanwhile"):
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


class Killed(BaseException):
    pass


def test_a_kill_at_any_step_of_a_replacement_loses_nothing_and_is_said(store, tmp_path, monkeypatch, caplog):
    """Every change of the disk in turn is the last that happens."""
    steps = ("rename", "unlink", "rmdir", "mkdir", "touch")
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
                patched.setattr(exporting.Path, name, dying(getattr(exporting.Path, name)))
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
        assert ("is whole again" in caplog.text) == missing
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
        "import sys; from rethink.pairs.formats import export; from rethink.pairs.store import PairStore\n"
        "store = PairStore(sys.argv[1])\n"
        "for n in range(10 ** 6):\n"
        "    export(store, ('imagefolder', 'ai-toolkit')[n % 2], sys.argv[2], replace=True)\n"
        "    print(n, flush=True)\n"
    )
    export(store, "imagefolder", tmp_path / "out")
    pause = random.Random(0)
    for _ in range(6):
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


# The store's own README


@pytest.mark.parametrize("name", ["README.md", "contact-sheet.jpg"])
def test_a_users_readme_and_sheet_in_the_folder_of_a_store_stay(tmp_path, name, caplog):
    (tmp_path / name).write_bytes(b"mine")
    with PairStore(tmp_path).writing() as store:
        store.write_image("images/00/a.png", np.zeros((8, 8, 3), np.uint8))
        store.add(EditPair("1" * 16, "images/00/a.png", "images/00/a.png", "x"))
    describe_store(store)
    assert (tmp_path / name).read_bytes() == b"mine" and name in caplog.text
    other = {"README.md", "contact-sheet.jpg"} - {name}
    assert (tmp_path / other.pop()).exists()


def test_a_stores_readme_is_brought_along_until_somebody_writes_in_it(tmp_path):
    with PairStore(tmp_path).writing() as store:
        for number in (1, 2):
            store.add(EditPair(f"{number:016x}", "images/00/a.png", "images/00/a.png", "x"))
            describe_store(store)
    readme = tmp_path / "README.md"
    assert "2 edit pairs" in readme.read_text()
    readme.write_text(readme.read_text() + "My notes.")
    describe_store(store)
    assert readme.read_text().endswith("My notes.")


def test_a_kill_while_a_readme_is_brought_along_leaves_it_ours(tmp_path, monkeypatch):
    with PairStore(tmp_path).writing() as store:
        store.add(EditPair("1" * 16, "images/00/a.png", "images/00/a.png", "x"))
    describe_store(store)
    real, left = os.replace, [0]

    def dying(*arguments):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real(*arguments)

    for moment in range(4):  # the list, both files, the list
        left[0] = moment
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", dying)
            with pytest.raises(Killed):
                describe_store(store)
        with store.writing():
            store.add(EditPair(f"{moment + 2:016x}", "images/00/a.png", "images/00/a.png", "x"))
        describe_store(store)
        assert f"{moment + 2} edit pairs" in (tmp_path / "README.md").read_text()
