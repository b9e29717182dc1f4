"""All measures of an edit, and the reasons of those that are missing."""

import pytest
import torch

from rethink.errors import RethinkError
from rethink.evaluation.clip_similarity import Clip, similarities
from rethink.evaluation.measures import CHANGED, DIRECTION, IMAGE_SIMILARITY, OVERALL, PSNR, SSIM
from rethink.images import to_pixels
from rethink.scoring.job import ScoreJob, ScoringModels
from rethink.thinkers.critique import Thinker
from tests.support.thinking import Says, said

BARE = ScoringModels()


def reasons(scores):
    return {m.measure: m.why for m in scores.measurements if m.value is None}


def test_pixels_alone_need_nothing(source, edited):
    (found,) = ScoreJob().run(source, edited, "add a red square", BARE)
    assert found.value(PSNR) == 99.0 and found.value(SSIM) == pytest.approx(1) and 0 < found.value(CHANGED) < 0.3
    assert reasons(found)[OVERALL] == "no judge given" and reasons(found)[DIRECTION] == "no CLIP model given"
    assert [m.group for m in found.measurements][-3:] == ["outside the change"] * 3


def test_every_edit_of_a_batch_has_its_own_scores(source, edited):
    chat = Says(said(9, 4), said(2, 8))
    chat.name = "built-in"
    seen = []
    batch = torch.cat([edited, source])
    first, second = ScoreJob(seed=5).run(source, batch, "x", ScoringModels(Thinker(chat)), progress=seen.append)
    assert (first.value(OVERALL), second.value(OVERALL)) == (6, 4)
    assert second.notes == ("There is no visible change.",) and not first.notes
    assert [(step.done, step.total) for step in seen][-1] == (6, 6)


def test_clip_measures_are_the_pairs_own(source, edited, clip_folder):
    clip = Clip(clip_folder)
    models = ScoringModels(load_clip=lambda: clip)
    captions = {"source_caption": "a street", "edited_caption": "a red street"}
    (found,) = ScoreJob(**captions).run(source, edited, "x", models)
    images = clip.images([to_pixels(image)[0] for image in (source, edited)])[:, None]
    (expected,) = similarities(images, clip.texts(list(captions.values()))[:, None])
    assert found.value(IMAGE_SIMILARITY) == pytest.approx(expected["clip_sim_image"], abs=1e-5)
    assert found.value(DIRECTION) == pytest.approx(expected["clip_sim_dir"], abs=1e-5)
    (without,) = ScoreJob().run(source, edited, "x", models)
    assert reasons(without)[DIRECTION] == "needs both captions" and IMAGE_SIMILARITY not in reasons(without)
    (equal,) = ScoreJob(**captions).run(source, source, "x", models)
    assert reasons(equal)[DIRECTION] == "nothing changed, so there is no direction"


@pytest.mark.parametrize(
    ("options", "inputs", "why"),
    [
        ({"passes": 0}, {}, "passes: expected 1 to 32, got 0."),
        ({"source_caption": "a"}, {}, "edited_caption: is empty; give both captions, or neither."),
        ({}, {"instruction": " "}, "instruction: is empty"),
        ({}, {"source": torch.zeros(2, 8, 8, 3)}, "source: takes one image, got 2"),
        ({}, {"mask": torch.zeros(1, 32, 48)}, "mask: is empty"),
    ],
)
def test_a_wrong_input_is_one_sentence(source, edited, options, inputs, why):
    with pytest.raises(RethinkError, match=f"^{why}"):
        ScoreJob(**options).run(**{"source": source, "edited": edited, "instruction": "x", "models": BARE, **inputs})


def test_a_judge_that_was_cut_off_goes_on(source, edited, tmp_path):
    answers = ['{"following": 8, "restraint": 2}', '{"natural": 9, "clean": 8}']
    batch, news = torch.cat([edited, edited.flip(1)]), []
    with pytest.raises(KeyboardInterrupt):
        ScoreJob().run(source, batch, "x", ScoringModels(Thinker(Says(*answers, KeyboardInterrupt())), tmp_path))
    chat = Says(*answers)
    first = ScoreJob().run(source, batch, "x", ScoringModels(Thinker(chat), tmp_path), announce=news.append)
    assert len(chat.asked) == 2 and news == [f"2 of the judge's 4 answers were already in {tmp_path}."]
    again = ScoreJob().run(source, batch, "x", ScoringModels(Thinker(Says()), tmp_path))
    assert again == first and again[0].value(OVERALL) == 4
    other = Says(*answers * 2)
    ScoreJob(seed=1).run(source, batch, "x", ScoringModels(Thinker(other), tmp_path))
    assert len(other.asked) == 4
