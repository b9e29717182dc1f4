"""Trajectories become conversations by the data rules."""

import json
import shutil
from random import Random

import pytest
import torch

from rethink.collect.runs import with_scores
from rethink.errors import RethinkError
from rethink.steps import ChecklistItem, Critique, Preservation, Step
from rethink.thinkers.critique import TEMPLATE, critique_messages
from rethink.thinkers.critique_format import parse_critique
from rethink.training import conversations as data
from rethink.trajectory import load_trajectory, new_trajectory
from tests.support.trajectories import PRESERVED, rewrite_steps, write_trajectory


@pytest.mark.parametrize(
    ("scores", "stopped", "kept"),
    [
        ((3, 8), "accepted", True),
        ((8, 3, 2), "turns", False),
        ((5, 5), "turns", True),
        ((9,), "accepted", True),
        ((4,), "failed", False),
        ((), "failed", False),
    ],
)
def test_a_trajectory_is_kept_when_thinking_did_no_harm(tmp_path, scores, stopped, kept):
    assert data.did_no_harm(write_trajectory(tmp_path / "run", scores, stopped)) is kept


def test_it_is_cut_at_the_best_turn_and_unrolled_into_steps(tmp_path):
    steps = data.unroll(write_trajectory(tmp_path / "run", (2, 5, 9, 4)))
    answers = [parse_critique(step.answer) for step in steps]
    assert [answer.semantic for answer in answers] == [2, 5, 9]
    assert [answer.next_prompt for answer in answers] == ["prompt 1", "prompt 2", "prompt 2"]  # the last says stop
    assert [answer.reasoning for answer in answers] == ["reason 0", "reason 1", "reason 2"]
    assert steps[1].messages == critique_messages(TEMPLATE, instruction="make it red", prompt="prompt 1")
    assert [image.name for image in steps[1].images] == ["source.png", "turn-0002-00.png"]


def test_there_is_an_image_for_every_place_that_shows_one(tmp_path):
    wording = "{edited}{source}{instruction} Now compare with the source again: {source}"
    (step,) = data.unroll(write_trajectory(tmp_path / "run", (9,)), wording)
    assert [image.name for image in step.images] == ["turn-0001-00.png", "source.png", "source.png"]
    assert sum(part["type"] == "image" for part in step.messages[0]["content"]) == len(step.images)


def test_praise_for_an_edit_that_changed_nothing_is_not_learned(tmp_path):
    same = Preservation(0.0, 99.0, True)
    assert (
        data.unroll(write_trajectory(tmp_path / "run", (2, 9), preserved=same))[-1].images[1].name == "turn-0001-00.png"
    )
    assert not data.did_no_harm(write_trajectory(tmp_path / "liked", (9,), "accepted", preserved=same))


def test_the_separate_scorer_has_the_last_word(tmp_path):
    steps = data.unroll(write_trajectory(tmp_path / "run", (9, 2), judged=(1, 7)))
    assert [parse_critique(step.answer).semantic for step in steps] == [1, 7]


def write_checked(folder):
    """A run of one turn whose statements were checked one by one."""
    items = ChecklistItem("the hat is red", True), ChecklistItem("the sky is as it was", False)
    critique = Critique("ok", 9, 9, "a hat", "prompt 1", items)
    run = new_trajectory(folder, torch.zeros(1, 8, 8, 3), "make it red", {})
    image = torch.full((1, 8, 8, 3), 0.5)
    step = Step(1, 0, "prompt 0", "user", 0, critique, PRESERVED, 6.0, 1.0, 1.0, None, image)
    return run.append_step(step).finish("accepted")


def test_statements_that_the_question_lists_are_answered(tmp_path):
    run = write_checked(tmp_path / "run")
    (step,) = data.unroll(run)
    statements = ["the hat is red", "the sky is as it was"]
    asked = critique_messages(TEMPLATE, instruction="make it red", prompt="prompt 0", checklist=statements)
    assert step.messages == asked and "<checklist>\n1: yes\n2: no\n</checklist>" in step.answer


@pytest.mark.parametrize("more", ["", "{demands_form}"])
def test_nothing_is_answered_that_the_question_does_not_list(tmp_path, more):
    wording = "{source}{edited} Judge {instruction} {prompt}" + more
    (step,) = data.unroll(write_checked(tmp_path / "run"), wording)
    assert "checklist" not in step.answer and "checklist" not in step.messages[0]["content"][-1]["text"]
    assert parse_critique(step.answer).semantic == 9


def write_candidates(folder):
    """A run of two candidates a turn, of which the second went on; their scores and ranks differ in the first turn."""
    run = new_trajectory(folder, torch.zeros(1, 8, 8, 3), "make it red", {"rules": {"candidates": 2}})
    changed = Preservation(0.9, 40.0, False)  # costs it its rank, not its scores
    for turn, candidate, score, rank, kept in ((1, 0, 6, 5.1, changed), (1, 1, 5.5, 5.4, PRESERVED)):
        run = run.append_step(candidate_step(turn, candidate, score, rank, kept, "prompt 0"))
    for turn, candidate, score, rank, kept in ((2, 0, 8, 7.9, PRESERVED), (2, 1, 9, 8.9, PRESERVED)):
        run = run.append_step(candidate_step(turn, candidate, score, rank, kept, "prompt of 1-1"))
    return run.finish("turns")


def candidate_step(turn, candidate, score, rank, kept, prompt):
    name = f"{turn}-{candidate}"
    critique = Critique("ok", score, score, f"I see {name}", f"prompt of {name}")
    image = torch.full((1, 8, 8, 3), (2 * turn + candidate) / 9)
    return Step(turn, candidate, prompt, "thinker", 2 * turn + candidate, critique, kept, rank, 1.0, 1.0, None, image)


