"""The built-in thinker: runs of an editor to learn from, and the one that ships, which is small and sees."""

from types import SimpleNamespace

import pytest

from rethink.builtin import EDITOR_FOLDER, THINKER_FOLDER
from rethink.editors.loading import load_editor
from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import Thinker, critique, polish_instruction
from rethink.thinkers.regions import parse_regions, split_boxes
from rethink.tiny import LEVELS, build_thinker, render, sample_task
from rethink.tiny.english import GROUPS
from rethink.tiny.oracle import verdict
from rethink.tiny.scene import SIZE
from rethink.tiny.tasks import WIDE
from rethink.tiny.teacher import draw_example, plain_requests, write_regions
from tests.support.scenes import DrawingEditor
from tests.support.thinking import drained, start_thinking


@pytest.fixture(scope="module")
def thinker():
    return Thinker(load_thinker(THINKER_FOLDER), max_tokens=256)


def test_it_is_small():
    assert sum(file.stat().st_size for file in THINKER_FOLDER.iterdir()) < 12e6


def test_capitals_mean_nothing_but_in_the_form_of_an_answer():
    tokenizer = build_thinker.make_tokenizer()
    assert tokenizer("DON\u2019T Paint it").input_ids == tokenizer("don't paint it").input_ids
    asked = "<think>Source: nothing. Asked: make it red. Expected: "
    assert tokenizer.decode(tokenizer(asked).input_ids) == asked


def test_it_tells_what_is_done_from_what_is_not_and_from_what_is_overdone(thinker):
    """By chance, a third of the verdicts would be right."""
    right, cases = 0, 12
    for seed in range(cases):
        example = draw_example(seed, split="test")
        said = critique(thinker, example.source, [example.edited], example.task.instruction, [example.prompt], [0])[0]
        truth = verdict(example.observation, example.task)
        assert said.status == "ok" and said.reasoning.startswith("Source: ")
        right += (said.semantic >= 4, said.semantic == 10) == (truth.done, truth.success)
    assert right >= 0.75 * cases


def test_it_puts_unusual_wordings_plainly(thinker):
    tasks = [sample_task(seed, "unusual", wording="held_out") for seed in range(8)]
    prompts = [polish_instruction(thinker, render([task.source]), task.instruction, 0) for task in tasks]
    assert sum(prompt in plain_requests(task) for prompt, task in zip(prompts, tasks)) >= 4


def test_it_understands_sentences_of_rules_that_it_never_saw(thinker):
    for group in GROUPS:
        tasks = [sample_task(seed, WIDE, wording=group) for seed in range(8)]
        prompts = [polish_instruction(thinker, render([task.source]), task.instruction, 0) for task in tasks]
        assert sum(prompt in plain_requests(task) for prompt, task in zip(prompts, tasks)) >= 4, group


def test_it_points_at_what_is_wrong_and_at_where_the_edit_belongs(thinker):
    true, right = [], 0
    for seed in range(8):
        example = draw_example(seed, split="test")
        asked = example.source, [example.edited], example.task.instruction, [example.prompt], [0]
        said = critique(thinker, *asked, regions=True)[0].regions
        regions = parse_regions(split_boxes(write_regions(example.task, example.observation))[1], (SIZE, SIZE))
        true, right = [*true, *regions], right + len(set(said) & set(regions))
    assert {region.kind for region in true} == {"wrong", "changed", "place"} and right >= 0.75 * len(true)


def test_with_a_checklist_demands_have_verdicts_and_the_run_ends_when_all_are_met(thinker):
    editor, runs, verdicts = load_editor(EDITOR_FOLDER), [], []
    for seed in range(4):
        task = sample_task(seed, LEVELS[seed % len(LEVELS)], wording="held_out")
        # Scores that any edit reaches: nothing but the demands is waited for.
        run = start_thinking(
            editor, thinker, render([task.source]), task.instruction, turns=3, checklist=True, accept=(0, 0)
        )
        steps, end = drained(run)
        lists = [step.critique.checklist for step in steps]
        assert len(lists[0]) > 1 and len({tuple(demand.text for demand in checklist) for checklist in lists}) == 1
        *before, last = (
            all(d.passed for d in step.critique.checklist) and not step.preservation.unchanged for step in steps
        )
        assert not any(before) and last == (end.reason == "accepted")
        runs.append((len(steps), end.reason))
        verdicts += [demand.passed for checklist in lists for demand in checklist]
    assert verdicts.count(None) < 0.1 * len(verdicts) and {True, False} <= set(verdicts)
    assert any(reason == "accepted" for _, reason in runs) and max(runs)[0] > 1


def test_trajectories_of_an_editor_become_lessons(tmp_path, monkeypatch):
    tasks = []
    monkeypatch.setattr(build_thinker, "sample_task", lambda *a, **k: tasks.append(sample_task(*a, **k)) or tasks[-1])
    editor = SimpleNamespace(
        prepare=lambda images: images, edit=lambda *arguments, **k: DrawingEditor(tasks[-1]).edit(*arguments, **k)
    )
    build_thinker.make_trajectories(editor, tmp_path, 6, 0, 0, 1, print)
    made = build_thinker.read_trajectories(tmp_path)
    assert made and {each.group[0].split()[0] for each in made} <= {*LEVELS, WIDE}
    build_thinker.make_trajectories(editor, tmp_path, 6, 0, 0, 1, print)  # what is there is not made again
