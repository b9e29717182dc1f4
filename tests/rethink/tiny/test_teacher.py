"""The teacher of the built-in world says what the oracle sees, in the words that a thinker learns."""

import re
from random import Random
from statistics import fmean

from rethink.thinkers.critique_format import parse_critique
from rethink.thinkers.regions import parse_regions, split_boxes
from rethink.tiny import judge, render, sample_task, teacher
from rethink.tiny.oracle import observe, verdict, visible_object
from rethink.tiny.scene import has_held_out_look
from rethink.tiny.tasks import WIDE
from tests.support.scenes import DrawingEditor
from tests.support.thinking import start_thinking


def test_the_teacher_says_what_the_oracle_sees():
    for seed in range(25):
        example = teacher.draw_example(seed)
        truth, said = (
            verdict(example.observation, example.task),
            teacher.criticize(example.task, example.observation, example.prompt),
        )
        assert (said.semantic == 10) == truth.success
        assert (said.semantic >= 4) == truth.done
        assert parse_critique(teacher.write_critique(example)).status == "ok"
        requests = teacher.plain_requests(example.task)
        assert (
            said.next_prompt == example.prompt
            if truth.success
            else said.next_prompt in set(requests) - {example.prompt}
        )


def test_the_teacher_points_at_what_is_wrong_and_where_the_edit_belongs():
    corners = {"top left": (0, 0), "top right": (0.5, 0), "bottom left": (0, 0.5), "bottom right": (0.5, 0.5)}
    kinds = set()
    for seed in range(25):
        example = teacher.draw_example(seed)
        said = teacher.write_critique(example) + teacher.write_regions(example.task, example.observation)
        answer, block = split_boxes(said)
        assert answer.strip() == teacher.write_critique(example).strip()
        wrong, changed = teacher.wrong_parts(example.observation, example.task)
        parts = {
            "wrong": wrong,
            "changed": changed,
            "place": teacher.changed_parts(example.task, example.observation.answer),
        }
        true = {(kind, corners.get(part, "all")) for kind, found in parts.items() for part in found}
        found = parse_regions(block, (128, 128))
        assert true == {(r.kind, "all" if r.box == (0, 0, 1, 1) else r.box[:2]) for r in found}
        kinds |= {kind for kind, _ in true}
    assert kinds == {"wrong", "changed", "place"}


def test_what_was_done_does_not_tell_what_was_asked():
    """Who takes the edit for the request would be right where the user's words were understood: in less than half of the lessons."""
    examples = [teacher.draw_example(seed, level=WIDE) for seed in range(300)]
    asked = [example for example in examples if example.prompt == example.task.instruction]
    found = [verdict(example.observation, example.task) for example in asked]
    assert 0.3 < fmean(each.done for each in found) < 0.5
    elsewhere = [e for e, each in zip(asked, found) if not each.done and len(_changed(e)) == 1]
    assert len(elsewhere) > 0.2 * len(asked)
    assert sum(_changed(e) <= set(teacher.changed_parts(e.task)) for e in elsewhere) > 0.3 * len(elsewhere)


def _changed(example) -> set[str]:
    """The places where an edit differs from its source."""
    things = zip(example.observation.things, range(4))
    cells = {teacher.PLACES[cell] for thing, cell in things if thing != visible_object(example.task.source.at(cell))}
    return cells | ({"background"} if example.observation.background[0] != example.task.source.background else set())


def test_a_lesson_never_shows_a_held_out_look():
    """Where any color will do, some of the right answers are held out."""
    tasks = (sample_task(seed, kind="add", split="train") for seed in range(400))
    open_ones = [task for task in tasks if any(map(has_held_out_look, task.accepted))]
    assert open_ones
    for task in open_ones:
        assert not any(has_held_out_look(teacher.attempt(Random(seed), task)) for seed in range(50))


def test_what_is_read_off_a_drawn_picture_is_what_was_drawn():
    for seed in range(5):
        task = sample_task(seed, "unusual", split="train")
        observation = observe(render([task.target]), task)
        assert verdict(observation, task).success and teacher.wrong_parts(observation, task) == ([], [])
        undone = teacher.reasoning(task, observe(render([task.source]), task)).split("Done: ")[1]
        assert " no" in undone and " yes," not in undone and undone.endswith("Else kept: yes.")


def test_statements_are_verified_one_by_one():
    task = sample_task(4, "plain", kind="recolor")
    before, after = (
        teacher.verify_checklist(task, observe(render([scene]), task)) for scene in (task.source, task.target)
    )
    assert [demand.passed for demand in before] == [False] + [True] * (len(before) - 1)
    assert all(demand.passed for demand in after) and [d.text for d in after] == teacher.split(task)


def test_the_teacher_leads_an_editor_that_knows_plain_words_only():
    for seed, level in enumerate(("unusual", "reasoning")):
        task = sample_task(seed, level, split="train")
        source = render([task.source])
        steps = list(start_thinking(DrawingEditor(task), teacher.Teacher(task).thinker(), source, task.instruction))
        assert [judge(step.image, task).success for step in steps] == [False, True]


def test_plain_requests_are_good_english():
    requests = [text for seed in range(400) for text in teacher.plain_requests(sample_task(seed))]
    assert sum(" an orange " in text for text in requests) > 5
    assert not any(re.search(r"\ba [aeio]", text) for text in requests)
