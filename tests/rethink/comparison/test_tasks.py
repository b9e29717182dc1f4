"""What is edited: by content, whatever it is read from."""

import json
from dataclasses import replace

import pytest

from rethink.comparison.tasks import (
    images_in,
    tasks_from_folder,
    tasks_from_images,
    tasks_from_pairs,
    tasks_from_table,
)
from rethink.errors import RethinkError
from rethink.images import save_image
from rethink.pairs.store import EditPair, PairStore
from tests.support.comparisons import sources
from tests.support.lora_training import write_pairs


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, image in zip("ab", sources(2)):
        save_image(image, folder / f"{name}.png")
    return folder


def test_all_with_all_or_one_each(photos):
    images = images_in([photos])
    every = tasks_from_images(images, ["one", "two"])
    assert [(task.name, task.instruction) for task in every] == [
        ("a.png", "one"), ("a.png", "two"), ("b.png", "one"), ("b.png", "two")
    ]  # fmt: skip
    assert len({task.id for task in every}) == 4 and len({task.source for task in every}) == 2
    each = tasks_from_images(images, ["one", "two"], one_each=True)
    assert [task.id for task in each] == [every[0].id, every[3].id]
    captions = [("a", "a one"), ("b", "b two")]
    assert [task.captions for task in tasks_from_images(images, ["one", "two"], True, captions)] == captions
    with pytest.raises(RethinkError, match="source_caption: captions require one instruction"):
        tasks_from_images(images, ["one", "two"], captions=captions)


def test_the_same_image_and_words_are_one_task(photos):
    (photos / "copy.png").write_bytes((photos / "a.png").read_bytes())
    assert len(tasks_from_images(images_in([photos]), ["one", " one "])) == 2


def test_a_table(photos):
    table = photos / "tasks.jsonl"
    lines = [{"image": "a.png", "instruction": "one", "source_caption": "x", "edited_caption": "y"}]
    lines += [{"image": "b.png", "instruction": "two"}]
    table.write_text("\n".join(map(json.dumps, lines)))
    first, second = tasks_from_table(table)
    assert first.captions == ("x", "y") and second.captions is None
    as_pairs = {"image": "a.png", "instruction": "one", "input_caption": "x", "target_caption": "y"}
    table.write_text(json.dumps(as_pairs))
    assert tasks_from_table(table)[0].captions == ("x", "y"), "as a pair store calls them"
    table.write_text('{"image": "gone.png", "instruction": "one"}')
    with pytest.raises(RethinkError, match="--tasks: cannot read .*gone.png"):
        tasks_from_table(table)
    table.write_text('{"image": 3}')
    with pytest.raises(RethinkError, match="record 1 of .* needs “image”"):
        tasks_from_table(table)


def test_a_folder_with_a_text_beside_each_image(photos):
    (photos / "A.TXT").write_bytes("\ufeffmake it süß\r\n".encode("utf-16-le"))
    (photos / "b.txt").write_text(" make it blue\n")
    (photos / "notes.txt").write_text("of no image")
    (photos / "._a.png").write_bytes(b"which macOS leaves there")
    found = tasks_from_folder(photos)
    assert [(task.name, task.instruction) for task in found] == [("a.png", "make it süß"), ("b.png", "make it blue")]
    assert found[1].load().shape == (1, 16, 16, 3)


def test_images_without_an_instruction_are_named(photos):
    (photos / "a.txt").write_text(" \n")
    with pytest.raises(
        RethinkError, match=r"^images: 2 of 2 in .*photos have no instruction: a.png, b.png; write each"
    ):
        tasks_from_folder(photos)
    for number in range(5):
        (photos / f"c{number}.png").write_bytes((photos / "a.png").read_bytes())
    with pytest.raises(RethinkError, match="7 of 7 in .*: a.png, b.png, c0.png, c1.png, c2.png and 2 more; "):
        tasks_from_folder(photos)
    (photos / "a.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(RethinkError, match="^images: the instruction in .*a.txt: its text cannot be read: .*damaged"):
        tasks_from_folder(photos)


def test_pairs_know_their_targets(photos, tmp_path):
    with PairStore(tmp_path / "pairs").writing() as store:
        for number, name in enumerate("ab"):
            (store.folder / "images").mkdir(exist_ok=True)
            for side in ("input", "target"):
                (store.folder / f"images/{name}-{side}.png").write_bytes((photos / f"{name}.png").read_bytes())
            store.add(
                EditPair(f"id{number}", f"images/{name}-input.png", f"images/{name}-target.png", f"make {name} red")
            )
    found = tasks_from_pairs(PairStore(tmp_path / "pairs"), 1)
    assert [task.instruction for task in found] == ["make a red"] and found[0].load_target().shape == (1, 16, 16, 3)
    PairStore(tmp_path / "pairs").set_verdict("id0", False)
    assert [task.instruction for task in tasks_from_pairs(PairStore(tmp_path / "pairs"))] == ["make b red"]


def test_what_is_missing_is_said(photos, tmp_path):
    images = images_in([photos])
    for call, why in (
        (lambda: images_in([tmp_path / "gone"]), "images: .*gone does not exist"),
        (lambda: images_in([tmp_path]), "is a folder without images"),
        (lambda: tasks_from_images([], ["one"]), "images: there are none"),
        (lambda: tasks_from_images(images, []), "instruction: say what to change"),
        (lambda: tasks_from_images(images, [" "]), "instruction: is empty"),
        (
            lambda: tasks_from_images(images, ["one"], one_each=True),
            "instruction: with one_each, give one for each image \\(2\\); got 1",
        ),
        (lambda: tasks_from_pairs(PairStore(tmp_path / "none")), "has no accepted pairs"),
    ):
        with pytest.raises(RethinkError, match=why):
            call()


def test_pairs_with_references_bring_them_along_and_other_ones_are_another_task(tmp_path):
    store = write_pairs(tmp_path / "pairs", 2, references=(0, 2))
    plain, dressed = tasks_from_pairs(store)
    assert plain.load_references == () and [load().shape[2] for load in dressed.load_references] == [32, 48]
    pair = list(store)[1]
    with store.writing():
        store.add(replace(pair, id="turned", references=pair.references[::-1]))
        store.add(replace(pair, id="without", references=()))
    assert len({task.id for task in tasks_from_pairs(store)}) == 4
