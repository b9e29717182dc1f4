"""Inputs that several nodes share, and what comes through them."""

from dataclasses import dataclass

import pytest
import torch

from rethink.options import option


@dataclass(frozen=True)
class Job:
    steps: int = option(4, "How many.", low=1, high=9)
    share: float = option(0.5, "How much.", low=0.0, high=1.0, step=0.1, advanced=True)
    kind: str = option("a", "Which.", choices=("a", "b"))
    words: str = option("", "What.")
    switch: bool = option(False, "Whether.")
    area: tuple[float, float] = option((0.1, 0.2), "Share of it.", low=0.0, high=1.0)


@pytest.fixture
def inputs(part):
    return part("nodes.inputs")


def test_the_input_of_a_field_has_its_default_limits_and_help(inputs):
    made = {name: inputs.field_input(Job, name) for name in ("steps", "share", "kind", "words", "switch")}
    assert {name: each.io_type for name, each in made.items()} == {
        "steps": "INT",
        "share": "FLOAT",
        "kind": "COMBO",
        "words": "STRING",
        "switch": "BOOLEAN",
    }
    steps, share, kind = (made[name].described for name in ("steps", "share", "kind"))
    assert (steps["default"], steps["min"], steps["max"], steps["tooltip"]) == (4, 1, 9, "How many.")
    assert (share["step"], share["advanced"]) == (0.1, True) and kind["options"] == ["a", "b"]
    assert inputs.field_input(Job, "steps", "turns", optional=True).id == "turns"


def test_a_range_is_two_inputs(inputs):
    low, high = inputs.range_inputs(Job, "area", ("least", "most"), ("lowest", "highest"))
    assert (low.id, high.id, low.default, high.default) == ("least", "most", 0.1, 0.2)
    assert (
        low.described["tooltip"] == "Share of it. This is the minimum." and high.described["display_name"] == "highest"
    )


def test_the_input_s_name_is_left_out_of_what_comfyui_puts_behind_it(inputs, RethinkError):
    def refuse(value):
        raise RethinkError(f"editor: there is no {value}.")

    assert inputs.validate_with(refuse, "x") == "there is no x."
    assert inputs.validate_with(refuse, None) is True, "a link"
    assert inputs.validate_with(str, "x") is True


def test_any_value_is_an_option(inputs):
    assert "gone.safetensors" in inputs.AnyOption(["a"]) and list(inputs.AnyOption(["a"])) == ["a"]


def test_one_value_is_unpacked_and_a_list_is_refused_with_the_advice(inputs, RethinkError):
    assert inputs.single_values({"seed": [7], "steps": [2]}, "no") == {"seed": 7, "steps": 2}
    with pytest.raises(RethinkError, match=r"^seed: takes one value, got a list of 2; take one\.$"):
        inputs.single_values({"seed": [7, 8]}, "take one")
    with pytest.raises(RethinkError, match=r"^seed: takes one value, got a list of 0\.$"):
        inputs.single_value("seed", [])


def test_every_image_has_its_mask_at_its_size(inputs, RethinkError):
    images = [torch.zeros(1, 8, 8, 3), torch.zeros(2, 4, 6, 3)]
    whole, none = torch.ones(1, 8, 8), torch.zeros(1, 8, 8)
    found = inputs.masks_for(images, [whole])
    assert [tuple(mask.shape[-2:]) for mask in found] == [(8, 8), (4, 6)]
    assert inputs.masks_for(images, [None]) == [None, None]
    left_alone = inputs.masks_for(images, [none, whole])[0]
    assert not left_alone.any(), "one of several may be empty"
    with pytest.raises(RethinkError, match="^mask: is empty"):
        inputs.masks_for(images, [none])


def test_one_value_stands_for_all(inputs):
    assert inputs.broadcast(["a"], 3) == ["a"] * 3 and inputs.broadcast(["a", "b"], 2) == ["a", "b"]
