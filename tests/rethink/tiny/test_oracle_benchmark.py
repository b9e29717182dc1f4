"""The built-in world in the form of the published benchmarks."""

import json
from collections import Counter

import pytest
import torch

from rethink.benchmarking.editing import RUNS, EditSetup, Thinking, make_edits, measure_edits
from rethink.benchmarking.job import BenchmarkJob, find_edits, job_of_folder
from rethink.errors import RethinkError
from rethink.evaluation.benchmarks import BENCHMARKS
from rethink.images import from_pil, save_image, to_pil
from rethink.think_loop import LoopConfig
from rethink.thinkers.critique import Thinker
from rethink.tiny import render
from rethink.tiny.oracle_benchmark import BENCHMARK, LEVELS, PER_LEVEL, read_items
from rethink.tiny.tasks import sample_task
from tests.support.benchmark_runs import Painter


@pytest.fixture(scope="module")
def items():
    return read_items(None).items


class Knows(Painter):
    """An editor that does an edit as soon as it is asked for another way, and plain ones at once."""

    name = "knows"

    def __init__(self, items):
        super().__init__()
        self.tasks = [item.tags["task"] for item in items]
        self.edits = 0

    def edit(self, prepared, instructions, seeds, settings=None, *, mask=None, on_step=None):
        self.edits += 1
        (instruction,) = instructions
        asked = [task for task in self.tasks if task.instruction == instruction.removesuffix(" now")]
        task = min(asked, key=lambda task: float((render([task.source]) - prepared.images).abs().sum()))
        done = instruction.endswith(" now") or task.level == "plain"
        return from_pil(to_pil(render([task.target]) if done else prepared.images))


class Insists:
    """Asks again for what has not changed."""

    name, placement = "insists", "elsewhere"

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        text = "".join(part.get("text", "") for part in messages[0]["content"])
        asked = text.partition("What the user asked for: ")[2].partition("\n")[0]
        score = 2 if torch.equal(*images) else 9
        return f'{{"semantic": {score}, "quality": {score}, "reasoning": "x", "prompt": "{asked} now"}}'


def test_the_tasks_are_those_that_thinking_is_measured_on(items):
    assert Counter(item.group for item in items) == dict.fromkeys(LEVELS, PER_LEVEL)
    assert items[0].instruction == sample_task(0, "plain", wording="held_out").instruction
    assert items[-1].instruction == sample_task(299, LEVELS[2], wording="held_out").instruction
    assert items[0].sources[0]().startswith(b"\x89PNG")


def test_a_run_from_tasks_to_figures_and_from_its_folder_again(items, tmp_path):
    job = BenchmarkJob(BENCHMARK, None, tmp_path / "out", count=3)
    report = job.run(EditSetup(Knows(items)))
    summary = report.summary
    assert (summary.value("all", "success"), summary.value("plain", "success")) == (pytest.approx(100 / 3), 100)
    assert summary.value("all", "kept") == 100 and summary.coverage == 1
    again = job_of_folder(tmp_path / "out", {**BENCHMARKS, "tiny": BENCHMARK}).run()
    assert again.summary == summary and (tmp_path / "out" / "rethink-report.html").is_file()
    editor = Knows(items)
    assert job.run(EditSetup(editor)).summary == summary and not editor.edits, "nothing is edited twice"


def test_thinking_is_compared_with_its_own_first_turns_and_with_another_folder(items, tmp_path):
    alone = BenchmarkJob(BENCHMARK, None, tmp_path / "alone", count=3)
    alone.run(EditSetup(Knows(items)))
    thinking = Thinking(Thinker(Insists()), LoopConfig(turns=3))
    job = BenchmarkJob(BENCHMARK, None, tmp_path / "out", against=tmp_path / "alone", count=3)
    report = job.run(EditSetup(Knows(items), thinking=thinking))
    summary = report.summary
    assert summary.value("all", "success") == 100
    assert summary.value("all", "first turn, success") == pytest.approx(100 / 3)
    assert summary.value("plain", "turns") == 1 and summary.value("reasoning", "turns") == 2
    assert report.difference is not None and report.difference.mean == pytest.approx(200 / 3)


def test_whether_thinking_is_better_is_said_in_words(items):
    first = [0.0, 0.0, 1.0] * 10
    judged = {
        item.id: {"success": 1.0, "first turn, success": value, "turns": 2.0} for item, value in zip(items, first)
    }
    (note,) = BENCHMARK.summarize(items[:30], judged).notes
    assert note.startswith("Thinking compared with its first turns, over 30 tasks, in percent: better, +66.7")
    alone = {item.id: {"success": 1.0} for item in items[:30]}
    assert BENCHMARK.summarize(items[:30], alone).notes == ()


def test_a_thinking_run_that_was_cut_off_goes_on(items, tmp_path):
    class Cut(Exception):
        pass

    thinking, looks = Thinking(Thinker(Insists()), LoopConfig(turns=3)), []

    class Slow(Insists):
        def chat(self, *arguments, **more):
            looks.append(1)
            if len(looks) == 2:
                raise Cut
            return super().chat(*arguments, **more)

    some = [item for item in items if item.group == "reasoning"][:1]
    with pytest.raises(Cut):
        make_edits(
            BENCHMARK,
            some,
            tmp_path,
            EditSetup(Knows(items), thinking=Thinking(Thinker(Slow()), LoopConfig(turns=3))),
            print,
        )
    editor = Knows(items)
    assert not make_edits(BENCHMARK, some, tmp_path, EditSetup(editor, thinking=thinking), lambda *_: None)
    judged, _ = measure_edits(BENCHMARK, some, find_edits(BENCHMARK, some, tmp_path), tmp_path)
    assert judged[some[0].id]["success"] == 1 and (tmp_path / RUNS / some[0].id).is_dir() and editor.edits == 1


def test_an_edit_of_another_size_or_no_image_is_no_score(items, tmp_path):
    save_image(torch.rand(1, 8, 8, 3), tmp_path / f"{items[0].id}.png")
    (tmp_path / f"{items[1].id}.png").write_bytes(b"no image")
    judged, notes = measure_edits(BENCHMARK, items, find_edits(BENCHMARK, items, tmp_path), tmp_path)
    assert judged == {items[0].id: None, items[1].id: None}
    assert notes[0] == f"{items[0].id}: its edit has 8 × 8 pixels, not 128 × 128." and len(notes) == 2
    assert BENCHMARK.summarize(items, judged).coverage == 0


def test_a_judge_has_no_place_here(tmp_path):
    with pytest.raises(RethinkError, match="^judge: Built-in world has its own exact judge"):
        BenchmarkJob(BENCHMARK, None, tmp_path).run(judge=Thinker(Insists()))


def test_its_own_results_are_read_again(items, tmp_path):
    assert BENCHMARK.read_results(tmp_path, items) is None
    (tmp_path / "oracle.json").write_text(json.dumps({items[0].id: {"success": 1.0}, "gone": {}}))
    assert BENCHMARK.read_results(tmp_path, items).judged == {items[0].id: {"success": 1.0}}
