"""Steps to learn from by reinforcement: from runs and from collected data."""

import pytest

from rethink.collect.dataset_job import CollectJob
from rethink.collect.rules import CollectRules
from rethink.errors import RethinkError
from rethink.images import load_image
from rethink.steps import ChecklistItem, Critique, Step
from rethink.training.conversations import unroll
from rethink.training.thinker_steps import COLLECTED, hold_out, read_steps
from rethink.trajectory import new_trajectory
from tests.support.rl_steps import write_step
from tests.support.trajectories import PRESERVED, draw_images, write_trajectory


def write_run(folder, seed, scores, **options):
    return write_trajectory(folder, scores, images=draw_images(seed, len(scores), 16), **options)


def test_runs_are_unrolled_up_to_their_best_as_they_are_for_supervised_learning(tmp_path):
    run = write_run(tmp_path / "runs" / "good", 1, (2, 9, 5))
    write_run(tmp_path / "runs" / "harmed", 2, (8, 3))
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "trajectory.json").write_text("{", encoding="utf-8")
    steps, left_out = read_steps([tmp_path / "runs"])
    assert left_out == 1
    assert [step.last_prompt for step in steps] == ["prompt 0", "prompt 1"]
    learned = unroll(run)
    assert [step.messages for step in steps] == [conversation.messages for conversation in learned]
    assert [step.images for step in steps] == [conversation.images for conversation in learned]
    assert steps[0].source_id == steps[1].source_id and steps[0].edited_id != steps[1].edited_id


def test_the_statements_of_a_run_are_asked_about_as_they_are_for_supervised_learning(tmp_path):
    run = new_trajectory(tmp_path / "run", *draw_images(1, 0, 16), "make it red", {})
    seen = Critique("ok", 9, 9, "a hat", "prompt 1", (ChecklistItem("the hat is red", True),))
    edited = draw_images(1, 1, 16)[1]
    run = run.append_step(Step(1, 0, "prompt 0", "user", 0, seen, PRESERVED, 9.0, 1.0, 1.0, None, edited))
    (step,), _ = read_steps([run.finish("accepted").folder])
    assert step.messages == unroll(run)[0].messages and "1. the hat is red" in str(step.messages)


def test_the_part_for_reinforcement_of_a_collected_data_set_is_read(tmp_path):
    for seed, scores in enumerate(((5, 6), (1, 9), (4, 4))):
        write_run(tmp_path / "runs" / str(seed), seed, scores)
    CollectJob((tmp_path / "runs",), tmp_path / "data", CollectRules(sft_share=0.5)).run()
    steps, left_out = read_steps([tmp_path / "data"])
    assert (steps, left_out) == read_steps([tmp_path / "data" / COLLECTED]) and not left_out
    all_steps, _ = read_steps([tmp_path / "runs"])
    of_runs = {(step.instruction, step.last_prompt, step.source_id): step for step in all_steps}
    assert 0 < len(steps) < len(of_runs)
    for step in steps:
        same = of_runs[step.instruction, step.last_prompt, step.source_id]
        assert step.messages == same.messages and step.edited_id == same.edited_id
        assert [load_image(image).shape for image in step.images] == [(1, 16, 16, 3)] * 2
    steps[0].edited.unlink()
    assert len(read_steps([tmp_path / "data"])[0]) < len(steps)  # what is gone costs its rows alone


def test_runs_with_an_image_that_is_cut_off_and_those_that_have_not_ended_are_left_out(tmp_path):
    write_run(tmp_path / "good", 1, (2, 9))
    write_run(tmp_path / "unfinished", 2, (2, 9), stopped="")
    file = write_run(tmp_path / "cut off", 3, (2, 9)).folder / "turn-0002-00.png"
    file.write_bytes(file.read_bytes()[:60])
    steps, left_out = read_steps([tmp_path])
    assert {step.source.parent.name for step in steps} == {"good"} and left_out == 2


@pytest.mark.parametrize(("name", "message"), [("gone", "there is no folder"), ("", "nothing to learn from")])
def test_folders_without_anything_are_refused(tmp_path, name, message):
    with pytest.raises(RethinkError, match=f"data: .*{message}"):
        read_steps([tmp_path / name])


def test_held_out_tasks_share_no_source_with_what_is_trained_on(tmp_path):
    steps = []
    for number in range(10):
        step = write_step(tmp_path, red=number / 10)
        steps += [step, step, write_step(tmp_path, red=number / 10, instruction="otherwise")]
    training, tasks = hold_out(steps, 32)
    assert len(tasks) == 4 and len(training) == 24  # a fifth of the sources, each with two instructions
    assert not {step.source_id for step in training} & {step.source_id for step in tasks}
    assert len({(task.source_id, task.instruction) for task in tasks}) == len(tasks)
    assert hold_out(steps[::-1], 32)[1] != [] and {t.source_id for t in hold_out(steps[::-1], 32)[1]} == {
        t.source_id for t in tasks
    }
    assert len(hold_out(steps, 1)[1]) == 1 and hold_out(steps, 0) == (steps, [])
