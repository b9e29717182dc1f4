"""Instructions for images: which seeds, in which order, one after another or all at once."""

import pytest
import torch

from rethink.edit_job import EditJob
from rethink.errors import RethinkError
from tests.support.thinking import SOURCE, Painter, color


def run(job, images=SOURCE, **options):
    editor, told = Painter(), []

    def progress(number, count):
        told.append((number, count))
        return lambda *_: None

    return job.run(editor, images, progress, **options), editor.calls, told


def painted(image):
    return image[0, 0]


def test_instructions_and_seeds_are_one_batch_by_instruction_then_seed():
    made, calls, told = run(EditJob(("a", "b"), 2**64 - 1, 2))
    assert [(call.prompts, call.seeds) for call in calls] == [(["a", "a", "b", "b"], [2**64 - 1, 0] * 2)]
    assert told == [(0, 1)] and [len(batch) for batch in made] == [2, 2]
    for batch, text in zip(made, ("a", "b")):
        for image, seed in zip(batch, (2**64 - 1, 0)):
            assert torch.equal(painted(image), color(text, seed))


def test_a_chain_edits_what_the_one_before_made_with_the_next_seed():
    made, calls, told = run(EditJob(("a", "b", "c"), 7, 2, chain=True))
    assert [(call.prompts, call.seeds) for call in calls] == [
        (["a"] * 2, [7, 8]),
        (["b"] * 2, [8, 9]),
        (["c"] * 2, [9, 10]),
    ]
    assert torch.equal(calls[1].base, made[0][:1]) and torch.equal(calls[2].base, made[1][:1])
    assert told == [(0, 3), (1, 3), (2, 3)]


def test_where_nothing_may_change_nothing_is_edited():
    made, calls, _ = run(EditJob(("a", "b"), variations=2), mask=torch.zeros(1, 16, 16))
    assert not calls and all(torch.equal(batch, SOURCE.repeat(2, 1, 1, 1)) for batch in made)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"instructions": ()}, "instruction: is empty"),
        ({"instructions": ("a", " ")}, "instruction: is empty"),
        ({"variations": 0}, "variations: expected 1 to 64, got 0"),
        ({"variations": 65}, "variations: expected 1 to 64, got 65"),
        ({"seed": -1}, "seed: expected 0 to"),
    ],
)
def test_mistakes_are_one_sentence(options, sentence):
    with pytest.raises(RethinkError, match=sentence):
        EditJob(**{"instructions": ("a",), **options})
