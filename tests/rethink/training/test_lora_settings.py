"""The settings of a training: limits, and what of them makes another run."""

from dataclasses import replace

import pytest

from rethink.errors import RethinkError
from rethink.training.lora_families import TRAINED
from rethink.training.lora_settings import LoraSettings


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
