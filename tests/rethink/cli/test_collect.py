"""`rethink collect`, `rethink collect-pairs` and `rethink compare-runs`."""

import pytest

from rethink.pairs.store import PairStore
from tests.support.commands import run_here
from tests.support.trajectories import draw_images, write_trajectory


@pytest.fixture
def runs(tmp_path):
    for number in range(3):
        images = draw_images(number, 2)
        write_trajectory(tmp_path / "runs" / str(number), (4, 9), images=images, instruction=f"make {number} red")
    return tmp_path / "runs"


def test_a_data_set_from_runs(runs, capfd, tmp_path):
    data = tmp_path / "data"
    code, lines, _ = run_here(capfd, "collect", runs, "-o", data, "--format", "llama-factory", "--sft-share", 1)
    assert code == 0 and lines[0] == f"3 of 3 runs kept → {data}"
    assert len((data / "llama-factory-sft.jsonl").read_text(encoding="utf-8").splitlines()) == 6
    template = tmp_path / "template.txt"
    template.write_text("Look: {source} {edited} {instruction} {prompt}", encoding="utf-8-sig")  # as Notepad does
    run_here(capfd, "collect", runs, "-o", data, "--sft-share", 1, "--template", template)
    assert '"text": "Look: "' in (data / "trl-sft.jsonl").read_text(encoding="utf-8")


def test_pairs_and_preferences_from_runs(runs, capfd, tmp_path):
    command = ["collect-pairs", runs, tmp_path / "pairs", "--preferences", tmp_path / "preferences"]
    code, lines, _ = run_here(capfd, *command)
    assert code == 0 and "3 preferences, the best edit of a run against its worst." in lines
    assert sorted(pair.instruction for pair in PairStore(tmp_path / "pairs")) == [f"make {n} red" for n in range(3)]


def test_runs_side_by_side(runs, capfd, tmp_path):
    sheet = tmp_path / "sheet.png"
    code, lines, _ = run_here(capfd, "compare-runs", runs, runs, "-o", sheet)
    assert code == 0 and lines[0] == "3 tasks, before → after" and sheet.is_file()


def test_runs_side_by_side_as_a_judge_has_them(runs, thinker, capfd, tmp_path):
    command = ["compare-runs", runs, runs, "--judge", thinker, "--max-tokens", 4, "--answers", tmp_path / "answers"]
    code, lines, _ = run_here(capfd, *command)
    assert code == 0 and "harm: —" in lines and "6 runs got no scores from the judge." in lines
    assert len(list((tmp_path / "answers").iterdir())) == 1, "a miniature's answers are kept, though they make no sense"


def test_a_judge_is_opened_as_thinkers_are(runs, thinker, capfd, tmp_path):
    code, _, errors = run_here(capfd, "collect-pairs", runs, tmp_path / "pairs", "--judge", thinker, "--max-tokens", 4)
    assert code == 2 and "3 × the judge gave no scores" in errors[0], "a miniature says nothing that makes sense"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["collect", "gone", "-o", "x"], "runs: there is no folder"),
        (["collect", ".", "-o", "x", "--template", "gone.txt"], "--template: gone.txt cannot be read"),
        (
            ["compare-runs", ".", ".", "-o", "sheet.docx"],
            "-o: sheet.docx has a file extension that cannot be written",
        ),
        (["collect-pairs", ".", "x", "--score", 11], "score: expected 0 to 10, got 11."),
        (
            ["compare-runs", ".", ".", "--answers", "x"],
            "--answers: keeps the judge's answers, but there is no --judge; add one, or leave --answers out.",
        ),
    ],
)
def test_a_mistake_is_one_sentence(capfd, tmp_path, monkeypatch, arguments, why):
    monkeypatch.chdir(tmp_path)
    code, _, errors = run_here(capfd, *arguments)
    assert code == 2 and why in errors[0]


@pytest.mark.parametrize(
    "command", [["collect", ".", "-o", "x"], ["collect-pairs", ".", "x"], ["think", "runs/0/source.png", "x"]]
)
def test_a_judge_that_is_not_there_is_called_so(runs, capfd, monkeypatch, command):
    monkeypatch.chdir(runs.parent)
    code, _, errors = run_here(capfd, *command, "--judge", "gone")
    assert code == 2 and "judge: gone is not a folder" in errors[-1]
