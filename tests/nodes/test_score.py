"""Score Edit makes the same job as the command."""

import json
import math

import pytest
import torch

from tests.support.thinking import SOURCE, Says, said


@pytest.fixture
def score(classes, models, results):
    def call(edited, instruction="make it red", **inputs):
        return classes["RethinkScoreEdit"].execute(SOURCE, edited, instruction, **inputs)

    return call


def outputs(classes, done):
    names = [output.id or output.display_name for output in classes["RethinkScoreEdit"].define_schema().outputs]
    return dict(zip(names, done.result, strict=True))


def painted(*corners):
    edited = SOURCE.repeat(len(corners), 1, 1, 1)
    for image, corner in zip(edited, corners):
        image[:corner, :corner] = torch.tensor([1.0, 0, 0])
    return edited


def test_a_batch_is_scored_image_by_image(classes, score, make_thinker):
    chat = Says(said(9, 4), said(4, 4))
    chat.name = "built-in"
    done = score(painted(4, 8), judge=make_thinker(chat=chat))
    found = outputs(classes, done)
    assert found["overall"] == [6, 4] and all(map(math.isnan, found["following"] + found["direction"]))
    assert found["psnr_outside"] == [99, 99] and json.loads(found["json"][1])["measurements"]
    assert found["report"][0].startswith("judge:\n")
    (text,) = done.ui["rethink_text"]
    assert "Edit 1\njudge: semantic 9.00 · quality 4.00 · overall 6.00" in text and "Edit 2\n" in text


def test_a_judge_is_asked_once(score, make_thinker, results):
    first = Says(said(9, 4), said(4, 4))
    second = Says(said(1, 1))
    first.name = second.name = "built-in"
    done = score(painted(4, 8), judge=make_thinker(chat=first))
    again = score(painted(4, 8), judge=make_thinker(chat=second))
    assert again.result == done.result and not second.asked
    folder = results.output / "rethink" / "scores"
    assert f"2 of the judge's 2 answers were already in {folder}." in again.ui["rethink_text"][0]


def test_a_clip_is_found_by_its_name(classes, score, models, clip_folder):
    (models.clip_vision / "mini").symlink_to(clip_folder)
    found = outputs(classes, score(painted(8), clip="mini", source_caption="gray", edited_caption="red"))
    assert -1 <= found["direction"][0] <= 1 and found["image_similarity"][0] <= 1


def test_further_measures_have_a_folder_of_comfyuis(score, part, models):
    folder = part("nodes.comfy.model_folders").measures_folder
    assert folder() == models.evaluation
    report = score(painted(8), further="all").result[-2][0]
    assert "DreamSim               not measured  there is no folder “dreamsim” among the models for measures" in report
    models.evaluation.rmdir()
    assert folder() is None


@pytest.mark.parametrize(
    ("inputs", "why"), [({"clip": "../gone"}, "clip: there is no"), ({"instruction": ""}, "instruction: is empty")]
)
def test_a_wrong_input_is_one_sentence(score, RethinkError, inputs, why):
    with pytest.raises(RethinkError, match=f"^{why}"):
        score(painted(8), **inputs)
