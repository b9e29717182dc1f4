"""The table of a thinker's reinforcement learning."""

import json
from types import SimpleNamespace

import pytest
from safetensors.torch import save_file
from torch import zeros

from rethink.training import thinker_grpo_log
from rethink.training.thinker_busy import describe_busy
from rethink.training.thinker_grpo_log import LOG, GRPOLog, line_of
from rethink.training.thinker_rewards import GroupCounts, Reward
from rethink.training.thinker_watch import HeldOut


class Counted:
    note = "editor: gone"

    def __init__(self):
        self.counts = {"edits": 5, "failed_edits": 2, "cached": 1, "editor_seconds": 3.0, "judge_seconds": 1.0}

    def take_counts(self):
        return self.counts


@pytest.fixture
def log(tmp_path):
    lines = []
    log = GRPOLog(tmp_path, Counted(), 9, lines.append)
    log.lines = lines
    return log


def write(log, step, now=10.0):
    log.add(
        GroupCounts(3, 4, 1, incomparable=2),
        [Reward(0.2, {"format": 1.0, "agreement": 0.5}), Reward(0.4, {"format": 0, "agreement": 1})],
    )
    log.write(step, {"reward": 0.3, "reward_std": 0.1, "step_time": 8.0, "kl": 0.01, "else": 1}, now, True)


def test_a_step_is_one_line_and_one_record(log, tmp_path):
    log.start(-5.0)
    log.pause(5.0, 0.0)  # of measuring, which is no part of a step
    write(log, 1)
    (record,) = [json.loads(line) for line in (tmp_path / LOG).read_text(encoding="utf-8").splitlines()]
    assert log.lines == [
        "step 1 of 9 · reward 0.300 (format 0.50, agreement 0.75) · 1 of 4 questions skipped (equal rewards) · 2 without two rewards "
        f"to compare · 3 answers without reward · 2 failed edits · 1 from cache · {describe_busy(record['busy'])} · editor: gone"
    ]
    assert record["parts"] == {"format": 0.5, "agreement": 0.75}
    assert record["groups_skipped"] == 3 and record["groups_without_rewards"] == 2
    assert record["kl"] == 0.01 and "else" not in record and record["seconds"] == 10
    assert (record["busy"]["editor"], record["busy"]["judge"]) == (0.3, 0.1)
    assert log.take_rewards() == [0.2, 0.4] and log.take_rewards() == []


def test_how_busy_the_whole_run_was_counts_every_step_by_its_time(log):
    assert log.busy() == {}
    log.start(0.0)
    write(log, 1, 10.0)
    write(log, 2, 50.0)
    found = log.busy()
    assert found["editor"] == pytest.approx(6 / 50, abs=1e-3) and found["judge"] == pytest.approx(2 / 50, abs=1e-3)


def test_numbers_that_are_none_cost_no_record(log, tmp_path):
    log.add(GroupCounts(0, 1, 0), [])
    nan = float("nan")
    log.write(1, {"reward": nan, "reward_std": nan, "grad_norm": float("inf"), "kl": nan, "loss": 0.5}, 1.0, True)
    assert "reward none" in log.lines[0]
    GRPOLog(tmp_path, Counted(), 9, print, after=1)
    (record,) = [json.loads(line) for line in (tmp_path / LOG).read_text(encoding="utf-8").splitlines()]
    assert [record[name] for name in ("reward", "reward_spread", "grad_norm", "kl", "loss")] == [None] * 4 + [0.5]


def test_a_step_without_any_reward_has_none(log, tmp_path):
    log.add(GroupCounts(8, 1, 0, incomparable=1), [])
    log.write(1, {"reward": None}, 1.0, True)
    assert "reward none · 0 of 1 questions skipped (equal rewards) · 1 without two rewards" in log.lines[0]
    assert "8 answers without reward" in log.lines[0]
    again = GRPOLog(tmp_path, Counted(), 9, print, after=1)
    assert log.never_rewarded and again.never_rewarded and again.note == "editor: gone"
    assert not GRPOLog(tmp_path / "new", Counted(), 9, print).never_rewarded
    write(log, 2)
    assert not log.never_rewarded


