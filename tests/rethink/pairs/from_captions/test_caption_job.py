"""The job of inventing edits: what is asked once, and what is said of it."""

import json

import pytest

from rethink.errors import RethinkError
from rethink.pairs.from_captions.caption_edits import CaptionEdit
from rethink.pairs.from_captions.caption_job import CaptionJob
from rethink.pairs.models import ModelSource

EDIT = "make it snow\n%%\nin the snow"


@pytest.fixture
def job(tmp_path, scripted):
    def job(*answers, captions=("a dog", "a cat", "a dog"), **options):
        chat = scripted(*answers)
        job = CaptionJob(captions, tmp_path / "edits.jsonl", ModelSource("m", lambda: chat), **options)
        return job, chat

    return job


def test_every_caption_is_asked_once_and_a_second_run_asks_for_what_is_new(job):
    first, chat = job(EDIT)
    steps = []
    report = first.run(steps.append)
    assert len(chat.asked) == 2 and str(report) == "2 of 2 captions got an edit."
    assert report.edits() == [CaptionEdit(each, "make it snow", "in the snow") for each in ("a dog", "a cat")]
    assert steps[-1].total == 3 and "2 edits · 0 rejected" in steps[-1].line
    more, chat = job(EDIT, captions=("a cat", "a fox"))
    assert len(more.run().edits()) == 2 and len(chat.asked) == 1


def test_reasons_are_counted_for_captions_without_an_edit(job):
    refused, _ = job("I'm sorry, I cannot help with that.")
    first, *reasons = str(refused.run()).splitlines()
    assert first == "0 of 2 captions got an edit." and reasons[0].startswith("2 × ")


def test_captions_may_lie_in_a_file(job, tmp_path):
    (tmp_path / "captions.txt").write_text("a dog\na fox\n")
    from_file, chat = job(EDIT, captions=tmp_path / "captions.txt")
    assert from_file.distinct_captions() == ["a dog", "a fox"]
    assert len(from_file.run().edits()) == len(chat.asked) == 2


def test_own_examples_are_written_to_fine_tune_with(job, tmp_path):
    example = CaptionEdit("an owl", "make it blue", "a blue owl")
    own, chat = job(EDIT, examples=(example,), fine_tuning=tmp_path / "tune.jsonl")
    own.run()
    assert json.loads((tmp_path / "tune.jsonl").read_text())["prompt"] == "an owl\n##\n"
    assert "make it blue" in json.dumps(chat.asked[0][0])


def test_mistakes_are_one_sentence(job):
    with pytest.raises(RethinkError, match="^captions: is empty"):
        job(EDIT, captions=())
    with pytest.raises(RethinkError, match="^seed: "):
        job(EDIT, seed=-1)