@pytest.mark.parametrize("judged", [None, {"0": (9, 9), "1": (1, 1), "2": (9.5, 9.5), "3": (2, 2)}])
def test_what_is_learned_of_a_turn_is_of_the_candidate_that_went_on(tmp_path, judged):
    steps = data.unroll(with_scores(write_candidates(tmp_path / "run"), judged))
    answers = [parse_critique(step.answer) for step in steps]
    assert [answer.reasoning for answer in answers] == ["I see 1-1", "I see 2-1"]
    assert [step.images[1].name for step in steps] == ["turn-0001-01.png", "turn-0002-01.png"]
    assert answers[0].next_prompt == "prompt of 1-1", "it was written after seeing that one"
    assert [answer.semantic for answer in answers] == ([1, 2] if judged else [5.5, 9])


def test_what_a_run_has_come_to_accept_since_then_changes_nobody_who_went_on(tmp_path):
    run = rewrite_steps(write_candidates(tmp_path / "run"), accept_first_of_turn_1)
    run = load_trajectory(run.folder)
    assert [step.accepted for step in run.steps] == [True, False, False, False]
    answers = [parse_critique(step.answer) for step in data.unroll(run)]
    assert [answer.reasoning for answer in answers] == ["I see 1-1", "I see 2-1"]


def accept_first_of_turn_1(step):
    if (step["turn"], step["candidate"]) == (1, 0):
        step["accepted"] = True


def test_the_calmest_are_for_supervised_learning(tmp_path):
    runs = [write_trajectory(tmp_path / str(number), (0, number)) for number in range(10)]
    calm, volatile = data.split_by_variance(runs[::-1])
    assert [run.folder.name for run in calm] == [*"01234567"] and len(volatile) == 2


def test_no_kind_of_task_and_score_prevails():
    counts = {"a": 2, "b": 3, "c": 40}
    made = [data.Conversation([], (), "", (kind, 5)) for kind, count in counts.items() for _ in range(count)]
    left = [conversation.group[0] for conversation in data.balance(made, Random(0))]
    assert {kind: left.count(kind) for kind in counts} == {"a": 2, "b": 3, "c": 6}


@pytest.mark.parametrize(
    ("instruction", "kind"),
    [
        ("Please remove the red car", "remove"),
        ("could you ADD a hat?", "add"),
        ("the star should be Blue", "color"),
        ("haz que nieve", "other"),
    ],
)
def test_the_kind_of_task_is_what_the_instruction_says_first(tmp_path, instruction, kind):
    run = write_trajectory(tmp_path / "run", (9,), instruction=instruction, options=())
    assert data.kind_of(run) == kind


def test_runs_are_balanced_by_the_task_that_their_instruction_says(tmp_path):
    """As `rethink collect` does: of runs of a user, whose options name no kind."""
    for number, instruction in enumerate(["add a hat", "remove the car", *["make it blue"] * 6]):
        write_trajectory(tmp_path / str(number), (9,), "accepted", instruction=instruction, options=())
    learned, _ = data.from_folders([tmp_path])
    assert sorted(each.group[0] for each in learned) == ["add", "color", "color", "remove"]


def test_no_trajectory_to_learn_from_is_said(tmp_path):
    write_trajectory(tmp_path / "run", (9, 1))
    with pytest.raises(RethinkError, match="none of the 1 trajectories"):
        data.from_folders([tmp_path])
    (tmp_path / "pictures").mkdir()
    with pytest.raises(RethinkError, match="there are no recorded runs in .*pictures or below"):
        data.from_folders([tmp_path / "pictures"])


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(RethinkError, match="^data: there is no folder"):
        data.from_folders([tmp_path / "gone"])


def test_a_collected_data_set_is_learned_as_it_is(tmp_path):
    run = write_trajectory(tmp_path / "runs" / "run", (3, 9))
    rows = [
        {
            "prompt": each.messages,
            "images": [f"images/{number}.png", "source.png"],
            "completion": [{"role": "assistant", "content": [{"type": "text", "text": each.answer}]}],
        }
        for number, each in enumerate(data.unroll(run))
    ]
    (tmp_path / "data" / "images").mkdir(parents=True)
    shutil.copy(run.folder / "source.png", tmp_path / "data")
    shutil.copy(run.folder / "source.png", tmp_path / "data" / "images" / "0.png")  # the second one's is gone
    lines = [json.dumps(row) for row in [*rows, {**rows[0], "completion": ["damaged"]}]]
    (tmp_path / "data" / data.COLLECTED).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (found,), left_out = data.from_folders([tmp_path / "data"])
    assert found.messages == rows[0]["prompt"] and found.answer == data.unroll(run)[0].answer and not left_out
    assert found.images == (tmp_path / "data" / "images" / "0.png", tmp_path / "data" / "source.png")


def test_a_run_that_is_damaged_or_has_not_ended_costs_itself_alone(tmp_path):
    write_trajectory(tmp_path / "good", (3, 9))
    write_trajectory(tmp_path / "unfinished", (3, 9), "")
    (write_trajectory(tmp_path / "bad", (3, 9)).folder / "source.png").unlink()
    file = write_trajectory(tmp_path / "cut off", (3, 9)).folder / "turn-0002-00.png"
    file.write_bytes(file.read_bytes()[:60])
    found, left_out = data.from_folders([tmp_path])
    assert {conversation.images[0].parent.name for conversation in found} == {"good"} and left_out == 3