def test_a_run_that_has_taught_nothing_says_so_at_its_end_also_when_it_went_on(log, tmp_path):
    assert not log.warnings()
    for step in (1, 2):
        log.add(GroupCounts(0, 3, 2, incomparable=1), [Reward(0.5, {})])
        log.write(step, {"reward": 0.5}, float(step), True)
    again = GRPOLog(tmp_path, Counted(), 9, print, after=2)
    assert log.warnings() == again.warnings() and "any of the 6 questions" in log.warnings()[0]
    write(again, 3)  # one of its four was learned from
    assert not again.warnings()


def test_questions_of_one_kind_are_said_once_and_of_the_whole_run(log, tmp_path):
    for step in range(1, 5):
        log.add(GroupCounts(0, 24, 0, judged=24), [])
        log.write(step, {"reward": 0.5}, float(step), True)
    said = [line for line in log.lines if "find fault" in line]
    assert len(said) == 1 and said[0].startswith("Of 48 questions, 0 are")
    assert log.warn_of_questions().startswith("Of 96 questions, 0 are")
    assert GRPOLog(tmp_path, Counted(), 9, print, after=4).warn_of_questions() == log.warn_of_questions()


def test_measurements_say_which_is_the_best(log, tmp_path):
    assert log.add_measurement(HeldOut(0, 0.5, 2.0, 10))
    assert not log.add_measurement(None)
    assert log.add_measurement(HeldOut(4, 0.7, 2.0, 10, reward=0.5))
    assert not log.add_measurement(HeldOut(8, 0.3, 2.0, 10, reward=0.6))
    assert log.lines[0] == "step 0: 50% of 10 held-out tasks done, in 2.0 turns · the best so far"
    assert "none could be measured" in log.lines[1] and log.lines[-1].startswith("The reward is going up")
    save_file({"a": zeros(1)}, tmp_path / "best.safetensors", metadata=log.best_metadata())
    again = GRPOLog(tmp_path, Counted(), 9, print, after=4)
    again.read_best(tmp_path / "best.safetensors")
    assert again.best.step == 4 and again.last_measured == 4


def test_a_run_that_goes_on_writes_again_what_came_after_its_checkpoint(log, tmp_path):
    for step in (1, 2, 3):
        write(log, step)
    GRPOLog(tmp_path, Counted(), 9, print, after=2)
    assert [json.loads(line)["step"] for line in (tmp_path / LOG).read_text(encoding="utf-8").splitlines()] == [1, 2]
    fresh = GRPOLog(tmp_path, Counted(), 9, print)
    assert (tmp_path / LOG).read_text(encoding="utf-8") == "" and fresh.last_measured is None


def test_a_new_run_takes_nothing_from_an_old_log(log, tmp_path, monkeypatch):
    """Else processes that look before the first one has cut it would wait for the others for ever."""
    log.add_measurement(HeldOut(0, 0.5, 2.0, 10))
    save_file({"a": zeros(1)}, tmp_path / "best.safetensors", metadata=log.best_metadata())
    monkeypatch.setattr(thinker_grpo_log, "is_first_process", lambda: False)
    other = GRPOLog(tmp_path, Counted(), 9, print)
    other.read_best(tmp_path / "best.safetensors")
    assert other.last_measured is None and other.best is None


def test_what_did_not_happen_is_not_in_the_line():
    record = SimpleNamespace(failed_edits=0, failed_judgments=0, repeated=0, cached=0)
    values = vars(record) | {"step": 1, "reward": 1.0, "parts": {}, "groups": 2, "groups_skipped": 0, "note": "old"}
    values |= {"answers_without_reward": 0, "groups_without_rewards": 0, "busy": {"editor": 1.0}}
    line = "step 1 of 2 · reward 1.000 · 0 of 2 questions skipped (equal rewards) · busy 100% of "
    assert line_of(values, 2).startswith(line)
