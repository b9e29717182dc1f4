"""Trajectories become conversations by the data rules, and a Qwen3-VL learns from them and loads again."""

import shutil
import sys
from random import Random
from types import SimpleNamespace

import pytest
import torch

from rethink.errors import RethinkError
from rethink.think_loop import think_while_edit
from rethink.thinkers.critique import TEMPLATE, Thinker, critique, critique_messages
from rethink.thinkers.critique_format import parse_critique
from rethink.thinkers.loading import load_thinker
from rethink.tiny import build_thinker, judge, render, sample_task, teacher
from rethink.tiny.oracle import read, verdict
from rethink.tiny.scene import has_held_out_look
from rethink.training import conversations as data
from rethink.training.thinker_sft import IGNORED, Clock, DataCollator, SFTConfig, main, train
from rethink.trajectory import Critique, Preservation, Step, new_trajectory
from tests.support.miniature_thinkers import write_thinker

PRESERVED = Preservation(0.1, 40.0, False)


# --- the data rules --------------------------------------------------------------------------------------------------


def trajectory(folder, scores, stopped="turns", judged=()):
    """A run whose turn t got scores[t] and was edited with "prompt t"."""
    picture = torch.zeros(1, 8, 8, 3)
    run = new_trajectory(folder, picture, "make it red", {"kind": "color"})
    for turn, score in enumerate(scores):
        said = Critique("ok", score, score, f"reason {turn}", f"prompt {turn + 1}")
        scorer = Critique("ok", judged[turn], judged[turn]) if judged else None
        run = run.append_step(
            Step(turn + 1, 0, f"prompt {turn}", "thinker", turn, said, PRESERVED, score, 1.0, 1.0, scorer, picture)
        )
    return run.finish(stopped)


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
    assert data.is_kept(trajectory(tmp_path / "run", scores, stopped)) is kept


def test_it_is_cut_at_the_best_turn_and_unrolled_into_steps(tmp_path):
    steps = data.unroll(trajectory(tmp_path / "run", (2, 5, 9, 4)))
    answers = [parse_critique(step.answer) for step in steps]
    assert [answer.semantic for answer in answers] == [2, 5, 9]
    assert [answer.next_prompt for answer in answers] == ["prompt 1", "prompt 2", "prompt 2"]  # the last says stop
    assert [answer.reasoning for answer in answers] == ["reason 0", "reason 1", "reason 2"]
    assert steps[1].messages == critique_messages(TEMPLATE, instruction="make it red", prompt="prompt 1")
    assert [image.name for image in steps[1].images] == ["source.png", "turn-0002-00.png"]


def test_there_is_a_picture_for_every_place_that_shows_one(tmp_path):
    wording = "{edited}{source}{instruction} Now compare with the source again: {source}"
    (step,) = data.unroll(trajectory(tmp_path / "run", (9,)), wording)
    assert [image.name for image in step.images] == ["turn-0001-00.png", "source.png", "source.png"]
    assert sum(part["type"] == "image" for part in step.messages[0]["content"]) == len(step.images)


