"""From folders of runs to a data set that a trainer reads."""

import json
import re

import pytest

from rethink.collect import dataset_job
from rethink.collect.dataset_job import CollectJob
from rethink.collect.pairs_job import RunPairRules, RunPairsJob
from rethink.collect.rules import CollectRules
from rethink.errors import RethinkError
from tests.support.thinking import said, thinker
from tests.support.trajectories import rewrite_record, write_trajectory

EVERYTHING = CollectRules(sft_share=1, balance=0)


def collect(folder, output, rules=EVERYTHING, **options):
    return CollectJob((folder,), output, rules, **options).run()


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_bad_runs(folder):
    """One of everything that can be wrong, and two that are right, one by name in two places."""
    write_trajectory(folder / "good" / "run", (3, 8))
    write_trajectory(folder / "other" / "run", (4, 9), instruction="make it blue")
    write_trajectory(folder / "harm", (9, 1))
    write_trajectory(folder / "single", (4,))
    write_trajectory(folder / "cut off", (3, 5), "")
    write_trajectory(folder / "failed", (None, 9), "failed")
    rewrite_record(write_trajectory(folder / "newer", (3, 8)), schema=9)
    (write_trajectory(folder / "image", (3, 8)).folder / "turn-0002-00.png").unlink()
    (write_trajectory(folder / "damaged", (3, 8)).folder / "trajectory.json").write_text("{", encoding="utf-8")
    write_trajectory(folder / "x", (3, 8), instruction="x").copy_to(folder / "y")
    for name, instruction in (("empty", " \n "), ("control", "make it \x07 red"), ("book", "make it red " * 2**17)):
        rewrite_record(write_trajectory(folder / name, (3, 8)), instruction=instruction)


def test_bad_runs_are_counted_at_their_rule_and_stop_no_other(tmp_path):
    write_bad_runs(tmp_path / "runs")
    report = collect(tmp_path / "runs", tmp_path / "data")
    assert dict(report.drops) == {
        "no readable record of a run": 1,
        "written by a newer Rethink": 1,
        "an image is missing or truncated": 1,
        "not finished: interrupted, or still running": 1,
        "an instruction that is empty, has control characters, or has more than 10,000 characters": 3,
        "the thinker failed before any edit had a score": 1,
        "a copy of another run": 1,
        "only one turn, which was not accepted": 1,
        "no later turn is as good as the first": 1,
    }
    assert report.choice.kept == 3 and "3 of 14 runs kept" in str(report)
    assert f"1 × no readable record of a run ({tmp_path / 'runs' / 'damaged'})\n" in str(report)
    rows = lines(tmp_path / "data" / "trl-sft.jsonl")
    assert len(rows) == report.written["sft"] == 6 and len({name for row in rows for name in row["images"]}) == 9
    readme = (tmp_path / "data" / "README.md").read_text(encoding="utf-8")
    assert all(f"| {why} | {count} |" in readme for why, count in report.drops) and "| **kept** | **3** |" in readme


def test_half_a_character_in_a_run_stops_no_layout(runs, tmp_path):
    pytest.importorskip("pyarrow")
    folder = runs((3, 8), instruction="make \ud83d red")
    assert collect(folder, tmp_path / "data", CollectRules(sft_share=0), format="verl").written["rl"] == 2


def test_a_run_that_was_killed_goes_on(runs, tmp_path, monkeypatch):
    folder, judge = runs((3, 8), (4, 9), (5, 6)), thinker(said(5, 5))

    def stop_at(progress):
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CollectJob((folder,), tmp_path / "data", EVERYTHING, judge).run(stop_at)
    asked = len(judge.chat.asked)
    assert asked == 4
    report = collect(folder, tmp_path / "data", judge=judge)
    assert len(judge.chat.asked) == 6 and report.choice.kept == 3
    collect(folder, tmp_path / "data", CollectRules(), judge=judge)
    assert len(judge.chat.asked) == 6  # other rules ask nothing again


def test_nothing_is_half_written(runs, tmp_path):
    folder = runs((3, 8), (4, 9))
    collect(folder, tmp_path / "data")
    before = (tmp_path / "data" / "trl-sft.jsonl").read_bytes()

    def stop_writing(progress):
        if "written" in progress.line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CollectJob((folder,), tmp_path / "data", EVERYTHING).run(stop_writing)
    assert (tmp_path / "data" / "trl-sft.jsonl").read_bytes() == before
    assert not list((tmp_path / "data").rglob("*.part"))


def test_a_judge_that_is_the_thinker_is_said_to_be_not_independent(runs, tmp_path):
    folder = runs((3, 8), options=(("thinker", "says"),))
    report = collect(folder, tmp_path / "data", judge=thinker(said(5, 5)))
    assert "Not independent: in 1 run, the judge" in str(report)
    assert "Not independent" in (tmp_path / "data" / "README.md").read_text(encoding="utf-8")


def test_both_parts_are_written_and_an_empty_one_is_removed(runs, tmp_path):
    folder = runs((3, 8), (5, 6))
    report = collect(folder, tmp_path / "data", CollectRules(sft_share=0.5))
    assert (report.written["sft"], report.written["rl"]) == (2, 2)
    (row, _) = lines(tmp_path / "data" / "trl-rl.jsonl")
    assert row["instruction"] == "make 0 red" and row["semantic"] == 3 and row["last_prompt"] == "prompt 0"
    collect(folder, tmp_path / "data", EVERYTHING)
    assert not (tmp_path / "data" / "trl-rl.jsonl").exists()


