"""Every run is read once, and judged once."""

import gc
import tracemalloc

import pytest

from rethink.collect import run_log
from rethink.collect.rules import CollectRules, apply_rules
from rethink.collect.runs import RunFacts, TurnFacts, facts_record
from rethink.errors import OutOfMemoryError, RethinkError
from rethink.pairs.jsonl_log import LatestIndex
from rethink.thinkers.asking import MAX_CONSECUTIVE_FAILURES
from rethink.thinkers.critique import Thinker
from tests.support.thinking import Says, gone, said, thinker
from tests.support.trajectories import rewrite_record, write_trajectory


@pytest.fixture
def read(tmp_path):
    """read(folder, judge, judged) → the runs' facts, in order."""

    def read(folder, *options):
        (tmp_path / "log").mkdir(exist_ok=True)
        return list(run_log.RunReader((folder,), *options).read(tmp_path / "log"))

    return read


def test_a_run_is_read_once(runs, read, monkeypatch):
    folder = runs((3, 8), (5, 6))
    first = read(folder)
    monkeypatch.setattr(run_log, "read_run", None)
    assert read(folder) == first and [facts.why for facts in first] == ["", ""]


def test_a_run_that_went_on_is_read_again(runs, read, tmp_path):
    folder = runs((3, 8))
    (before,) = read(folder)
    rewrite_record(write_trajectory(tmp_path / "other", (1, 2, 3)), instruction="other")
    (tmp_path / "other" / "trajectory.json").replace(folder / "0" / "trajectory.json")
    (tmp_path / "other" / "turn-0003-00.png").replace(folder / "0" / "turn-0003-00.png")
    (after,) = read(folder)
    assert [len(facts.turns) for facts in (before, after)] == [2, 3]


@pytest.mark.parametrize("judges", [[], [thinker(said(5, 5))]])
def test_a_run_that_was_still_being_copied_is_read_again_and_logged_when_that_changes(runs, read, tmp_path, judges):
    folder = runs((3, 8))
    file = folder / "0" / "turn-0002-00.png"
    data = file.read_bytes()
    file.unlink()
    for _ in range(2):
        assert [facts.why for facts in read(folder, *judges)] == ["image"]
    log = tmp_path / "log" / run_log.RUN_LOG
    assert len(log.read_bytes().splitlines()) == 1
    file.write_bytes(data)
    for _ in range(2):
        assert [facts.why for facts in read(folder, *judges)] == [""]
    assert len(log.read_bytes().splitlines()) == 2


def test_copies_count_once(tmp_path, read):
    run = write_trajectory(tmp_path / "runs" / "a", (3, 8))
    run.copy_to(tmp_path / "runs" / "b")
    assert [facts.why for facts in read(tmp_path / "runs")] == ["", "copy"]


def test_a_judge_scores_every_edit_anew_and_is_asked_once(runs, read):
    folder, judge = runs((9, 2)), thinker(said(1, 1), said(7, 7))
    for _ in range(2):
        (facts,) = read(folder, judge)
    assert [turn.overall for turn in facts.turns] == [1, 7] and facts.best_turn == 1
    assert len(judge.chat.asked) == 2 and not facts.same_judge
    (own,) = read(folder)
    assert [turn.overall for turn in own.turns] == [9, 2]


def test_a_judge_of_the_best_leaves_the_scores_as_they_are(runs, read):
    judge = thinker(said(1, 4))
    (facts,) = read(runs((2, 9)), judge, "best")
    assert [turn.overall for turn in facts.turns] == [2, 9] and facts.scores == {"1": [1, 4]}
    assert len(judge.chat.asked) == 1


def test_a_judge_that_is_the_thinker_itself_is_known(runs, read):
    (facts,) = read(runs((2, 9), options=(("thinker", "models/says"),)), thinker(said(1, 1)))
    assert facts.same_judge


def test_a_judge_that_does_not_answer_is_asked_again(runs, read):
    folder = runs((3, 8))
    assert [facts.why for facts in read(folder, thinker(gone()))] == ["judge"]
    assert [facts.why for facts in read(folder, thinker(said(3, 3)))] == [""]


def test_a_judge_that_goes_away_within_a_run_is_asked_about_all_of_it_again(runs, read):
    folder, judge = runs((3, 8)), thinker(said(3, 3), gone(), said(1, 1), said(9, 9))
    assert [facts.why for facts in read(folder, judge)] == ["judge"]
    (facts,) = read(folder, judge)
    assert [turn.overall for turn in facts.turns] == [1, 9]