def test_praise_for_an_edit_that_changed_nothing_is_not_learnt(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PRESERVED", Preservation(0.0, 99.0, True))
    assert data.unroll(trajectory(tmp_path / "run", (2, 9)))[-1].images[1].name == "turn-0001-00.png"
    assert not data.is_kept(trajectory(tmp_path / "liked", (9,), "accepted"))


def test_the_separate_scorer_has_the_last_word(tmp_path):
    steps = data.unroll(trajectory(tmp_path / "run", (9, 2), judged=(1, 7)))
    assert [parse_critique(step.answer).semantic for step in steps] == [1, 7]


def test_the_calmest_are_for_supervised_learning(tmp_path):
    runs = [trajectory(tmp_path / str(number), (0, number)) for number in range(10)]
    calm, volatile = data.by_variance(runs[::-1])
    assert [run.folder.name for run in calm] == [*"01234567"] and len(volatile) == 2


def test_no_kind_of_task_and_score_prevails():
    counts = {"a": 2, "b": 3, "c": 40}
    made = [data.Conversation([], (), "", (kind, 5)) for kind, count in counts.items() for _ in range(count)]
    left = [conversation.group[0] for conversation in data.balance(made, Random(0))]
    assert {kind: left.count(kind) for kind in counts} == {"a": 2, "b": 3, "c": 6}


def test_no_trajectory_to_learn_from_is_said(tmp_path):
    trajectory(tmp_path / "run", (9, 1))
    with pytest.raises(RethinkError, match="none of the 1 trajectories"):
        data.from_folders([tmp_path])


# --- the teacher of the built-in world -------------------------------------------------------------------------------


def test_the_teacher_says_what_the_oracle_sees():
    for seed in range(25):
        lesson = teacher.draw_lesson(seed)
        truth, said = verdict(lesson.sight, lesson.task), teacher.criticize(lesson.task, lesson.sight, lesson.prompt)
        assert (said.semantic == 10) == truth.success
        assert (said.semantic >= 4) == truth.done
        assert parse_critique(teacher.answer(lesson)).status == "ok"
        requests = teacher.plain_requests(lesson.task)
        assert (
            said.next_prompt == lesson.prompt if truth.success else said.next_prompt in set(requests) - {lesson.prompt}
        )


def test_a_lesson_never_shows_a_held_out_look():
    """Where any colour will do, some of the right answers are held out."""
    tasks = (sample_task(seed, kind="add", split="train") for seed in range(400))
    open_ones = [task for task in tasks if any(map(has_held_out_look, task.accepted))]
    assert open_ones
    for task in open_ones:
        assert not any(has_held_out_look(teacher.attempt(Random(seed), task)) for seed in range(50))


def test_what_is_read_off_a_drawn_picture_is_what_was_drawn():
    for seed in range(12):
        task = sample_task(seed, "unusual", split="train")
        sight = read(render([task.target]), task)
        assert verdict(sight, task).success and teacher.wrong_parts(sight, task) == ([], [])
        undone = teacher.reasoning(task, read(render([task.source]), task)).split("Done: ")[1]
        assert " no" in undone and " yes," not in undone and undone.endswith("Else kept: yes.")


def test_statements_are_verified_one_by_one():
    task = sample_task(4, "plain", kind="recolor")
    before, after = (teacher.verified(task, read(render([scene]), task)) for scene in (task.source, task.target))
    assert [demand.passed for demand in before] == [False] + [True] * (len(before) - 1)
    assert all(demand.passed for demand in after) and [d.text for d in after] == teacher.split(task)


class DrawingEditor:
    """Edits by drawing what the oracle accepts when asked in plain words, else hands the source back."""

    name = "drawing"

    def __init__(self, task):
        self.task = task

    def prepare(self, images):
        return images

    def edit(self, prepared, instructions, seeds, settings, *, mask=None, on_step=None):
        plain = teacher.plain_requests(self.task)
        return render([self.task.target if words in plain else self.task.source for words in instructions])


def test_the_teacher_leads_an_editor_that_knows_plain_words_only():
    for seed, level in enumerate(("unusual", "reasoning")):
        task = sample_task(seed, level, split="train")
        source = render([task.source])
        steps = list(think_while_edit(DrawingEditor(task), teacher.Teacher(task).thinker(), source, task.instruction))
        assert [judge(step.image, task).success for step in steps] == [False, True]


def test_trajectories_of_an_editor_become_lessons(tmp_path, monkeypatch):
    tasks = []
    monkeypatch.setattr(build_thinker, "sample_task", lambda *a, **k: tasks.append(sample_task(*a, **k)) or tasks[-1])
    editor = SimpleNamespace(
        prepare=lambda images: images, edit=lambda *arguments, **k: DrawingEditor(tasks[-1]).edit(*arguments, **k)
    )
    build_thinker.make_trajectories(editor, tmp_path, 6, 0, 0, 1, print)
    made = data.from_folders([tmp_path])
    lessons = build_thinker.Lessons(tuple(made), share=1.0)
    assert made and lessons[3] in made and {c.group[0].split()[0] for c in made} <= {"plain", "unusual", "reasoning"}
    build_thinker.make_trajectories(editor, tmp_path, 6, 0, 0, 1, print)  # what is there is not made again


# --- the model and its training --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("thinker")
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_thinker, "TEXT", build_thinker.TEXT | small)
        patch.setattr(build_thinker, "VISION", {"hidden_size": 32, "intermediate_size": 64, "depth": 2, "num_heads": 2})
        build_thinker.write_folder(folder)
        build_thinker.make_model(folder).save_pretrained(folder)
    return folder


