"""`rethink train-thinker`."""

from types import SimpleNamespace

import pytest

from rethink.builtin import THINKER_FOLDER
from rethink.cli import train_thinker
from rethink.training import thinker_grpo_job, thinker_sft
from rethink.training.thinker_rewards import RewardRules
from rethink.training.thinker_settings import GRPOConfig, SFTConfig
from tests.support.commands import run_here


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that were run, with what they were given."""
    ran = []

    def run(self, *given):
        ran.append(SimpleNamespace(job=self, given=given))
        return "the report"

    monkeypatch.setattr(thinker_sft.SFTJob, "run", run)
    monkeypatch.setattr(thinker_grpo_job.GRPOJob, "run", run)
    return ran


def test_supervised_learning_is_the_job_of_the_old_command(jobs, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--batch", 2, "--learning-rate", 0.01, "--precision", "no", "--pack"]
    command = ["train-thinker", "base", "runs", "more", "-o", "out", "--lora-rank", 4, "--train-vision", *options]
    code, lines, _ = run_here(capfd, *command)
    old = ["base", "runs", "more", "out", "--lora", 4, "--see", *options]
    assert code == 0 and thinker_sft.main([str(each) for each in old]) == 0
    new, before = (each.job for each in jobs)
    assert (
        new.config
        == before.config
        == SFTConfig(batch=2, learning_rate=0.01, precision="no", pack=True, lora_rank=4, train_vision=True)
    )
    assert new.data == (tmp_path / "runs", tmp_path / "more") and new.template == before.template
    assert lines == ["the report"]


def test_reinforcement_has_an_editor_and_a_judge(jobs, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(train_thinker, "open_editor", lambda options: options.editor)
    options = ["--preset", "code", "--agreement-weight", 2, "--rollouts", 4, "--no-checkpointing", "--editor-steps", 3]
    command = ["train-thinker", "built-in", tmp_path, "-o", tmp_path / "out", "--method", "grpo", *options]
    code, lines, _ = run_here(capfd, *command, "--editor", "built-in", "--judge", "built-in")
    assert code == 0 and lines == ["the report"]
    (ran,) = jobs
    editor, judge, _, processes = ran.given
    assert ran.job.thinker == THINKER_FOLDER and editor == "built-in" and processes.is_main
    assert thinker_grpo_job.is_judge(ran.job.thinker, judge)
    assert ran.job.config == GRPOConfig(
        rollouts=4, checkpointing=False, editor_steps=3, reward=RewardRules(preset="code", agreement_weight=2)
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--rollouts", 4], "--rollouts: works only with --method grpo"),
        (["--editor", "built-in"], "--editor: works only with --method grpo"),
        (["--judge", "built-in"], "--judge: works only with --method grpo"),
        (["--method", "grpo", "--pack"], "--pack: works only with --method sft"),
        (["--method", "grpo", "--judge", "built-in"], "--editor: is missing"),
        (["--method", "grpo", "--editor", "built-in"], "--judge: is missing"),
        (["--method", "grpo", "--rollouts", 1], "rollouts: expected 2"),
        (["--batch", 0], "batch: expected 1"),
    ],
)
def test_a_mistake_is_one_sentence(jobs, capfd, tmp_path, arguments, why):
    code, _, errors = run_here(capfd, "train-thinker", "base", tmp_path, "-o", tmp_path / "out", *arguments)
    assert code == 2 and why in errors[0] and not jobs


def test_help_gives_the_defaults_of_both_methods(capfd):
    with pytest.raises(SystemExit):
        run_here(capfd, "train-thinker", "--help")
    text = " ".join(capfd.readouterr().out.split())
    assert "2e-05 (sft), 2e-06 (grpo)" in text and "grpo: paper: the reward in the EditThinker paper" in text
