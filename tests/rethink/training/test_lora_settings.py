"""The settings of a training: limits, and what of them makes another run."""

from dataclasses import replace

import pytest

from rethink.errors import RethinkError
from rethink.training.lora_settings import LoraSettings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank: expected 1"),
        ({"learning_rate": 10.0}, "learning_rate: expected"),
        ({"keep": "much"}, "keep: “much” is unknown"),
    ],
)
def test_settings_beyond_their_limits_are_refused(options, message):
    with pytest.raises(RethinkError, match=message):
        LoraSettings(**options)


def test_a_longer_run_is_the_same_one_and_another_seed_another():
    settings = LoraSettings()
    assert replace(settings, steps=9, save_every=3, previews=0).as_record() == settings.as_record()
    assert replace(settings, seed=1).as_record() != settings.as_record()


def test_more_pairs_take_more_steps_within_reason():
    assert [LoraSettings().count_steps(pairs) for pairs in (2, 50, 5000)] == [500, 1500, 3000]
    assert LoraSettings(steps=7).count_steps(50) == 7