@pytest.fixture
def chat(folder):
    return load_thinker(folder, dtype="fp32")


RECIPE = SFTConfig(
    batch=4,
    accumulate=1,
    learning_rate=3e-3,
    see=True,
    checkpointing=False,
    precision="no",
    workers=0,
    save_every=2,
    log_every=1,
)


def rows(count):
    lessons = build_thinker.Lessons()
    return [{"conversation": lessons[index]} for index in range(count)]


def test_whole_questions_and_known_words_are_few_tokens(chat):
    long_ago = critique_messages(
        TEMPLATE, instruction="dye the red star cobalt", prompt="make the red star blue", checklist=("nothing",)
    )
    pictures = [torch.zeros(1, 128, 128, 3)] * 2
    assert len(chat.reader(long_ago, pictures).tokens) < 80
    for seed in range(20):
        answer = teacher.answer(teacher.draw_lesson(seed))
        tokens = chat.tokenizer(answer).input_ids
        assert chat.tokenizer.decode(tokens) == answer and len(tokens) < 160
    odd = "ångström 草 🙂"
    assert chat.tokenizer.decode(chat.tokenizer(odd).input_ids) == odd


def test_what_is_learnt_is_the_answer_after_the_question_as_it_is_asked(chat):
    row = rows(1)[0]["conversation"]
    encoded = DataCollator(chat, pack=False).encode(row)
    tokens, labels = encoded.along["input_ids"], encoded.along["labels"]
    asked = chat.reader(row.messages, data.load_images(row)).tokens
    assert torch.equal(tokens[: len(asked)], asked) and (labels[: len(asked)] == IGNORED).all()
    assert torch.equal(labels[len(asked) :], tokens[len(asked) :])
    assert chat.tokenizer.decode(labels[len(asked) :]) == row.answer + chat.tokenizer.eos_token


def test_a_packed_row_is_worth_its_conversations(chat):
    """What stands before a conversation in its row must not be seen by it."""
    batch = rows(3)
    with torch.no_grad():
        packed = chat.module(**DataCollator(chat, pack=True)(batch), use_cache=False).logits[0]
        start = 0
        for row in batch:
            alone = chat.module(**DataCollator(chat, pack=False)([row])).logits[0]
            torch.testing.assert_close(packed[start : start + len(alone)], alone, rtol=1e-3, atol=1e-4)
            start += len(alone)
    assert start == len(packed)


