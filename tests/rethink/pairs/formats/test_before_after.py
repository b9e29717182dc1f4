"""Images before and after, however their owner has named them."""

import pytest
from PIL import Image

from rethink.errors import RethinkError
from rethink.pairs.formats.before_after import SIDES
from rethink.pairs.importing import import_dataset
from rethink.pairs.store import PairStore
from tests.support.pairs import draw_image


def write(path, seed, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_image(seed=seed)).save(path)
    if text:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")


def read(folder, tmp_path, **more):
    """({instruction}, {name: why}, whether every input is darker than its target) of what was read."""
    why = {}
    with PairStore(tmp_path / "store").writing() as store:
        import_dataset(store, "before-after", folder, lambda name, reason: why.update({name: reason}), **more)
    return sorted(pair.instruction for pair in store), why, store


@pytest.mark.parametrize("sides", SIDES)
def test_two_folders_with_equal_names(tmp_path, sides):
    before, after = (tmp_path / "set" / side.title() for side in sides)
    write(before / "a.jpg", 0)
    write(after / "A.png", 1, "make it red")
    write(before / "b.png", 2)
    instructions, why, store = read(tmp_path / "set", tmp_path)
    assert instructions == ["make it red"] and why == {
        f"{before.name}/b.png": f"{after.name} has no image of this name"
    }
    (pair,) = store
    assert (store.read_image(pair.target) == draw_image(seed=1)).all()


@pytest.mark.parametrize("mark", ["_", "-"])
def test_one_folder_of_names_with_endings(tmp_path, mark):
    write(tmp_path / f"set/a{mark}start.png", 0)
    write(tmp_path / f"set/a{mark}end.png", 1)
    write(tmp_path / f"set/b{mark}before.png", 2)
    write(tmp_path / f"set/b{mark}after.png", 3)
    write(tmp_path / "set/lonely.png", 4)
    (tmp_path / "set/a.txt").write_text("make it red")
    (tmp_path / "set/instruction.txt").write_text("make it blue\n")
    instructions, _, store = read(tmp_path / "set", tmp_path)
    assert instructions == ["make it blue", "make it red"]
    red = next(pair for pair in store if pair.instruction == "make it red")
    assert (store.read_image(red.input) == draw_image(seed=0)).all()


def test_one_instruction_for_all_that_have_none(tmp_path):
    write(tmp_path / "set/before/a.png", 0)
    write(tmp_path / "set/after/a.png", 1)
    instructions, why, _ = read(tmp_path / "set", tmp_path)
    assert instructions == [] and why == {"after/a.png": "it has no instruction"}
    instructions, why, _ = read(tmp_path / "set", tmp_path, instruction="make it red")
    assert instructions == ["make it red"] and why == {}


def test_several_images_of_a_name_are_no_pair(tmp_path):
    for name in ("before/a.png", "before/a.jpg", "after/a.png"):
        write(tmp_path / "set" / name, 0, "x")
    assert read(tmp_path / "set", tmp_path)[1] == {"after/a.png": "there are several images of this name"}


def test_a_folder_of_something_else_is_one_sentence(tmp_path):
    write(tmp_path / "set/holiday.png", 0)
    with pytest.raises(RethinkError, match="no pairs in the layout before-after: it holds holiday.png"):
        read(tmp_path / "set", tmp_path)


def read_references(store):
    """{instruction: the numbers of what its references were drawn with}."""
    drawn = {draw_image(seed=seed).tobytes(): seed for seed in range(10)}
    return {pair.instruction: [drawn[store.read_image(path).tobytes()] for path in pair.references] for pair in store}


def test_references_are_numbered_starts(tmp_path):
    for seed, name in enumerate(("a_start", "a_end", "a_start2", "a_start3", "b_start", "b_end")):
        write(tmp_path / f"set/{name}.png", seed, name[0] if name.endswith("end") else "")
    instructions, why, store = read(tmp_path / "set", tmp_path)
    assert instructions == ["a", "b"] and not why and read_references(store) == {"a": [2, 3], "b": []}


@pytest.mark.parametrize("mark", ["-", "_", "", " "])
def test_references_are_in_numbered_folders(tmp_path, mark):
    for seed, name in enumerate(("before/a", "after/a", f"before{mark}2/a", f"before{mark}3/A", "before/b", "after/b")):
        write(tmp_path / f"set/{name}.png", seed, name[-1] if "after" in name else "")
    instructions, why, store = read(tmp_path / "set", tmp_path)
    assert instructions == ["a", "b"] and not why and read_references(store) == {"a": [2, 3], "b": []}


def test_a_second_pair_of_folders_is_none_of_references(tmp_path):
    for seed, name in enumerate(("before/a", "after/a", "before2/a", "after2/a", "before3/a")):
        write(tmp_path / f"set/{name}.png", seed, "x" if name == "after/a" else "")
    assert read_references(read(tmp_path / "set", tmp_path)[2]) == {"x": [4]}


@pytest.mark.parametrize("mark", ["-", "_", "", " "])
def test_marks_before_the_number_of_a_reference_are_read(tmp_path, mark):
    for seed, name in enumerate(("a_start", "a_end", f"a_start{mark}2")):
        write(tmp_path / f"set/{name}.png", seed, "x" if name == "a_end" else "")
    assert read_references(read(tmp_path / "set", tmp_path)[2]) == {"x": [2]}


def test_what_looks_like_a_reference_and_is_none_is_named(tmp_path):
    names = ("a_start", "a_end", "a_start02", "a_start1", "b_start", "b_end", "b_start3", "holiday2")
    for seed, name in enumerate(names):
        write(tmp_path / f"set/{name}.png", seed, name[0] if name.endswith("end") else "")
    instructions, why, store = read(tmp_path / "set", tmp_path)
    no_pair = "it belongs to no pair; references are called NAME_start2, NAME_start3, …"
    assert instructions == ["a"] and read_references(store) == {"a": []}
    assert why.pop("b") == ("image 2 is missing, but a later one exists (“b_start3”); add it, or renumber them from 2")
    assert why == {"a_start02.png": no_pair, "a_start1.png": no_pair}


def test_several_files_of_a_reference_are_no_pair(tmp_path):
    for seed, name in enumerate(
        ("a_start.png", "a_end.png", "a_start2.png", "a_start2.jpg", "b_start.png", "b_end.png")
    ):
        write(tmp_path / "set" / name, seed, name[0])
    instructions, why, _ = read(tmp_path / "set", tmp_path)
    assert instructions == ["b"] and why == {"a": "there are 2 images of the name “a_start2”"}


def test_the_reference_that_cannot_be_read_is_named(tmp_path):
    for seed, name in enumerate(("a_start", "a_end", "a_start2", "a_start3")):
        write(tmp_path / f"set/{name}.png", seed, "x")
    (tmp_path / "set/a_start3.png").write_text("no image")
    assert read(tmp_path / "set", tmp_path)[1]["a"].startswith("its image 3 cannot be read as an image")
