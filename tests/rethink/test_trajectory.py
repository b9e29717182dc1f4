"""The record: what is written is read back, a kill leaves it whole, and damage is told in one sentence."""

import errno
import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from rethink import atomic, trajectory
from rethink.errors import RethinkError
from rethink.images import load_image
from rethink.steps import ChecklistItem, Critique, Preservation, Step
from rethink.think_loop import LoopConfig, ThinkTask, run_config
from rethink.thinkers.critique import Thinker
from rethink.trajectory import load_trajectory, new_trajectory, record_run, writing
from tests.support.thinking import SOURCE, Looks, Painter, said, start_thinking, thinker

SEEN = Critique(
    "repaired",
    3.5,
    9,
    "Still red. “Ünïcode” 🔵",
    "make it blue",
    (ChecklistItem("blue", False), ChecklistItem("sky")),
    "Why.",
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
        run = run.append_step(one)
    run = run.finish("human", "Enough.", 0)
    again = load_trajectory(run.folder)
    assert again.as_dict() == run.as_dict() and again.best == 0
    assert [step.image for step in again.steps] == [None] * 3
    for one, written in zip(made, again.steps):
        assert torch.allclose(again.image(written), one.image, atol=0.5 / 255 + 1e-6)
        assert vars(replace(written, file="")) == vars(replace(one, image=None))
    assert torch.equal(load_image(run.folder / "source.png"), again.source)


def test_edits_are_kept_before_they_are_judged_and_say_how_they_were_made(run):
    made = torch.rand(2, 8, 8, 3)
    notes = [{"prompt": "mach es grün", "seed": seed, "settings": {"steps": 20}} for seed in (7, 8)]
    names = run.save_edits(1, made, notes)
    assert names == ("turn-0001-00.png", "turn-0001-01.png") and run.steps == ()
    for name, note in zip(names, notes):
        with Image.open(run.folder / name) as picture:
            assert json.loads(picture.text["rethink"]) == note
    before = (run.folder / names[1]).stat().st_mtime_ns
    run = run.append_step(step(candidate=1, file=names[1], settings={"steps": 20}))
    assert (run.folder / names[1]).stat().st_mtime_ns == before, "it is not packed again"
    assert load_trajectory(run.folder).steps[0].settings == {"steps": 20}


def test_a_result_that_nobody_judged_says_so(run):
    unjudged = step(score=None, critique=Critique("failed", note="gone"))
    failed = run.append_step(unjudged).finish("failed", "thinker: it is gone.")
    assert failed.as_dict()["best"] == 0 and failed.as_dict()["best_judged"] is False
    with pytest.raises(
        RethinkError, match=r"^thinker: it is gone\. No edit was judged; the edits made so far are kept in .*run\.$"
    ):
        failed.check_judged()
    later = failed.append_step(step(2)).finish("failed", "thinker: it is gone.")
    assert later.as_dict()["best"] == 1 and later.as_dict()["best_judged"] is True
    later.check_judged()


def test_a_record_of_before_settings_were_written_is_read(run):
    run = run.append_step(step())
    data = json.loads((run.folder / "trajectory.json").read_text(encoding="utf-8"))
    del data["best_judged"], data["steps"][0]["settings"]
    (run.folder / "trajectory.json").write_text(json.dumps(data), encoding="utf-8")
    assert load_trajectory(run.folder).steps[0].settings is None


def test_the_record_is_plain_json_that_a_person_can_read(run):
    run = run.append_step(step()).append_step(step(2, score=9.0))
    text = (run.folder / "trajectory.json").read_text(encoding="utf-8")
    assert (
        json.loads(text) == json.loads(json.dumps(run.as_dict())) and "Ünïcode" in text and len(text.splitlines()) == 3
    )
    assert run.as_dict()["best"] == 1 and run.as_dict()["steps"][0]["file"] == "turn-0001-00.png"
    assert "image" not in run.as_dict()["steps"][0]


@pytest.mark.parametrize("dies_at", ["picture", "record"])
def test_a_kill_while_writing_leaves_the_record_as_it_was(run, monkeypatch, dies_at):
    run = run.append_step(step())
    move = os.replace

    def die(part, path):
        if str(path).endswith(".png" if dies_at == "picture" else ".json"):
            raise KeyboardInterrupt
        move(part, path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", die)
        run.append_step(step(2))
    again = load_trajectory(run.folder)
    assert again.as_dict() == run.as_dict()
    assert len(load_trajectory(again.append_step(step(2)).folder).steps) == 2


def test_a_record_that_is_being_read_on_windows_is_written_when_that_is_over(run, monkeypatch):
    monkeypatch.setattr(atomic, "PAUSES", (0.01,) * len(atomic.ON_WINDOWS))
    move, readers = os.replace, [True] * 3

    def refuse(part, path):
        if readers:
            readers.pop()
            raise PermissionError(13, "in use")
        move(part, path)

    monkeypatch.setattr(os, "replace", refuse)
    run = run.append_step(step())
    assert load_trajectory(run.folder).as_dict() == run.as_dict()
    readers += [True] * 1000
    ended = run.append_step(step(2))
    assert ended.stopped == "failed" and "cannot be written (in use)" in ended.message
    readers.clear()
    assert load_trajectory(run.folder).as_dict() == run.as_dict() and not list(run.folder.glob(".*"))


def test_no_record_is_written_over(run):
    with pytest.raises(RethinkError, match="is not empty"):
        new_trajectory(run.folder, SOURCE, "else", {})
    file = run.folder / "file"
    file.write_text("")
    with pytest.raises(RethinkError, match="cannot be written"):
        new_trajectory(file / "below", SOURCE, "else", {})


def test_a_copy_stands_alone(run, tmp_path):
    run = run.append_step(step())
    copy = run.copy_to(tmp_path / "copy")
    for file in run.folder.iterdir():
        file.unlink()
    again = load_trajectory(tmp_path / "copy")
    assert again.as_dict() == copy.as_dict() and again.image(again.steps[0]).shape == (1, 8, 8, 3)


def spoil(run, change):
    file = run.folder / "trajectory.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    change(data)
    file.write_text(json.dumps(data), encoding="utf-8")


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
        (lambda r: r["steps"][0]["critique"].update(semantic=-5), "between 0 and 10"),
        (lambda r: r["steps"][0]["critique"].update(quality=1e9), "between 0 and 10"),
        (lambda r: r["steps"][0].update(turn=10**30), "turn is out of range"),
        (lambda r: r["steps"][0].update(candidate=-1), "candidate is out of range"),
        (lambda r: r["steps"][0].update(seed=10**400), "seed is out of range"),
        (lambda r: r["steps"][0].update(score=10**400), "score is out of range"),
        (lambda r: r.update(chosen=5), "no step 5"),
        (lambda r: r["steps"][0].update(file="../../../etc/passwd"), "is missing"),
        (lambda r: r["steps"][0].update(file="gone.png"), "is missing"),
        (lambda r: r["steps"][0].update(file="<script>alert(1)</script>.png"), "is missing or not a PNG"),
        (
            lambda r: r["steps"][0].update(file='x" onfocus="alert(1)" autofocus tabindex="0.png'),
            "is missing or not a PNG",
        ),
        (lambda r: r["steps"][0].update(file="trajectory.json"), "is missing or not a PNG"),
        (lambda r: r["steps"][0].update(file="turn\0.png"), "is missing or not a PNG"),
        (lambda r: r["steps"][0].update(file="\ud83d.png"), "is missing or not a PNG"),
        (lambda r: r["steps"][0].update(file=["turn-0001-00.png"]), "file is list"),
        (lambda r: r["steps"][0].update(turn="1"), "turn is str"),
        (lambda r: r["steps"][0].update(score=True), "score is bool"),
        (lambda r: r["steps"][0].update(prompt={"a": 1}), "prompt is dict"),
        (lambda r: r["steps"][0]["critique"]["checklist"][0].update(text=5), "text is int"),
        (lambda r: r["steps"][0]["preservation"].update(changed="all"), "changed is str"),
        (lambda r: r.update(instruction=None), "instruction is NoneType"),
        (lambda r: r.update(options=[]), "options is list"),
        (lambda r: r["options"].update(rules=5), "rules are none"),
        (lambda r: r["options"].update(rules={"candidates": 0}), "rules are none"),
        (lambda r: r.update(chosen="0"), "chosen is str"),
        (lambda r: r.update(schema=True), "not the record"),
    ],
)
def test_damage_is_told_in_one_sentence(run, change, sentence):
    run = run.append_step(step())
    spoil(run, change)
    with pytest.raises(RethinkError, match=sentence):
        load_trajectory(run.folder)


