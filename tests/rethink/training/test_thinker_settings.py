"""Settings of a thinker's training that do not go together are refused before any work."""

import pytest

from rethink.errors import RethinkError
from rethink.training.thinker_rewards import RewardRules
from rethink.training.thinker_settings import GRPOConfig, SFTConfig


def test_settings_that_do_not_come_out_even_are_refused():
    assert GRPOConfig().accumulate(1) == 32 and GRPOConfig().accumulate(4) == 8
    with pytest.raises(RethinkError, match=r"batch: 3 questions × 8 answers are not a multiple of 4 answers × 4"):
        GRPOConfig(prompts=3).accumulate(4)
    with pytest.raises(RethinkError, match="vllm_server"):
        GRPOConfig(vllm_server="http://127.0.0.1:8000")


@pytest.mark.parametrize(
    ("settings", "name"), [(lambda: GRPOConfig(rollouts=1), "rollouts"), (lambda: SFTConfig(batch=0), "batch")]
)
def test_what_is_beyond_its_limits_is_named(settings, name):
    with pytest.raises(RethinkError, match=name):
        settings()


def test_the_preset_says_how_strongly_the_thinker_is_held():
    assert GRPOConfig().beta == 1e-3 and GRPOConfig(reward=RewardRules(preset="code")).beta == 0
    assert GRPOConfig(kl=0.5).beta == 0.5
