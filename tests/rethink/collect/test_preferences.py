"""Preferences appear whole, and Hugging Face's loader reads them."""

import errno
import shutil

import pytest

from rethink.collect.preferences import Preference, write_preferences
from rethink.errors import RethinkError
from rethink.pairs.jsonl_log import DiskFull
from tests.support.trajectories import draw_images, write_trajectory


@pytest.fixture
def preference(tmp_path):
    run = write_trajectory(tmp_path / "run", (2, 9), images=draw_images(0, 2))
    return Preference(run, 1, 0, 9, 2)


def test_the_loader_of_hugging_face_reads_them(preference, tmp_path):
    datasets = pytest.importorskip("datasets")
    assert write_preferences([preference], tmp_path / "out") == 1
    (row,) = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert row["edit_prompt"] == "make it red" and {"input_image", "chosen", "rejected"} <= row.keys()
    best = preference.trajectory.image(preference.trajectory.steps[1])
    assert row["chosen"].tobytes() == (best[0] * 255).round().byte().numpy().tobytes()


def test_what_is_there_is_replaced_unless_it_was_changed(preference, tmp_path):
    for _ in range(2):
        write_preferences([preference], tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RethinkError, match="^replace: .*notes.txt"):
        write_preferences([preference], tmp_path / "out")


def test_a_full_disk_is_said(preference, tmp_path, monkeypatch):
    def copyfile(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with pytest.raises(DiskFull, match="free some space and run again"):
        write_preferences([preference], tmp_path / "preferences")
    assert not (tmp_path / "preferences").exists()
