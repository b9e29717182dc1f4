"""What a node says beside its outputs."""

from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def feedback(part):
    return part("nodes.feedback")


def test_empty_lines_say_nothing(feedback):
    assert feedback.show_text("one", "", "two") == {"rethink_text": ["one\ntwo"]}
    assert feedback.show_text("") == {"rethink_text": [""]}


def test_what_was_used_is_noted_beside_what_other_nodes_have_noted(feedback):
    extra = {"workflow": {}, "rethink": {"1": "before"}}
    hidden = SimpleNamespace(unique_id="2", prompt={"2": {}}, extra_pnginfo=extra)
    feedback.annotate_images(hidden, {"steps": 4})
    assert extra == {"workflow": {}, "rethink": {"1": "before", "2": {"steps": 4}}} and hidden.prompt == {"2": {}}


def test_a_prompt_from_a_program_keeps_the_note_with_the_node(feedback):
    prompt = {"2": {"class_type": "X", "_meta": {"title": "mine"}}}
    feedback.annotate_images(SimpleNamespace(unique_id="2", prompt=prompt, extra_pnginfo=None), {"steps": 4})
    assert prompt["2"] == {"class_type": "X", "_meta": {"title": "mine", "rethink": {"steps": 4}}}
    for lost in (None, {}, {"3": {}}):  # a copy that a loop expands into
        feedback.annotate_images(SimpleNamespace(unique_id="2", prompt=lost, extra_pnginfo=None), {})
        assert lost in (None, {}, {"3": {}})


@pytest.mark.parametrize(("name", "warns"), [("built-in", True), ("built-in + snow", True), ("flux", False)])
def test_only_built_in_models_are_strangers_to_a_photograph(feedback, name, warns):
    noise = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    assert bool(feedback.warn_if_unfamiliar("editor", name, noise)) == warns
