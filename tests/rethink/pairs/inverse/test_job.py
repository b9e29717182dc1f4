"""The job of inverse edits: what its options need, and what its report says."""

import pytest
from PIL import Image

from rethink.errors import RethinkError
from rethink.pairs.inverse.drafts import SynthesisConfig
from rethink.pairs.inverse.job import SynthesisJob
from rethink.pairs.inverse.sources import ImageFolder, NamedBox, Source
from rethink.pairs.models import ModelSource
from tests.support.pairs import draw_image
from tests.support.synthesis import model_source

COVER = SynthesisConfig(("cover",))


class Darkens:
    name = "darkens"

    def prepare(self, images):
        return images

    def edit(self, prepared, instructions, seeds, settings, mask=None):
        return prepared * 0.5


@pytest.fixture
def sources(tmp_path):
    """Two images."""
    files = [tmp_path / f"{number}.png" for number in range(2)]
    for seed, file in enumerate(files):
        Image.fromarray(draw_image(seed=seed)).save(file)
    return [Source(file.name, str(file)) for file in files]


def test_a_report_says_what_was_made_now_and_before(sources, tmp_path):
    job, steps = SynthesisJob(sources, tmp_path / "s", COVER), []
    report = job.run(steps.append)
    assert str(report) == "2 pairs, 2 made now; 0 skipped." and len(list(report.pairs)) == 2
    preview = steps[-1].preview()
    assert (steps[-1].done, steps[-1].total) == (2, 2) and preview.shape == (1, 120, 320, 3), "input and target"
    again = job.run()
    assert str(again) == "2 pairs, 0 made now; 0 skipped." and again.pairs.subset_ids == report.pairs.subset_ids


def test_another_seed_or_other_words_are_other_pairs(sources, tmp_path):
    def made(**options):
        config = SynthesisConfig(("cover",), seed=options.pop("seed", 0))
        return SynthesisJob(sources, tmp_path / "s", config, **options).run()

    first, words = made(), made(place="the wall", description="It is green.")
    assert words.pairs.subset_ids.isdisjoint(first.pairs.subset_ids)
    assert all("the wall" in pair.instruction for pair in words.pairs)
    other = made(seed=1)
    assert other.stray_seeds == (
        "2 pairs of the same kind were made with seed 0; to continue with them, use that seed.",
    )


def test_an_editor_does_the_inverse(sources, tmp_path):
    report = SynthesisJob(sources, tmp_path / "s", editor=model_source(Darkens()), inverse=" remove the hat ").run()
    for pair in report.pairs:
        before, after = report.pairs.read_image(pair.input), report.pairs.read_image(pair.target)
        assert before.mean() < 0.6 * after.mean() and pair.parameters["inverse"] == "remove the hat"
    assert len(list(report.pairs)) == 2


def test_a_thinker_finds_describes_and_is_opened_once(sources, tmp_path, scripted):
    chat, loads = (
        scripted('{"places": [{"box": [0, 0, 500, 500], "place": "the sign"}], "description": "It says."}'),
        [],
    )
    thinker = ModelSource("m", lambda: loads.append(1) or chat)
    report = SynthesisJob(sources, tmp_path / "s", COVER, thinker=thinker, find="a sign").run()
    assert len(loads) == 1 and all("the sign" in pair.instruction for pair in report.pairs)


def test_reasons_are_counted_and_coverage_is_said(sources, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "torn.png").write_bytes(b"x")
    report = SynthesisJob(ImageFolder(tmp_path / "photos"), tmp_path / "s", COVER).run()
    assert report.reasons[0].startswith("1 × ") and "0 pairs" in str(report)
    boxed = [Source(sources[0].name, sources[0].path, boxes=(NamedBox((0, 0, 0.5, 0.5), "the sky"),)), sources[1]]
    job = SynthesisJob(boxed, tmp_path / "t", COVER)
    assert job.coverage.boxed == 1 and str(job.coverage) in str(job.run())
    assert SynthesisJob(sources, tmp_path / "t", COVER).coverage is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"editor": model_source(Darkens())}, "inverse: is empty"),
        ({"inverse": "remove the hat"}, "inverse: needs an editor"),
        ({"find": "a face"}, "find: needs a thinker"),
        ({"paraphrase": True}, "paraphrase: needs a thinker"),
        ({"templates": {"nonesuch": ["x"]}}, ""),
    ],
)
def test_mistakes_are_one_sentence(sources, tmp_path, options, sentence):
    with pytest.raises(RethinkError, match=f"^{sentence}"):
        SynthesisJob(sources, tmp_path / "s", COVER, **options)


def test_a_broken_editor_is_said_before_anything_is_made(sources, tmp_path):
    def fail():
        raise RethinkError("editor: is broken.")

    with pytest.raises(RethinkError, match="^editor: is broken"):
        SynthesisJob(sources, tmp_path / "s", editor=ModelSource("e", fail), inverse="x").run()
    assert not (tmp_path / "s").exists()