def test_it_learns_and_goes_on_where_it_was_cut_off(chat, folder, tmp_path, capsys):
    lessons = [row["conversation"] for row in rows(4)] * 4
    train(chat, lessons, RECIPE, tmp_path / "whole")
    assert (tmp_path / "whole" / "checkpoint-4").is_dir()
    losses = [
        float(line.split("'loss': '")[1].split("'")[0])
        for line in capsys.readouterr().out.splitlines()
        if "'loss'" in line
    ]
    assert len(losses) == 4 and losses[-1] < losses[0]
    (tmp_path / "cut").mkdir()
    (tmp_path / "whole" / "checkpoint-2").rename(tmp_path / "cut" / "checkpoint-2")
    again = load_thinker(folder, dtype="fp32")
    train(again, lessons, RECIPE, tmp_path / "cut")
    for ours, theirs in zip(again.module.parameters(), chat.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("lora", [0, 4])
def test_the_command_trains_a_folder_that_opens(folder, tmp_path, lora):
    trajectory(tmp_path / "data" / "run", (2, 5, 9))
    arguments = [folder, tmp_path / "data", tmp_path / "out", "--lora", lora, "--pack"]
    arguments += ["--batch", 1, "--precision", "no", "--workers", 0, "--learning-rate", 0.01]
    assert main([str(argument) for argument in arguments]) == 0
    before, after = (load_thinker(path, dtype="fp32") for path in (folder, tmp_path / "out"))
    changed = {
        name
        for (name, old), new in zip(before.module.named_parameters(), after.module.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed and not any("visual" in name for name in changed)
    source = torch.rand(1, 128, 128, 3)
    said = critique(Thinker(after, max_tokens=8), source, [source], "make it red", ["make it red"], [0])
    assert said[0].status in ("unparsed", "ok", "repaired")


def test_the_command_trains_every_kind_in_every_way(tmp_path):
    trajectory(tmp_path / "data" / "run", (2, 5, 9))
    base = write_thinker(tmp_path / "base", "Qwen2_5_VL")
    before = load_thinker(base, dtype="fp32").module.state_dict()
    for number, flags in enumerate((["--lora", "4"], ["--lora", "4", "--see"], ["--see"])):
        out = tmp_path / str(number)
        arguments = [base, tmp_path / "data", out, "--batch", 1, "--precision", "no", "--workers", 0]
        arguments += ["--learning-rate", 0.01, *flags]
        assert main([str(argument) for argument in arguments]) == 0
        after = load_thinker(out, dtype="fp32").module.state_dict()
        changed = [name for name in before if not torch.equal(before[name], after[name])]
        assert changed and any("visual" in name for name in changed) is ("--see" in flags)


def test_a_checkpoint_that_was_cut_off_is_passed_over_and_those_of_another_recipe_are_refused(folder, tmp_path):
    trajectory(tmp_path / "data" / "run", (2, 5, 9))
    arguments = [folder, tmp_path / "data", tmp_path / "out", "--batch", 1, "--accumulate", 1, "--save-every", 1]
    arguments = [str(a) for a in [*arguments, "--precision", "no", "--workers", 0, "--epochs", 1]]
    assert main(arguments) == 0
    work = tmp_path / "out-checkpoints"
    last = max(work.glob("checkpoint-*"), key=lambda f: int(f.name.rpartition("-")[2]))
    shutil.copytree(last, work / "checkpoint-999", ignore=shutil.ignore_patterns("trainer_state.json"))
    (work / "checkpoint-999" / "model.safetensors").write_bytes(b"cut")
    assert main([*arguments[:-1], "2"]) == 0
    assert main([*arguments, "--lora", "4"]) == 2


def test_the_command_says_what_is_wrong(folder, tmp_path, capsys):
    for arguments, message in (
        ([folder, tmp_path, tmp_path / "out"], "none of the 0 trajectories"),
        ([folder, tmp_path, tmp_path / "out", "--template", tmp_path / "none.txt"], "template: "),
    ):
        assert main([str(argument) for argument in arguments]) == 2
        assert message in capsys.readouterr().err


def test_the_rate_follows_steps_or_the_clock():
    by_steps, by_time = Clock(0, 0.1), Clock(10, 0.1)
    by_steps.tick(1.0, 1)
    by_time.tick(0.01, 300)
    assert by_steps(0) == pytest.approx(0) and by_time.done == 0.5 and 0.5 < by_time(0) < 0.7
