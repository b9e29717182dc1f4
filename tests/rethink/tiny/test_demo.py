"""The demo writes what a run has made; the models themselves are proved where they are trained."""

import pytest

from rethink.thinkers.critique import Thinker
from rethink.tiny import demo, render
from tests.support.thinking import Looks, Painter


@pytest.fixture
def opened(monkeypatch):
    """The editors that were opened: painters, with a thinker that looks."""
    opened = []
    monkeypatch.setattr(demo, "load_editor", lambda folder: opened.append(Painter()) or opened[-1])
    monkeypatch.setattr(demo, "open_thinker", lambda: Thinker(Looks()))
    return opened


def test_a_run_becomes_a_page_and_the_oracle_judges_its_best_image(opened, tmp_path):
    page, seen = tmp_path / "demo.html", []
    verdict = demo.make_demo(page, 3, seen.append)
    run = seen[-1]
    assert run.stopped and run.options["editor"] == "built-in" == opened[0].name and run.options["rules"]["seed"] == 3
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/png") == 1 + len(run.steps), "every image is within"
    assert not run.folder.exists() and not verdict.success, "a painter is no editor"


def test_the_oracle_finds_an_edit_that_is_right(opened, tmp_path, monkeypatch):
    level = demo.HARD[4 % len(demo.HARD)]
    task = demo.sample_task(4, level, wording="held_out")
    monkeypatch.setattr(Painter, "edit", lambda self, prepared, *_, **__: render([task.target]))
    runs = []
    assert demo.make_demo(tmp_path / "demo.html", 4, runs.append).success
    assert runs[-1].instruction == task.instruction


def test_levels_take_turns(opened, tmp_path, monkeypatch):
    levels, sample = [], demo.sample_task
    monkeypatch.setattr(
        demo, "sample_task", lambda seed, level, **more: levels.append(level) or sample(seed, level, **more)
    )
    for seed in range(2):
        demo.make_demo(tmp_path / f"{seed}.html", seed, lambda run: None)
    assert levels == list(demo.HARD)
