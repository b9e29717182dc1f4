"""Edits lie where the benchmark's script looks for them; thinking runs are kept and go on."""

import pytest

from rethink.benchmarking import editing
from rethink.benchmarking.editing import RUNS, EditSetup, Thinking, make_edits
from rethink.errors import RethinkError
from rethink.evaluation.benchmarks import BENCHMARKS
from rethink.images import load_image
from rethink.think_loop import LoopConfig
from rethink.thinkers.critique import Thinker
from tests.support.benchmark_miniatures import WRITERS
from tests.support.benchmark_runs import Painter
from tests.support.fake_editor import read_rows


def items_of(name, folder):
    row = BENCHMARKS[name]
    return row, row.read_items(WRITERS[name](folder), "en").items


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_layout(name, tmp_path):
    row, items = items_of(name, tmp_path)
    done = []
    failures = make_edits(row, items, tmp_path / "out", EditSetup(Painter(), seed=7), lambda n, edited: done.append(n))
    assert failures == [] and done == list(range(1, len(items) + 1))
    for item in items:
        _, green, blue = read_rows(load_image(tmp_path / "out" / row.result_names(item)[0]))[0]
        assert abs(green - len(item.instruction)) <= 1 and abs(blue - 7) <= 1
    if name == "gedit":
        source = load_image(tmp_path / "out" / "fullset/color_alter/en/k1_SRCIMG.png")
        assert round(float(source.mean()) * 255) == 20


def test_further_images_are_shown_as_far_as_the_editor_looks(tmp_path):
    row, items = items_of("kris", tmp_path)
    editor = Painter()
    frames = [item for item in items if item.group == "temporal_prediction"]
    make_edits(row, frames, tmp_path / "out", EditSetup(editor), lambda *_: None)
    assert len(editor.references) == 1  # of two


class Critic:
    name, placement = "critic", "elsewhere"

    def chat(self, messages, images, *, max_tokens, seed, temperature, on_token=None):
        return '{"semantic": 5, "quality": 5, "reasoning": "more", "prompt": "make it very red"}'


def test_thinking_keeps_its_runs_and_goes_on(tmp_path):
    row, items = items_of("imgedit", tmp_path)
    editor = Painter()
    setup = EditSetup(editor, thinking=Thinking(Thinker(Critic()), LoopConfig(turns=2)))
    assert make_edits(row, items[:1], tmp_path / "out", setup, lambda *_: None) == []
    assert (tmp_path / "out" / RUNS / "1" / "trajectory.json").is_file() and (tmp_path / "out" / "1.png").is_file()
    calls = len(editor.calls)
    make_edits(row, items[:1], tmp_path / "out", setup, lambda *_: None)
    assert calls == 2 and len(editor.calls) == calls  # its image was lost, its run was not


def test_an_edit_that_fails_is_said_and_many_end_it(tmp_path, monkeypatch):
    row, items = items_of("imgedit", tmp_path)
    editor = Painter()

    def break_down(step):
        if len(editor.calls) != 2:
            raise RethinkError("out of memory; lower the size")

    editor.before_step = break_down
    failures = make_edits(row, items, tmp_path / "out", EditSetup(editor), lambda *_: None)
    assert [where for where, _ in failures] == ["1", "3"] and "out of memory" in failures[0][1]
    monkeypatch.setattr(editing, "MOST_FAILURES", 1)
    with pytest.raises(RethinkError, match="1: out of memory"):
        make_edits(row, items, tmp_path / "out", EditSetup(editor), lambda *_: None)
