"""Pairs as people have them: a store, two folders, one folder with endings, another trainer's dataset."""

import shutil

import pytest

from rethink.errors import RethinkError
from rethink.pairs.exporting import export
from rethink.pairs.open_pairs import open_pairs
from tests.support.lora_training import write_pairs


@pytest.fixture
def store(tmp_path):
    return write_pairs(tmp_path / "store", 2)


def lay_out(store, folder, name):
    """Copies of the images under what `name` makes of (id, side)."""
    for pair in store:
        for side, path in (("before", pair.input), ("after", pair.target)):
            place = folder / name(pair.id, side)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(store.file(path), place)
    return folder


def contents(pairs):
    return sorted(
        (p.instruction, pairs.read_image(p.input).tobytes(), pairs.read_image(p.target).tobytes()) for p in pairs
    )


def test_a_store_is_opened_as_it_is(store, tmp_path):
    assert open_pairs(store.folder, tmp_path / "into").folder == store.folder and not (tmp_path / "into").exists()


@pytest.mark.parametrize("name", [lambda id, side: f"{side}/{id}.png", lambda id, side: f"{id}_{side}.png"])
def test_images_before_and_after_are_read(store, tmp_path, name):
    folder = lay_out(store, tmp_path / "set", name)
    for _ in range(2):  # again: they are there already
        assert contents(open_pairs(folder, tmp_path / "into", instruction="make it red")) == contents(store)


def test_what_is_gone_or_said_otherwise_since_is_not_among_them(store, tmp_path):
    folder = lay_out(store, tmp_path / "set", lambda id, side: f"{side}/{id}.png")
    assert len(list(open_pairs(folder, tmp_path / "into", instruction="make it red"))) == 2
    gone = sorted((folder / "before").iterdir())[0].name
    for side in ("before", "after"):
        (folder / side / gone).unlink()
    (left,) = open_pairs(folder, tmp_path / "into", instruction="turn it red")
    assert left.instruction == "turn it red"


def test_two_folders_anywhere(store, tmp_path):
    lay_out(store, tmp_path, lambda id, side: f"{side} of mine/{id}.png")
    read = open_pairs(tmp_path / "before of mine", tmp_path / "into", tmp_path / "after of mine", "make it red")
    assert contents(read) == contents(store)


@pytest.mark.parametrize("name", ["ai-toolkit", "fal-zip", "imagefolder", "diffsynth"])
def test_the_datasets_of_other_trainers(store, tmp_path, name):
    export(store, name, tmp_path / "set")
    assert contents(open_pairs(tmp_path / "set", tmp_path / "into")) == contents(store)


def test_what_is_wrong_is_said(store, tmp_path):
    with pytest.raises(RethinkError, match="^pairs: there is no .*nowhere"):
        open_pairs(tmp_path / "nowhere", tmp_path / "into")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        RethinkError, match="has no pairs; it is empty. Give a pair store, a folder with the subfolders “before”"
    ):
        open_pairs(tmp_path / "empty", tmp_path / "into")
    folder = lay_out(store, tmp_path / "set", lambda id, side: f"{side}/{id}.png")
    with pytest.raises(
        RethinkError, match="has no pairs .most common problem: it has no instruction.; it holds after, before"
    ):
        open_pairs(folder, tmp_path / "into")


def test_what_is_left_out_of_the_layout_that_is_read_is_told(store, tmp_path):
    folder = lay_out(store, tmp_path / "set", lambda id, side: f"{side}/{id}.png")
    first = min((folder / "before").iterdir())
    first.write_text("no image")
    skipped = []
    pairs = open_pairs(folder, tmp_path / "into", None, "make it red", lambda *skip: skipped.append(skip))
    assert len(list(pairs)) == 1
    [(name, why)] = skipped
    assert name == f"after/{first.name}" and why.startswith("cannot be read as an image")
