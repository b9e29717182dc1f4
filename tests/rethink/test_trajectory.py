"""The record: what is written is read back, a kill leaves it whole, and damage is told in one sentence."""

import json
import os
from dataclasses import replace

import pytest
import torch

from rethink.errors import RethinkError
from rethink.images import load_image
from rethink.trajectory import Critique, Demand, Preservation, Step, load_trajectory, new_trajectory
from tests.thinking import SOURCE

SEEN = Critique(
    "repaired", 3.5, 9, "Still red. “Ünïcode” 🔵", "make it blue", (Demand("blue", False), Demand("sky")), "Why."
)
KEPT = Preservation(0.25, 42.0, False)


def step(turn=1, candidate=0, **changes):
    plain = Step(turn, candidate, "make it red", "user", 7, SEEN, KEPT, 5.5, 1.5, 0.5, image=torch.rand(1, 8, 8, 3))
    return replace(plain, **changes)


@pytest.fixture
def run(tmp_path):
    return new_trajectory(tmp_path / "a" / "run", SOURCE, "make it red", {"rules": {"candidates": 1}})


def test_what_is_written_is_read_back(run):
    made = [
        step(),
        step(2, judge=replace(SEEN, status="ok")),
        step(3, score=None, critique=Critique("failed", note="gone")),
    ]
    for one in made:
        run = run.with_step(one)
    run = run.stopped_by("human", "Enough.", 0)
    again = load_trajectory(run.folder)
    assert again.record == run.record and again.best == 0
    assert [step.image for step in again.steps] == [None] * 3
    for one, written in zip(made, again.steps):
        assert torch.allclose(again.image(written), one.image, atol=0.5 / 255 + 1e-6)
        assert vars(replace(written, file="")) == vars(replace(one, image=None))
    assert torch.equal(load_image(run.folder / "source.png"), again.source)


def test_the_record_is_plain_json_that_a_person_can_read(run):
    run = run.with_step(step()).with_step(step(2, score=9.0))
    text = (run.folder / "trajectory.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(run.record)) and "Ünïcode" in text and len(text.splitlines()) == 3
    assert run.record["best"] == 1 and run.record["steps"][0]["file"] == "turn-0001-00.png"
    assert "image" not in run.record["steps"][0]


def test_scores_go_with_their_status():
    for status, semantic, quality in (
        ("ok", None, None),
        ("ok", 3, None),
        ("failed", 3, 3),
        ("unparsed", 0, 0),
        ("x", 1, 1),
    ):
        with pytest.raises(ValueError, match="cannot score"):
            Critique(status, semantic, quality)


def test_overall_is_bounded_by_the_demands_that_are_met():
    assert Critique("ok", 9, 4).overall == 6
    assert Critique("ok", 9, 4, checklist=(Demand("a", True), Demand("b", False))).overall == pytest.approx(20**0.5)
    assert Critique("ok", 9, 4, checklist=(Demand("a"), Demand("b"))).overall == 6
    assert Critique("unparsed").overall is None


@pytest.mark.parametrize("dies_at", ["picture", "record"])
def test_a_kill_while_writing_leaves_the_record_as_it_was(run, monkeypatch, dies_at):
    run = run.with_step(step())
    move = os.replace

    def die(part, path):
        if str(path).endswith(".png" if dies_at == "picture" else ".json"):
            raise KeyboardInterrupt
        move(part, path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", die)
        run.with_step(step(2))
    again = load_trajectory(run.folder)
    assert again.record == run.record
    assert len(load_trajectory(again.with_step(step(2)).folder).steps) == 2


def test_a_record_that_is_being_read_on_windows_is_written_when_that_is_over(run, monkeypatch):
    move, readers = os.replace, [True] * 3

    def refuse(part, path):
        if readers:
            readers.pop()
            raise PermissionError(13, "in use")
        move(part, path)

    monkeypatch.setattr(os, "replace", refuse)
    run = run.with_step(step())
    assert load_trajectory(run.folder).record == run.record
    readers += [True] * 1000
    ended = run.with_step(step(2))
    assert ended.stopped == "failed" and "cannot be written (in use)" in ended.message
    readers.clear()
    assert load_trajectory(run.folder).record == run.record and not list(run.folder.glob(".*"))


def test_no_record_is_written_over(run):
    with pytest.raises(RethinkError, match="is not empty"):
        new_trajectory(run.folder, SOURCE, "else", {})
    file = run.folder / "file"
    file.write_text("")
    with pytest.raises(RethinkError, match="cannot be written"):
        new_trajectory(file / "below", SOURCE, "else", {})


def test_a_copy_stands_alone(run, tmp_path):
    run = run.with_step(step())
    copy = run.copied(tmp_path / "copy")
    for file in run.folder.iterdir():
        file.unlink()
    again = load_trajectory(tmp_path / "copy")
    assert again.record == copy.record and again.image(again.steps[0]).shape == (1, 8, 8, 3)


def spoil(run, change):
    file = run.folder / "trajectory.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    change(record)
    file.write_text(json.dumps(record), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r.update(schema=99), "newer Rethink"),
        (lambda r: r.update(schema="1"), "not the record"),
        (lambda r: r.pop("steps"), "damaged"),
        (lambda r: r["steps"][0].update(surprise=1), "damaged"),
        (lambda r: r["steps"][0]["critique"].update(status="excellent"), "damaged"),
        (lambda r: r["steps"][0]["critique"].update(semantic=None), "damaged"),
        (lambda r: r["steps"].append(3), "damaged"),
        (lambda r: r.update(chosen=5), "no step 5"),
        (lambda r: r["steps"][0].update(file="../../../etc/passwd"), "is missing"),
        (lambda r: r["steps"][0].update(file="gone.png"), "is missing"),
    ],
)
def test_damage_is_told_in_one_sentence(run, change, sentence):
    run = run.with_step(step())
    spoil(run, change)
    with pytest.raises(RethinkError, match=sentence):
        load_trajectory(run.folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\0"])
def test_what_is_no_record_is_refused(run, text):
    (run.folder / "trajectory.json").write_text(text)
    with pytest.raises(RethinkError, match="trajectory: "):
        load_trajectory(run.folder)
    with pytest.raises(RethinkError, match="cannot be read"):
        load_trajectory(run.folder / "nowhere")
