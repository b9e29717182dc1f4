"""The loop around any graph: what is done again every turn, and what goes around."""

import copy

import pytest
import torch
from comfy import model_management

from tests.support.think_nodes import Paint, source_node
from tests.support.thinking import SOURCE, Looks, Painter, Says, said


def test_a_loop_goes_on_only_around_the_same_graph(think, make_thinker):
    def body(image, **more):
        paint = {"class_type": "Paint", "inputs": {"image": image, "prompt": ["4", 2], "seed": ["4", 3], **more}}
        return {
            "10": paint,
            "6": {"class_type": "RethinkThinkLoopClose", "inputs": {"loop": ["4", 0], "edited": ["10", 0]}},
        }

    chat = Says(said(2, 2, "b"), model_management.InterruptProcessingException())
    with pytest.raises(model_management.InterruptProcessingException):
        think(make_thinker(chat=chat), loop=True)
    folders = [
        think(make_thinker(said(2, 2, "b")), loop=True, turns=2, extra=extra).trajectory.folder.name
        for extra in (body(["4", 1], seed=7), body(["3", 0]), body(["5", 0]), body(["4", 1]))
    ]
    assert folders == ["thinking_00002_", "thinking_00003_", "thinking_00004_", "thinking_00001_"]  # ids do not count


def test_a_graph_must_make_the_same_number_every_turn(think, make_thinker, monkeypatch, RethinkError):
    monkeypatch.setattr(Paint, "rows", [2, 1])
    with pytest.raises(RethinkError, match="edited: every turn"):
        think(make_thinker(chat=Looks()), loop=True)


def test_only_what_depends_on_open_is_done_again(think, make_thinker, classes, results):
    done = think(make_thinker(said(2, 2, "b"), said(3, 3, "c")), loop=True, turns=4, base="previous", seed=5)
    calls = Paint.painter.calls
    assert [call.prompts for call in calls] == [["make it red"], ["b"], ["c"], ["c"]]
    assert [call.seeds for call in calls] == [[5], [6], [7], [8]]
    assert all(torch.equal(call.base, done.images[i : i + 1]) for i, call in enumerate(calls[1:]))
    assert all(node.split(".")[-1] in ("4", "5", "6") for node in done.outputs if "." in node)


def test_a_list_of_edits_is_as_many_candidates(think, make_thinker, monkeypatch, part, RethinkError):
    def body(image):
        return {
            "10": {"class_type": "Spread", "inputs": {"image": image}},
            "6": {"class_type": "RethinkThinkLoopClose", "inputs": {"loop": ["4", 0], "edited": ["10", 0]}},
        }

    monkeypatch.setattr(Paint, "rows", [3])
    done = think(make_thinker(said(2, 2, "b")), loop=True, turns=2, extra=body(["5", 0]))
    assert [(step.turn, step.candidate) for step in done.trajectory.steps] == [(t, c) for t in (1, 2) for c in range(3)]
    with pytest.raises(RethinkError, match="edited: the images of one turn must have the same size"):
        part("nodes.think_loop")._candidates([SOURCE, SOURCE[:, 4:]])


def test_a_loop_edits_one_picture_and_says_so(think, make_thinker, RethinkError):
    spread = {"3": {"class_type": "Spread", "inputs": {"image": ["10", 0]}}}
    many = source_node(SOURCE.repeat(2, 1, 1, 1), "IMAGE")
    with pytest.raises(
        RethinkError, match="^image: takes one value, got a list of 2; Think While Edit starts a run for each"
    ):
        think(
            make_thinker(said(2, 2, "b")),
            loop=True,
            extra=spread | {"10": {"class_type": many.__name__, "inputs": {}}},
            also=many,
        )


def test_a_graph_may_make_pictures_of_other_sizes(think, make_thinker, monkeypatch):
    class Grows(Painter):
        def edit(self, prepared, *arguments, **options):
            return super().edit(prepared, *arguments, **options).repeat(1, 1 + len(self.calls) % 2, 1, 1)

    monkeypatch.setattr(Paint, "painter", Grows())
    done = think(make_thinker(said(2, 2, "b"), said(6, 6, "c")), loop=True, turns=3)
    assert done.image.shape == (1, 16, 16, 3) and done.images.shape == (3, 16, 16, 3)
    assert torch.equal(done.images[1:2], done.image)


def test_what_goes_around_a_loop_cannot_name_files_elsewhere(
    classes, part, make_thinker, results, RethinkError, tmp_path
):
    carried = {"run": {"filename": "trajectory.json", "subfolder": "../secret", "type": "output"}, "prompt": "p"}
    for reference in (carried, copy.deepcopy(carried) | {"run": carried["run"] | {"type": "models"}}):
        with pytest.raises(RethinkError, match="not in ComfyUI's folders"):
            inputs = {
                "thinker": make_thinker(""),
                "image": SOURCE,
                "instruction": "do",
                "seed": 0,
                "carried": reference,
            }
            classes["RethinkThinkLoopOpen"].execute(**{name: [value] for name, value in inputs.items()})
