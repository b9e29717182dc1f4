"""Editor From Model where there is no ComfyUI: it is there, and says what it needs. What it does: tests/comfyui."""

import pytest


def test_it_says_that_it_needs_comfyui(classes, RethinkError):
    node = classes["RethinkEditorFromModel"]
    wired = {"model": object(), "clip": object(), "vae": object()}
    with pytest.raises(RethinkError, match="^model: ComfyUI's own models need a real and recent ComfyUI; [^\n]*$"):
        node.execute(**wired, sampler="default", scheduler="default", megapixels=0.0, kind="auto")


def test_every_kind_can_be_chosen_and_stands_in_the_help(classes, part):
    titles = [family.title for family in part("nodes.native_families").NATIVE_FAMILIES]
    options = classes["RethinkEditorFromModel"].describe()["input"]["required"]["kind"][1]["options"]
    assert options == ["auto", *titles] and len(set(titles)) == len(titles)
