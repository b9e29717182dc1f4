"""Which recorded runs can be learned from, and how many cannot."""

import pytest

from rethink.training.recorded_runs import describe_left_out, is_whole_png, read_run, read_runs
from tests.support.trajectories import rewrite_record, write_trajectory


def unfinish(run):
    rewrite_record(run, stopped="")


def age_backward(run):
    rewrite_record(run, schema=99)


def lose_image(run):
    (run.folder / "source.png").unlink()


def cut_image(run):
    file = run.folder / "turn-0001-00.png"
    file.write_bytes(file.read_bytes()[:-20])


def damage_record(run):
    (run.folder / "trajectory.json").write_text("{", encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (unfinish, "unfinished"),
        (age_backward, "newer"),
        (lose_image, "image"),
        (cut_image, "image"),
        (damage_record, "unreadable"),
        (lambda run: rewrite_record(run, instruction=" \n "), "wordless"),
        (lambda run: rewrite_record(run, instruction="make it \x07 red"), "wordless"),
        (lambda run: rewrite_record(run, instruction="make it red " * 2**17), "wordless"),
    ],
)
def test_runs_that_are_damaged_have_not_ended_or_have_no_instruction_are_left_out_and_counted(tmp_path, harm, reason):
    good = write_trajectory(tmp_path / "good", (3, 8))
    bad = write_trajectory(tmp_path / "bad", (3, 8))
    harm(bad)
    run, left_out = read_runs([good.folder, bad.folder])
    assert run is not None and run.folder.name == "good" and left_out is None
    assert read_run(bad.folder)[1] == reason


def test_a_png_is_whole_to_its_end_alone(tmp_path):
    run = write_trajectory(tmp_path / "run", (3,))
    assert is_whole_png(run.folder / "source.png") and not is_whole_png(tmp_path / "gone.png")
    cut_image(run)
    (tmp_path / "short.png").write_bytes(b"PNG")
    assert not is_whole_png(run.folder / "turn-0001-00.png") and not is_whole_png(tmp_path / "short.png")


def test_what_is_left_out_is_said():
    assert describe_left_out(0) == ""
    assert describe_left_out(2) == "2 runs left out: damaged, unfinished, or without a readable instruction."