@pytest.mark.parametrize("regions", [None, "abc", [{"kind": "foo", "box": [0, 0, 1, 1], "label": ""}]])
def test_a_bad_box_does_not_cost_the_run(run, regions):
    run = run.append_step(step())
    spoil(run, lambda record: record["steps"][0]["critique"].update(regions=regions))
    assert load_trajectory(run.folder).as_dict() == run.as_dict()


DEEP = '{"schema":1,"options":' + "[" * 1000 + "]" * 1000 + "}"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\0", DEEP, '{"schema": 1e400}', "[" * 100_000])
def test_what_is_no_record_is_refused(run, text):
    (run.folder / "trajectory.json").write_text(text)
    with pytest.raises(RethinkError, match="trajectory: "):
        load_trajectory(run.folder)
    with pytest.raises(RethinkError, match="cannot be read"):
        load_trajectory(run.folder / "nowhere")


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret").write_text("a key")
    return tmp_path / "secret"


@pytest.mark.parametrize("name", ["source.png", "turn-0001-00.png"])
def test_a_link_out_of_the_folder_is_no_picture_of_the_run(run, secret, tmp_path, name):
    run = run.append_step(step(score=1.0)).append_step(step(2, score=9.0))
    (run.folder / name).unlink()
    (run.folder / name).symlink_to(secret)
    with pytest.raises(RethinkError, match=f"{name}.*is missing or not a PNG file"):
        load_trajectory(run.folder)
    with pytest.raises(RethinkError, match="is gone"):
        run.copy_to(tmp_path / "copy")
    assert not any(file.is_file() and file.read_bytes() == b"a key" for file in tmp_path.rglob("copy/*"))


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(run):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    for name in ("source.png", "trajectory.json"):
        (run.folder / name).unlink()
        os.mkfifo(run.folder / name)
        with pytest.raises(RethinkError, match="trajectory: "):
            load_trajectory(run.folder)


def test_half_a_character_can_be_written_and_is_a_whole_one_when_it_is_read(tmp_path):
    run = new_trajectory(tmp_path / "run", SOURCE, "make \ud83d it red", {"kind": "\ud83d"})
    run = run.append_step(step(prompt="\udc00", critique=replace(SEEN, next_prompt="\ud83d")))
    (tmp_path / "run" / "trajectory.json").read_text(encoding="utf-8")
    read = load_trajectory(run.folder)
    (only,) = read.steps
    texts = read.instruction, read.options["kind"], only.prompt, only.critique.next_prompt
    assert texts == ("make � it red", "�", "�", "�"), "a tokenizer or a file would stop at half of one"


def test_an_instruction_with_half_a_character_is_carried_out(tmp_path):
    painter = Painter()
    run = start_thinking(painter, thinker(said(9, 9)), SOURCE, "make \ud83d it red")
    (last,) = list(record_run(new_trajectory(tmp_path / "run", SOURCE, "make \ud83d it red", {}), run))[-1:]
    assert last.stopped == "accepted" and painter.calls[0].prompts == ["make � it red"]


# A disk that fails


def dying(tmp_path, candidates=1, turns=4):
    """(the trajectory, its run) of a loop that goes on for `turns` turns."""
    critic = Thinker(Looks())
    rules = {"turns": turns, "candidates": candidates, "seed": 3}
    task = ThinkTask(SOURCE, "make it red", critic, config=LoopConfig(**rules))
    options = run_config(task, "painter")
    begun = new_trajectory(tmp_path / "run", SOURCE, "make it red", options)
    return begun, start_thinking(Painter(), critic, SOURCE, "make it red", **rules)


def fail(monkeypatch, number, after):
    """Every file from the one number `after` on cannot be written."""
    left = [None] * after
    real = trajectory.atomic_write

    def atomic_write(path):
        if not left:
            raise OSError(number, os.strerror(number))
        left.pop()
        return real(path)

    monkeypatch.setattr(trajectory, "atomic_write", atomic_write)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("after", [0, 1, 2, 3])  # pictures and records, in turn
def test_a_disk_that_fails_ends_the_run_with_all_that_was_made(tmp_path, monkeypatch, number, after):
    begun, run = dying(tmp_path, candidates=2)
    with monkeypatch.context() as patch:
        fail(patch, number, after)
        *_, last = record_run(begun, run)
    assert last.stopped == "failed" and last.message.startswith(f"trajectory: {last.folder} cannot be written (")
    assert os.strerror(number) in last.message and len(last.message.splitlines()) == 1
    assert len(last.steps) == 2 * (1 + after // 4), "the turn that was made last is whole"
    assert all(last.has_image(step) for step in last.steps) and last.image(last.steps[last.best]).shape == SOURCE.shape
    kept = load_trajectory(last.folder)
    assert len(kept.steps) == after // 2 and kept.stopped == "" and not list(last.folder.glob(".*.part"))
    _whole, done = kept.rewind_to_resume(2)
    assert len(done) == len(kept.steps) // 2 * 2, "and can be gone on with"


def test_a_run_whose_end_cannot_be_written_says_so(tmp_path, monkeypatch):
    begun, run = dying(tmp_path, turns=1)
    fail(monkeypatch, errno.ENOSPC, 2)
    *_, last = record_run(begun, run)
    assert last.stopped == "failed" and "cannot be written" in last.message and last.best == 0


@pytest.mark.parametrize("by", ["nothing", "a file"])
def test_a_folder_that_is_gone_leaves_the_best_picture(tmp_path, by):
    begun, run = dying(tmp_path, turns=6)
    best = None
    for number, now in enumerate(record_run(begun, run)):
        best = now.image(now.steps[now.best])
        if number == 2:
            shutil.rmtree(now.folder)
            if by == "a file":
                now.folder.write_text("")
    assert now.stopped == "failed" and "cannot be written" in now.message and len(now.steps) == 4
    assert torch.equal(now.image(now.steps[now.best]), best)
    assert [now.has_image(step) for step in now.steps].count(True) >= 1


def test_a_run_that_could_not_be_written_can_be_kept_elsewhere(tmp_path, monkeypatch):
    begun, run = dying(tmp_path)
    with monkeypatch.context() as patch:
        fail(patch, errno.ENOSPC, 2)
        *_, last = record_run(begun, run)
    copy = load_trajectory(last.copy_to(tmp_path / "copy").folder)
    assert len(copy.steps) == len(last.steps) == 2
    assert torch.equal(copy.image(copy.steps[1]), last.image(last.steps[1]))


def test_a_run_is_written_by_one_at_a_time(run):
    with writing(run.folder):
        with pytest.raises(RethinkError, match="is already running, here or in another process"), writing(run.folder):
            pass
        assert load_trajectory(run.folder).as_dict() == run.as_dict(), "and read by anybody"
    with writing(run.folder):
        pass
    with pytest.raises(RethinkError, match="cannot be written"), writing(run.folder / "missing"):
        pass


def test_a_run_that_goes_on_has_its_best_picture_whatever_becomes_of_the_disk(tmp_path):
    run = new_trajectory(tmp_path / "run", SOURCE, "make it red", {})
    run = run.append_step(step(score=9.0)).append_step(step(2, score=1.0))
    again, _ = load_trajectory(run.folder).rewind_to_resume(1)
    best = again.image(again.steps[0])
    shutil.rmtree(run.folder)
    ended = again.append_step(step(3, score=2.0))
    assert ended.best == 0 and torch.equal(ended.image(ended.steps[0]), best)