def test_a_layout_whose_part_is_empty_says_which_way_to_turn(runs, tmp_path):
    folder = runs((3, 8))
    for format, share, turn in (("easyr1", 1, "lower"), ("llama-factory", 0, "raise")):
        with pytest.raises(RethinkError, match=f"^sft_share: .*empty with 1 kept run; {turn} sft_share"):
            collect(folder, tmp_path / "data", CollectRules(sft_share=share), format=format)


def test_nothing_to_learn_from_is_said_rule_by_rule(runs, tmp_path):
    folder = runs((9, 1), (8, 2), (4,))
    with pytest.raises(RethinkError, match="^runs: none of 3 .*1 × only one turn.*2 × no later turn"):
        collect(folder, tmp_path / "data")


def test_a_folder_of_someone_elses_is_left_alone(runs, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
    folder = runs((3, 8))
    for output, why in (
        (tmp_path / "mine", "something other than a dataset of runs"),
        (tmp_path / "mine" / "notes.txt", "is a file"),
    ):
        with pytest.raises(RethinkError, match=f"^output: .*{why}"):
            collect(folder, output)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    RunPairsJob((folder,), tmp_path / "store", RunPairRules(score=1)).run()
    with pytest.raises(RethinkError, match="^output: .*something other than a dataset of runs"):
        collect(folder, tmp_path / "store")


def test_a_readme_that_was_changed_stays(runs, tmp_path):
    folder, readme = runs((3, 8)), tmp_path / "data" / "README.md"
    collect(folder, tmp_path / "data")
    readme.write_text("mine", encoding="utf-8")
    collect(folder, tmp_path / "data")
    assert readme.read_text(encoding="utf-8") == "mine"


def test_a_run_that_goes_missing_or_whose_image_is_damaged_costs_itself_alone(runs, tmp_path, monkeypatch):
    folder = runs((3, 8), (4, 9), (5, 9))
    image = folder / "2" / "turn-0001-00.png"
    data = bytearray(image.read_bytes())
    data[-20] ^= 1
    image.write_bytes(data)
    decide = dataset_job.apply_rules

    def lose_one(*arguments):
        choice = decide(*arguments)
        (folder / "0" / "source.png").unlink()
        return choice

    monkeypatch.setattr(dataset_job, "apply_rules", lose_one)
    report = collect(folder, tmp_path / "data")
    assert report.lost == 2 and report.written["sft"] == 2 and f"damaged image ({folder / '0'}, …)" in str(report)


def test_a_data_set_outlives_the_images_of_its_runs(runs, tmp_path):
    folder = runs((3, 8), (4, 9))
    collect(folder, tmp_path / "data")
    before = (tmp_path / "data" / "trl-sft.jsonl").read_bytes()
    for file in folder.rglob("*.png"):
        file.unlink()
    report = collect(folder, tmp_path / "data")
    assert (tmp_path / "data" / "trl-sft.jsonl").read_bytes() == before and report.lost == 0


def test_a_part_that_would_be_empty_replaces_nothing(runs, tmp_path):
    folder = runs((3, 8), (4, 9))
    collect(folder, tmp_path / "data")
    before = (tmp_path / "data" / "trl-sft.jsonl").read_bytes()

    def change(progress):
        if "read" in progress.line and progress.done == progress.total:
            for record in folder.rglob("trajectory.json"):
                record.write_text("{}", encoding="utf-8")

    with pytest.raises(RethinkError, match=r"^runs: no steps for supervised learning \(SFT\) can be written"):
        CollectJob((folder,), tmp_path / "data", EVERYTHING).run(change)
    assert (tmp_path / "data" / "trl-sft.jsonl").read_bytes() == before
    assert not list((tmp_path / "data").rglob("*.part"))


def test_what_a_kill_has_left_is_removed(runs, tmp_path):
    folder, data = runs((3, 8)), tmp_path / "data"
    collect(folder, data)
    (images,) = (data / "images").iterdir()
    left = [data / ".verl-rl.parquet.123.part", images / ".a.png.45.part"]
    mine = [data / ".mine.part", data / ".export.1.part" / "file"]
    mine[1].parent.mkdir()
    for file in (*left, *mine):
        file.touch()
    collect(folder, data)
    assert not any(file.exists() for file in left) and all(file.exists() for file in mine)


def test_a_single_turn_that_the_judge_does_not_accept_is_not_kept(runs, tmp_path):
    folder = runs((9,), (3, 8), stopped="accepted")
    report = collect(folder, tmp_path / "data", judge=thinker(said(1, 1)))
    assert dict(report.drops) == {"only one turn, which was not accepted": 1}


def test_how_often_a_judge_finds_that_thinking_has_spoiled_a_good_edit_is_said(runs, tmp_path):
    folder = runs((3, 8), (4, 9))
    report = collect(folder, tmp_path / "data", judge=thinker(said(9, 9), said(1, 1), said(1, 1), said(9, 9)))
    note = "In 1 run, the judge accepts an edit of the first turn but not the result."
    assert note in str(report) and note in (tmp_path / "data" / "README.md").read_text(encoding="utf-8")
    assert "accepts an edit of" not in str(collect(folder, tmp_path / "data"))


@pytest.mark.parametrize(
    ("options", "why"), [({"format": "alpaca"}, "format: “alpaca”"), ({"template": "Judge {source}."}, "template: ")]
)
def test_a_wrong_setting_is_one_sentence(tmp_path, options, why):
    with pytest.raises(RethinkError, match=f"^{re.escape(why)}"):
        CollectJob((tmp_path,), tmp_path / "data", **options)
