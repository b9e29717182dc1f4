"""The job of drawing pairs for captions: what is opened, drawn once, and said."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from rethink.errors import RethinkError
from rethink.pairs.from_captions.caption_edits import CaptionEdit
from rethink.pairs.from_captions.job import PromptToPromptJob
from rethink.pairs.from_captions.prompt_to_prompt import P2PConfig
from rethink.pairs.from_captions.selection import Selection
from rethink.pairs.from_captions.text_to_image import sample_side, text_to_image
from rethink.pairs.models import ModelSource
from tests.support.miniatures import INSTRUCT, PLAIN, make_pipeline, write_tokenizer

EDITS = (CaptionEdit("the red make", "make it blue", "the blue make"), CaptionEdit("a cat", "make it a dog", "a dog"))


class Eye:
    """A stand-in for CLIP."""

    def images(self, images):
        angles = torch.tensor([100 * float(image.mean()) for image in images])
        return torch.stack([angles.cos(), angles.sin()], 1)

    def texts(self, captions):
        return torch.tensor([[1.0, 0.0], [0.0, 1.0]])


class DrawingEditor:
    name = "drawing"

    def __init__(self, pipeline):
        self._pipeline = pipeline

    @contextmanager
    def pipeline(self):
        yield self._pipeline


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    return DrawingEditor(make_pipeline(PLAIN, write_tokenizer(tmp_path_factory.mktemp("tokenizer"))))


@pytest.fixture
def job(editor, tmp_path):
    def job(captions=EDITS, loads=None, **options):
        def load():
            (loads if loads is not None else []).append("editor")
            return editor

        selection = Selection(2, 2, best=1, looks=(), image=-1, caption=-1, direction=-1)
        return PromptToPromptJob(
            captions,
            tmp_path / "s",
            ModelSource("drawing", load),
            ModelSource("eye", Eye),
            P2PConfig(steps=1, sampler="ddim"),
            selection,
            **options,
        )

    return job


def test_captions_are_drawn_for_once_and_a_second_run_opens_nothing(job):
    loads, steps = [], []
    report = job(EDITS[:1], loads).run(steps.append)
    assert len(list(report.pairs)) == 1 and str(report).startswith(
        "1 pair kept now, of 2 candidates; 0 were dropped early."
    )
    assert (steps[-1].done, steps[-1].total) == (1, 1) and "1 of 1 captions · 1 pair ·" in steps[-1].line
    again = job(EDITS[:1], loads).run()
    assert loads == ["editor"] and str(again).startswith("0 pairs kept now") and len(list(again.pairs)) == 1
    both = job(EDITS, loads).run()
    assert len(loads) == 2 and len(list(both.pairs)) == 2


def test_another_seed_draws_anew_and_says_what_the_first_has_left(job):
    first = job(EDITS[:1]).run()
    other = job(EDITS[:1], seed=6).run()
    assert other.pairs.subset_ids.isdisjoint(first.pairs.subset_ids) and not first.stray_seeds
    assert other.stray_seeds == ("1 pair of the same kind was made with seed 0; to continue with it, use that seed.",)


def test_what_is_skipped_is_said(job):
    report = job((CaptionEdit("the same", "do nothing", "the same"),)).run()
    assert not list(report.pairs) and len(report.skipped) == 1 and report.skipped[0] in str(report)


def test_only_what_draws_from_text_alone_is_taken(editor, tmp_path):
    assert sample_side(editor) == 16 * 8
    with text_to_image(editor) as pipeline:
        assert pipeline is editor._pipeline
    instruct = DrawingEditor(make_pipeline(INSTRUCT, write_tokenizer(tmp_path / "tokenizer")))
    for other in (instruct, SimpleNamespace(name="other")):
        with pytest.raises(RethinkError, match=f"^editor: {other.name} does not generate from text alone"):
            sample_side(other)


def test_a_seed_has_limits(job):
    with pytest.raises(RethinkError, match="^seed: "):
        job(seed=-1)
