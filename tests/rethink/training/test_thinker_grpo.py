"""A miniature thinker learns through trl, with an editor that paints and a judge that counts."""

import json
import shutil
import sys
from dataclasses import replace
from itertools import count

import pytest
import torch
from safetensors.torch import load_file

from rethink.editors.server_editor import ServerEditor
from rethink.errors import RethinkError
from rethink.steps import Critique
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import Thinker
from rethink.training import thinker_grpo
from rethink.training.step_progress import StepProgress
from rethink.training.thinker_busy import SERVERS, WORKERS
from rethink.training.thinker_grpo import BEST, GRPOTask, train
from rethink.training.thinker_grpo_log import LOG
from rethink.training.thinker_page import PAGE
from rethink.training.thinker_rewards import RewardRules
from rethink.training.thinker_rollouts import GIVE_UP, Rollouts
from rethink.training.thinker_settings import GRPOConfig
from rethink.training.thinker_watch import TaskResult
from tests.support.edit_servers import edit, edit_server
from tests.support.miniature_thinkers import write_thinker
from tests.support.rl_steps import QUESTION, FailingPainter, PromptJudge, write_step
from tests.support.thinking import Painter

CONFIG = GRPOConfig(
    steps=2,
    prompts=1,
    rollouts=2,
    batch=2,
    learning_rate=1e-2,
    answer_tokens=2,
    train_vision=True,
    checkpointing=False,
    precision="no",
    save_every=1,
    turns=1,
    time_limit=0,
    reward=RewardRules(preset="code"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_thinker(tmp_path_factory.mktemp("thinker"))


@pytest.fixture
def steps(tmp_path):
    return [write_step(tmp_path, red=number / 10, size=8) for number in range(3)]


@pytest.fixture(autouse=True)
def _miniature_answers_mean_something(monkeypatch):
    """What it babbles is a prompt that is worth as much as its bytes say."""
    monkeypatch.setattr(
        thinker_grpo,
        "parse_critique",
        lambda text: Critique("ok", 5, 5, "I see.", f"worth {sum(text.encode()) % 11}"),
    )


def task_of(folder, steps, work, config=CONFIG, held_out=(), lines=None, progress=None, editor=None, judge=None):
    # more than eight: what is trained with what, each with a default
    progress = progress or StepProgress()
    judge = Thinker(judge or PromptJudge(), QUESTION)
    rollouts = Rollouts(editor or Painter(), judge, Painter.defaults, progress=progress)
    chat = load_thinker(folder, dtype="fp32")
    return GRPOTask(
        chat, QUESTION, steps, held_out, rollouts, config, work, (lines if lines is not None else []).append, progress
    )


def records_in(work):
    return [json.loads(line) for line in (work / LOG).read_text(encoding="utf-8").splitlines()]


def test_it_learns_says_how_it_goes_and_goes_on_where_it_was_cut_off(folder, steps, tmp_path):
    lines = []
    task = task_of(folder, steps[:2], tmp_path / "whole", lines=lines)
    before = {name: value.clone() for name, value in task.chat.module.named_parameters()}
    result = train(task)
    trained = dict(result.model.named_parameters())
    assert set(result.busy) == {*WORKERS, SERVERS} and 0 < sum(result.busy[who] for who in WORKERS) <= 1.001
    assert any(not torch.equal(before[name], trained[name]) for name in before)
    assert [line.split(" · ")[0] for line in lines] == ["step 1 of 2", "step 2 of 2"]
    records = records_in(tmp_path / "whole")
    assert [(each["step"], each["groups"], len(each["samples"])) for each in records] == [(1, 1, 2), (2, 1, 2)]
    for record in records:
        assert record["parts"]["format"] == 1 and 0.5 <= record["reward"] <= 1
        assert record["samples"][0]["reward"] >= record["samples"][-1]["reward"]
        assert set(record["busy"]) == {*WORKERS, SERVERS}
    page = (tmp_path / "whole" / PAGE).read_text(encoding="utf-8")
    assert "<td>1<td>" in page and "<td>2<td>" in page and page.count("<article>") == 4
    (tmp_path / "cut").mkdir()
    for name in ("checkpoint-1", LOG, "trained.json"):
        copy = shutil.copytree if name == "checkpoint-1" else shutil.copy
        copy(tmp_path / "whole" / name, tmp_path / "cut" / name)
    again = dict(train(task_of(folder, steps[:2], tmp_path / "cut", lines=(later := []))).model.named_parameters())
    assert [line.split(" · ")[0] for line in later] == ["step 2 of 2"]
    for name in trained:
        torch.testing.assert_close(again[name], trained[name])
    assert [each["samples"] for each in records_in(tmp_path / "cut")] == [each["samples"] for each in records]


def test_an_image_is_opened_once_a_step_however_many_answers_and_batches_are_of_it(
    folder, steps, tmp_path, monkeypatch
):
    opened = []
    load_image = thinker_grpo.load_image
    monkeypatch.setattr(thinker_grpo, "load_image", lambda file: opened.append(file) or load_image(file))
    config = replace(CONFIG, steps=1, prompts=2, rollouts=4)  # four batches
    result = train(task_of(folder, steps[:2], tmp_path / "work", config))
    assert sorted(opened) == sorted(image for step in steps[:2] for image in step.images)
    (record,) = records_in(tmp_path / "work")
    assert record["edits_judged"] == 2 and not result.warnings  # two questions tell nothing yet


class Ended(BaseException):
    """What a front end raises where the user wants no more."""


def test_an_editor_whose_server_dies_costs_edits_then_the_run_and_never_the_checkpoint(
    folder, steps, tmp_path, monkeypatch
):
    prompts = (f"worth {number % 11} of {number}" for number in count())  # no two alike: none is remembered
    monkeypatch.setattr(thinker_grpo, "parse_critique", lambda text: Critique("ok", 5, 5, "I see.", next(prompts)))
    work, config = tmp_path / "work", replace(CONFIG, steps=GIVE_UP + 6, prompts=1, time_limit=60)

    def train_with(server, lines):
        editor = ServerEditor(server.url, "painter", retries=0)
        task = task_of(folder, steps[:1], work, config, lines=lines)
        rollouts = Rollouts(editor, task.rollouts.judge, editor.defaults, time_limit=60, progress=task.progress)
        return train(replace(task, rollouts=rollouts))

    def dies(request):
        if len(server.requests) > 4:
            server.stop()
        return edit(request)

    with edit_server() as server:
        server.replies = [dies]
        with pytest.raises(
            RethinkError, match=f"{GIVE_UP} times in a row; .*resume.* painter at {server.url}: cannot be reached"
        ):
            train_with(server, lines := [])
    failed = [record.get("failed_edits", 0) for record in records_in(work)]
    assert failed[:2] == [0, 0] and failed[-1] == 2, lines
    reached = len(failed)
    assert list(work.glob("checkpoint-*/trainer_state.json"))
    with edit_server(server.port) as server:
        train_with(server, later := [])
    assert later[0].startswith(f"step {reached + 1} of {config.steps}"), "it went on where it was"
    assert [record.get("failed_edits", 0) for record in records_in(work)][reached:] == [0] * (config.steps - reached)


@torch.inference_mode()  # as ComfyUI runs nodes
def test_it_ends_on_request_in_the_midst_of_a_step_and_keeps_those_before(folder, steps, tmp_path):
    told = []

    def end_in_the_second(now):
        told.append(now)
        if now.done == 1 and len([each for each in told if each.done == 1]) == 3:
            raise Ended

    config = replace(CONFIG, save_every=100)
    with torch.inference_mode(False), torch.enable_grad():
        task = task_of(folder, steps[:2], tmp_path / "work", config, progress=StepProgress(end_in_the_second))
        with pytest.raises(Ended):
            train(task)
        assert [file.parent.name for file in (tmp_path / "work").glob("*/trainer_state.json")] == ["checkpoint-1"]
        again = task_of(folder, steps[:2], tmp_path / "work", config, lines=(lines := []))
        train(again)
    assert [line.split(" · ")[0] for line in lines] == ["step 2 of 2"]
    assert [each["step"] for each in records_in(tmp_path / "work")] == [1, 2]


def test_the_best_on_held_out_tasks_is_kept_while_the_reward_goes_up(folder, steps, tmp_path, monkeypatch):
    success, rewards = iter([0, 3, 1]), iter([[], [0.5], [0.9]])
    monkeypatch.setattr(
        thinker_grpo,
        "measure_tasks",
        lambda *_: [TaskResult(number < count, 1) for count in [next(success)] for number in range(4)],
    )
    monkeypatch.setattr(thinker_grpo.GRPOLog, "take_rewards", lambda self: next(rewards))
    lines = []
    config = replace(CONFIG, lora_rank=2, train_vision=False)
    task = task_of(folder, steps[:2], tmp_path / "work", config, held_out=[steps[2]] * 4, lines=lines)
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    before = task.chat.module.get_parameter(name).clone()
    result = train(task)
    trained = result.model.get_parameter(name)
    assert [each.step for each in result.measured] == [0, 1, 2] and result.best.step == 1
    best = load_file(tmp_path / "work" / BEST)
    down, up = (best[f"base_model.model.{name.replace('weight', f'lora_{side}.default.weight')}"] for side in "AB")
    torch.testing.assert_close(trained, before + 2 * up @ down)
    assert up.abs().sum() > 0 and not any("visual" in key for key in best)
    assert [line for line in lines if "the best so far" in line and "step 1: 75% of 4" in line]
    assert lines[-2].startswith(
        "The reward is going up (0.500 → 0.900) while held-out success is going down (75% at step 1 → 25%)"
    )
    assert [each["best"] for each in records_in(tmp_path / "work") if "held_out" in each] == [True, True, False]


def copies_of(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def changed(before, model):
    return [name for name, value in model.named_parameters() if not torch.equal(before[name], value)]


def test_a_finished_run_only_loads_and_one_of_more_steps_goes_on(folder, steps, tmp_path):
    first = copies_of(train(task_of(folder, steps[:2], tmp_path / "work")).model)
    for fewer_or_same in (2, 1):
        task = task_of(folder, steps[:2], tmp_path / "work", replace(CONFIG, steps=fewer_or_same), lines=(lines := []))
        assert not changed(first, train(task).model) and lines == []
    train(task_of(folder, steps[:2], tmp_path / "work", replace(CONFIG, steps=3), lines=lines))
    assert [line.split(" · ")[0] for line in lines] == ["step 3 of 3"]


@pytest.mark.parametrize(
    ("prompts", "reward", "learns"),
    [
        (("worth 9", "broken"), 0.95, False),  # as zero it would push the first one up
        (("worth 9", "mute"), 0.95, False),
        (("worth 9", "worth 9", "broken"), 0.95, False),
        (("worth 9", "worth 3", "broken"), 0.875, True),
    ],
)
def test_an_edit_or_a_judgment_that_fails_moves_nothing_and_is_no_zero_in_its_group(
    folder, steps, tmp_path, monkeypatch, prompts, reward, learns
):
    left = iter(prompts)
    monkeypatch.setattr(thinker_grpo, "parse_critique", lambda text: Critique("ok", 5, 5, "I see.", next(left)))
    config = replace(CONFIG, steps=1, rollouts=len(prompts), batch=len(prompts))
    task = task_of(folder, steps[:1], tmp_path / "work", config, editor=FailingPainter())
    before = copies_of(task.chat.module)
    result = train(task)
    (record,) = records_in(tmp_path / "work")
    assert record["reward"] == pytest.approx(reward) and record["answers_without_reward"] == 1
    assert bool(changed(before, result.model)) is (record["grad_norm"] > 0) is learns
    assert any("Nothing was learned" in warning for warning in result.warnings) is not learns


class DeadJudge(PromptJudge):
    def chat_all(self, requests, **_):
        raise ConnectionError("nobody listens")


def test_a_training_without_one_reward_is_no_success(folder, steps, tmp_path):
    for _ in range(2):  # nor where it is started again
        with pytest.raises(RethinkError, match=r"no answer had a reward.*nobody listens") as raised:
            train(task_of(folder, steps[:2], tmp_path / "work", judge=DeadJudge(), lines=(lines := [])))
    assert str(tmp_path / "work") in str(raised.value) and lines == []
    assert all(each["groups_without_rewards"] == each["groups_skipped"] == 1 for each in records_in(tmp_path / "work"))


def test_held_out_tasks_that_all_fail_at_the_start_end_it_before_any_step(folder, steps, tmp_path):
    lines = []
    with pytest.raises(RethinkError, match=r"none of the 1 held-out tasks could be measured.*nobody listens"):
        train(task_of(folder, steps[:2], tmp_path / "work", held_out=steps[2:], judge=DeadJudge(), lines=lines))
    assert lines == [] and not (tmp_path / "work" / LOG).exists()


def test_a_trl_that_takes_failures_for_zeros_is_refused(folder, steps, tmp_path, monkeypatch):
    import trl

    monkeypatch.setattr(trl, "__version__", "1.5.1")
    with pytest.raises(RethinkError, match=r"trl: version 1.5.1 .* pip install --upgrade \"trl>=1.6\""):
        train(task_of(folder, steps, tmp_path / "work"))


def test_checkpoints_of_another_training_are_refused(folder, steps, tmp_path):
    train(task_of(folder, steps[:2], tmp_path / "work", replace(CONFIG, steps=1)))
    for others in (steps[1:], steps):  # also as many
        with pytest.raises(RethinkError, match=r"contains the checkpoints of another training \(data: "):
            train(task_of(folder, others, tmp_path / "work"))
    before = {"lora": 0, "see": True, "method": "grpo", "steps": 2}  # as it was written before data were looked at
    (tmp_path / "work" / "trained.json").write_text(json.dumps(before), encoding="utf-8")
    with pytest.raises(RethinkError, match="contains the checkpoints of another training"):
        train(task_of(folder, steps[:2], tmp_path / "work"))


def test_vllm_is_asked_for_before_anything_is_done(folder, steps, tmp_path, monkeypatch):
    task = task_of(folder, steps, tmp_path / "work", replace(CONFIG, vllm="colocate"))
    with pytest.raises(RethinkError, match="vllm"):
        train(task)
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(RethinkError, match="^vllm: only runs on Linux; leave it off"):
        train(task)
    assert not (tmp_path / "work").exists()
