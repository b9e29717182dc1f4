"""Measured once each; what was not measured is not there."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from rethink.comparison.edits import make_edits, source_file
from rethink.comparison.measures import MOST_FAILURES, Scorer
from rethink.errors import RethinkError
from rethink.evaluation import learned_measures
from rethink.evaluation.learned_measures import LearnedMeasure
from rethink.evaluation.measures import LPIPS, MEASURES
from rethink.images import load_image, save_image
from rethink.pairs.models import ModelSource
from rethink.scoring.further import FurtherMeasures
from rethink.scoring.job import ScoreJob, ScoringModels
from rethink.thinkers.critique import Thinker
from tests.support.comparisons import tasks, variant
from tests.support.thinking import critic, gone, said


@pytest.fixture
def made(tmp_path):
    found = make_edits(tasks(), [variant("one"), variant("idle")], tmp_path).found
    return tmp_path, found


class Colors:
    """A CLIP that sees the mean color, and hears a text's length."""

    def __init__(self):
        self.calls = 0

    def images(self, images):
        self.calls += 1
        return F.normalize(torch.tensor([image.mean((0, 1)).tolist() for image in images]), dim=-1)

    def texts(self, captions):
        return F.normalize(torch.tensor([[len(text), 1.0, 1.0] for text in captions]), dim=-1)


def test_what_changes_nothing_is_known(made):
    folder, found = made
    scored = Scorer(folder).run(tasks(), found)
    idle = variant("idle").key
    assert {place for place in found if place[1] == idle} == scored.unchanged
    assert all("unchanged" not in values and "judge" not in values for values in scored.scores.values())


def test_clip_measures_a_direction_only_with_captions(made):
    folder, found = made
    clip, given = Colors(), tasks()
    given[0] = replace(given[0], captions=("short", "a longer one"))
    source = ModelSource("colors", lambda: clip)
    scored = Scorer(folder, source).run(given, found)
    assert (
        sorted(task for (task, _), values in scored.scores.items() if "clip_direction" in values) == [given[0].id] * 2
    )
    assert scored.scores[given[0].id, variant("idle").key]["clip_direction"] == 0, "it counts as none"
    assert all("clip_image" in values for values in scored.scores.values())
    calls = clip.calls
    assert Scorer(folder, source).run(given, found).scores == scored.scores and clip.calls == calls, "measured once"


def test_a_known_target_is_compared_with(made):
    folder, found = made
    given = [replace(task, load_target=lambda task=task: 1 - task.load()) for task in tasks()]
    scored = Scorer(folder).run(given, found)
    assert scored.scores[given[0].id, variant("idle").key]["target_changed"] == 0


class Examiner:
    """Answers either of a judge's two questions."""

    name = "examiner"

    def chat(self, messages, images, **_):
        return '{"following": 8, "restraint": 5}' if len(images) == 2 else '{"natural": 9, "clean": 7}'


def test_all_that_score_edit_measures_is_measured(made, monkeypatch):
    folder, found = made
    row = LearnedMeasure(LPIPS, "perceptual", "", lambda folder, device: lambda a, b, instruction: 0.25)
    monkeypatch.setattr(learned_measures, "MEASURES", (row,))
    judge, clip = Thinker(Examiner()), ModelSource("colors", Colors)
    given = [replace(task, captions=("short", "a longer one")) for task in tasks()]
    scored = Scorer(folder, clip, judge, FurtherMeasures("all")).run(given, found)
    values = scored.scores[given[0].id, variant("one").key]
    models = ScoringModels(judge, None, clip.load)
    job = ScoreJob(source_caption="short", edited_caption="a longer one", further="all")
    edited = load_image(folder / found[given[0].id, variant("one").key].file)
    source = load_image(folder / source_file(given[0]))
    (expected,) = job.run(source, edited, given[0].instruction, models)
    assert values == {m.measure.id: pytest.approx(m.value, abs=1e-5) for m in expected.measurements}
    assert values["judge"] == pytest.approx(35**0.5, abs=1e-5) and values["lpips"] == 0.25
    assert values.keys() <= {each.id for each in MEASURES}


def test_further_measures_are_tried_again_where_they_failed(made, monkeypatch):
    folder, found = made
    opened = []

    def open_it(folder, device):
        opened.append(device)
        if len(opened) == 1:
            raise RethinkError("the package lpips is not installed")
        return lambda a, b, instruction: 0.25

    monkeypatch.setattr(learned_measures, "MEASURES", (LearnedMeasure(LPIPS, "perceptual", "", open_it),))
    further, steps = FurtherMeasures("perceptual", device="cpu"), []
    scored = Scorer(folder, further=further).run(tasks(), found, lambda *step: steps.append(step))
    assert scored.notes == ("LPIPS was not measured: the package lpips is not installed.",) and steps[-1] == (8, 8)
    again = Scorer(folder, further=further).run(tasks(), found)
    assert not again.notes and all(values["lpips"] == 0.25 for values in again.scores.values())
    Scorer(folder, further=further).run(tasks(), found)
    assert len(opened) == 2, "all is known"


def test_where_everything_has_changed_nothing_was_kept(made):
    folder, found = made
    place = (tasks()[0].id, variant("one").key)
    save_image(1 - tasks()[0].load().round(), folder / found[place].file)
    scored = Scorer(folder).run(tasks(), found)
    assert scored.scores[place].keys() == {"changed"}, "what is not measured is no 99 dB"


def test_a_judge_is_asked_once(made):
    folder, found = made
    judge = critic(said(9, 4))
    scored = Scorer(folder, judge=judge).run(tasks(), found)
    assert len(judge.chat.asked) == 8 and {values["judge"] for values in scored.scores.values()} == {6.0}
    Scorer(folder, judge=judge).run(tasks(), found)
    assert len(judge.chat.asked) == 8
    other = replace(judge, temperature=0.9)
    Scorer(folder, judge=other).run(tasks(), found)
    assert len(judge.chat.asked) == 16, "asked otherwise, it may say something else"


def test_a_judge_that_does_not_answer_scores_nothing(made):
    folder, found = made
    judge = critic(said(9, 4), gone())
    scored = Scorer(folder, judge=judge).run(tasks(), found)
    assert sum("judge" in values for values in scored.scores.values()) == 1
    assert len(judge.chat.asked) == 1 + MOST_FAILURES and "is not asked again" in scored.notes[-1]
    judge = critic(said(9, 4))
    assert all("judge" in values for values in Scorer(folder, judge=judge).run(tasks(), found).scores.values())
    assert len(judge.chat.asked) == 7, "what has no score is asked again"


def test_a_region_says_where_something_may_change(made):
    folder, found = made
    free = torch.zeros((1, 16, 16))
    free[:, :8, :8] = 1  # where the editor paints
    given = [replace(task, load_region=lambda: free) for task in tasks()]
    kept = Scorer(folder).run(given, found).scores[given[0].id, variant("one").key]["outside_psnr"]
    assert kept > 50, "all else is as it was"
