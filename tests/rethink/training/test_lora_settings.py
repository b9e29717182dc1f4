"""The settings of a training: limits, and what of them makes another run."""

from dataclasses import replace

import pytest

from rethink.errors import RethinkError
from rethink.training.example_cache import read_example
from rethink.training.lora_families import TRAINED
from rethink.training.lora_settings import LoraSettings
from tests.support import editor_miniatures
from tests.support.lora_training import make_job, write_pairs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": -1}, "rank: expected 0"),
        ({"learning_rate": 10.0}, "learning_rate: expected"),
        ({"keep": "much"}, "keep: “much” is unknown"),
        ({"megapixels": -0.5}, "megapixels: expected 0 to 1, got -0.5"),
        ({"megapixels": 2.0}, "megapixels: expected 0 to 1, got 2"),
        ({"megapixels": float("nan")}, "megapixels: expected 0 to 1, got nan"),
    ],
)
def test_settings_beyond_their_limits_are_refused(options, message):
    with pytest.raises(RethinkError, match=message):
        LoraSettings(**options)


def test_a_longer_run_is_the_same_one_and_another_seed_another():
    settings = LoraSettings()
    assert replace(settings, steps=9, save_every=3, previews=0).as_record() == settings.as_record()
    assert replace(settings, seed=1).as_record() != settings.as_record()


def test_another_size_is_another_run_and_none_is_that_of_before_there_was_one():
    assert "megapixels" not in LoraSettings().as_record()
    assert LoraSettings(megapixels=0.5).as_record()["megapixels"] == 0.5


def test_more_pairs_take_more_steps_within_reason():
    assert [LoraSettings().count_steps(pairs) for pairs in (2, 50, 5000)] == [500, 1500, 3000]
    assert LoraSettings(steps=7).count_steps(50) == 7


def test_what_is_left_open_suits_the_family():
    row = replace(TRAINED["qwen_image_edit"], rank=8, batch=2, accumulate=3, drop_text=0.1)
    found = LoraSettings().for_family(row)
    assert (found.learning_rate, found.rank, found.batch, found.accumulate) == (5e-5, 8, 2, 3)
    assert found.drop_instruction == 0.1
    chosen = LoraSettings(learning_rate=1e-3, rank=4, batch=1, accumulate=1, drop_instruction=0.0)
    assert chosen.for_family(row) == chosen


def test_at_fewer_megapixels_it_learns_on_smaller_images_and_previews_stay_as_edits_are(tmp_path):
    store, editor = write_pairs(tmp_path / "pairs", 8), editor_miniatures.opened("instruct_pix2pix", tmp_path)
    editor.defaults = replace(editor.defaults, steps=2)
    options = {"steps": 2, "save_every": 2, "previews": 1, "keep": "high", "replay": 1}
    own = make_job(tmp_path, store, **options).run(editor)
    job = make_job(tmp_path, store, **options, megapixels=16**2 / 2**20)
    small = job.run(editor)
    assert small.folder != own.folder and small.record.losses != own.record.losses
    alone = [(report.folder / report.record.preview_pairs[0].base).read_bytes() for report in (own, small)]
    assert alone[0] == alone[1], "the editor alone edits at its own size"
    sizes = {read_example(path).target.shape[-2:] for path in (tmp_path / "runs" / "cache").rglob("*.safetensors")}
    assert sizes == {(16, 16), (8, 8)}
    assert replace(job, settings=replace(job.settings, steps=3)).run(editor).folder == small.folder
    with pytest.raises(RethinkError, match="^megapixels: expected 0.0"):
        make_job(tmp_path, store, megapixels=1e-6).run(editor)