def test_a_judge_with_another_wording_is_another_judge(runs, read):
    folder = runs((3, 8))
    read(folder, thinker(said(1, 1)))
    (facts,) = read(folder, Thinker(Says(said(2, 2)), "{source} {edited} {instruction}"))
    assert facts.turns[0].overall == 2


def test_an_image_that_does_not_open_is_counted_and_what_a_judge_lacks_is_raised(runs, read):
    folder = runs((3, 8))
    with pytest.raises(OutOfMemoryError):
        read(folder, thinker(OutOfMemoryError("thinker: out of memory.")))
    file = folder / "0" / "turn-0001-00.png"
    file.write_bytes(file.read_bytes()[:40] + file.read_bytes()[-12:])
    assert [facts.why for facts in read(folder, thinker(said(1, 1)))] == ["image"]


@pytest.mark.parametrize(
    "change", [lambda record: record.unlink(missing_ok=True), lambda record: record.write_text("{}", encoding="utf-8")]
)
def test_a_run_that_changes_while_it_is_judged_has_the_content_that_was_judged(runs, read, change):
    folder = runs((3, 8))
    (before,) = read(folder)
    judge = thinker(said(5, 5))
    answer = judge.chat.chat

    def chat(*arguments, **options):
        change(folder / "0" / "trajectory.json")
        return answer(*arguments, **options)

    judge.chat.chat = chat
    (facts,) = read(folder, judge)
    assert facts.content == before.content and facts.source == before.source


def test_a_run_that_goes_away_while_it_is_read_costs_itself_alone(runs, read, monkeypatch):
    folder, read_run = runs((3, 8), (4, 9)), run_log.read_run

    def read_and_lose(run):
        found = read_run(run)
        if run.name == "0":
            (run / "source.png").unlink()
        return found

    monkeypatch.setattr(run_log, "read_run", read_and_lose)
    assert [facts.why for facts in read(folder)] == ["image", ""]


def test_a_judge_whose_answers_hold_no_scores_is_counted(runs, read):
    assert [facts.why for facts in read(runs((3, 8)), Thinker(Says("nice!")))] == ["judge"]


def test_a_judge_that_never_answers_ends_it(tmp_path, read):
    for number in range(MAX_CONSECUTIVE_FAILURES + 1):
        write_trajectory(tmp_path / "runs" / str(number), (3,), instruction=str(number))
    with pytest.raises(RethinkError, match="in a row"):
        read(tmp_path / "runs", thinker(gone()))


def test_no_run_at_all_is_said(tmp_path, read):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RethinkError, match="^runs: there is no recorded run"):
        read(tmp_path / "empty")
    with pytest.raises(RethinkError, match="^runs: there is no folder"):
        read(tmp_path / "missing")


def test_a_damaged_line_is_read_anew_and_a_foreign_file_is_left_alone(runs, read, tmp_path):
    folder = runs((3, 8), (4, 9))
    first = read(folder)
    log = tmp_path / "log" / run_log.RUN_LOG
    log.write_text(log.read_text(encoding="utf-8").replace('"turns": [[0', '"turns": [["x"', 1), encoding="utf-8")
    assert read(folder) == first
    log.write_text('{"mine": true}\n', encoding="utf-8")
    with pytest.raises(RethinkError, match="not written by Rethink"):
        read(folder)


def test_a_line_that_a_kill_has_torn_is_written_anew(runs, read, tmp_path):
    folder = runs((3, 8), (4, 9))
    first = read(folder)
    log = tmp_path / "log" / run_log.RUN_LOG
    log.write_bytes(log.read_bytes()[:-40])
    assert read(folder) == first and len(log.read_bytes().splitlines()) == 2


def test_a_run_takes_a_few_bytes_of_memory(tmp_path):
    """What is held of runs while they are chosen. benchmarks/collect.py measures the whole job on 10,000 of them."""
    turns = tuple(TurnFacts(index, 5.0, 6.0, 5.5) for index in range(4))
    kept = {}
    for count in (20, 420):
        facts = [
            RunFacts(f"{number:016x}", "/runs/with/a/long/name", "", f"{number:016x}", "", "color", "turns", turns)
            for number in range(count)
        ]
        (tmp_path / str(count)).mkdir()
        log = run_log.open_log(tmp_path / str(count))
        log.append(*map(facts_record, facts))
        ids = [each.id for each in facts]
        del facts
        tracemalloc.start()
        try:
            runs = run_log.ReadRuns(log, LatestIndex(log), tuple(ids), ())
            choice = apply_rules(runs, CollectRules())
            assert choice.kept == count and sum(1 for _ in choice.choose(runs)) > count / 2
            gc.collect()
            kept[count] = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert (kept[420] - kept[20]) / 400 < 300
