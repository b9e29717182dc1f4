"""What all operations have in common: pixels, masks, seeds, sentences, and that a file in the folder is all that one takes."""

import json
import string
from pathlib import Path

import numpy as np
import pytest

from rethink.errors import RethinkError
from rethink.pairs.inverse import operations
from rethink.pairs.inverse.operations import MENU, OPERATIONS, Region, bounding_box, get_operation
from tests.support.operations import apply_by_seed
from tests.support.pairs import draw_image, load_photographs

PHOTOGRAPHS = load_photographs()
DRAWS = Path(__file__).with_name("draws.json")  # {operation: its values of seeds 0…3}


def test_menus_keep_their_order_and_a_module_bears_its_operations_name():
    assert list(OPERATIONS)[: len(MENU)] == list(MENU)
    folder = Path(operations.__file__).parent
    assert all((folder / f"{id}.py").is_file() for id in OPERATIONS)


def test_a_new_file_is_a_new_operation_at_the_end_of_the_menu(monkeypatch, tmp_path):
    for name in ("zoom", "aging"):
        (tmp_path / f"{name}.py").write_text(
            "from rethink.pairs.inverse.operations.core import Operation\n"
            f"OPERATION = Operation({name!r}, 'image', '', {{}}, None, {{'': ('Undo it.',)}})\n"
        )
    (tmp_path / "helpers.py").write_text("SHARED = 1\n")
    monkeypatch.setattr(operations, "__path__", [*operations.__path__, str(tmp_path)])
    found = list(operations._find_operations())
    assert found[: len(MENU)] == list(MENU) and found[len(MENU) :] == sorted({*OPERATIONS, "aging", "zoom"} - {*MENU})


@pytest.mark.parametrize("id", OPERATIONS)
def test_a_seed_draws_what_it_has_always_drawn(id):
    """Else the pairs of a run that goes on would not fit those that are there."""
    draws = [get_operation(id).draw(np.random.default_rng(seed), {}) for seed in range(4)]
    known = json.loads(DRAWS.read_text())
    assert id in known, f'a new operation: add "{id}": {json.dumps(draws)} to {DRAWS.name}'
    assert draws == known[id]


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("id", OPERATIONS)
def test_pixels_outside_are_bit_identical_and_inside_something_changes(id, name):
    image = PHOTOGRAPHS[name]
    before = image.copy()
    for seed in range(3):
        result = apply_by_seed(id, image, seed)
        assert result.image.dtype == np.uint8 and result.image.shape == image.shape
        assert result.mask.shape == image.shape[:2] and result.mask.any()
        assert (result.image[~result.mask] == image[~result.mask]).all()
        assert (result.image != image).any()
    assert (image == before).all(), "the original was written to"


@pytest.mark.parametrize("id", OPERATIONS)
def test_everything_follows_from_the_seed(id):
    image = draw_image()
    assert (apply_by_seed(id, image, 7).image == apply_by_seed(id, image, 7).image).all()
    draws = [get_operation(id).draw(np.random.default_rng(seed), {}) for seed in range(8)]
    if get_operation(id).ranges:
        assert any(values != draws[0] for values in draws)


@pytest.mark.parametrize("size", [(16, 16), (16, 300), (257, 31), (97, 101)])
@pytest.mark.parametrize("id", OPERATIONS)
def test_odd_sizes(id, size):
    image = draw_image(64, 64)[:16, :16] if size == (16, 16) else np.resize(draw_image(), (*size, 3))
    for seed in range(3):
        assert apply_by_seed(id, np.ascontiguousarray(image), seed).image.shape == (*size, 3)


@pytest.mark.parametrize(
    ("id", "choices"),
    [
        (
            "cover",
            [
                {"shape": shape, "fill": fill}
                for shape in ("square", "ellipse", "scribble")
                for fill in ("black", "white", "colour", "noise")
            ],
        ),
        ("weather", [{"kind": kind} for kind in ("rain", "snow", "haze")]),
        ("distort", [{"kind": kind} for kind in ("rotate", "perspective", "shuffle")]),
        ("exposure", [{"kind": kind} for kind in ("dark", "bright", "cast")]),
        ("relight", [{"kind": kind} for kind in ("flat", "dark")]),
        ("line_art", [{"kind": kind} for kind in ("pencil", "ink", "edges")]),
        ("watermark", [{"kind": kind} for kind in ("text", "tiled", "stamp")]),
    ],
)
def test_every_kind_does_something_of_its_own(id, choices):
    results = [apply_by_seed(id, draw_image(), 1, narrower).image.tobytes() for narrower in choices]
    assert len(set(results)) == len(choices)


def test_a_mask_limits_what_is_done_to_the_whole_image():
    image = draw_image()
    mask = np.zeros(image.shape[:2], bool)
    mask[10:30, 10:50] = True
    for id, operation in OPERATIONS.items():
        if operation.where == "image":
            result = apply_by_seed(id, image, 2, region=Region(bounding_box(mask), mask))
            assert (result.mask == mask).all() and (result.image[~mask] == image[~mask]).all()


@pytest.mark.parametrize("id", OPERATIONS)
def test_what_is_hidden_is_said_in_words_that_the_result_knows(id):
    names = {name for _, name, _, _ in string.Formatter().parse(OPERATIONS[id].hidden_what) if name}
    assert names <= set(apply_by_seed(id, draw_image()).template_vars)


def test_an_unknown_operation_is_refused_with_the_known_ones():
    with pytest.raises(RethinkError, match="cover"):
        get_operation("explode")
