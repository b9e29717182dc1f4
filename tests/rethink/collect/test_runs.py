"""Runs are found, and whatever is wrong with one has its name."""

import shutil
from dataclasses import replace

import pytest

from rethink.collect import runs as collect
from rethink.errors import RethinkError
from rethink.steps import Preservation
from rethink.training.recorded_runs import read_run
from rethink.trajectory import load_trajectory, new_trajectory, record_run
from tests.support.thinking import SOURCE, Painter, said, start_thinking, thinker
from tests.support.trajectories import rewrite_record, rewrite_steps, write_trajectory


def read(folder):
    trajectory, why = read_run(folder)
    return why if trajectory is None or why else collect.facts_of(folder, "0", trajectory, None)


def test_runs_are_found_in_folders_and_below(tmp_path):
    for name in ("b/two", "a", ".hidden/run", "b/one"):
        write_trajectory(tmp_path / name, (1,))
    found = [folder.relative_to(tmp_path).as_posix() for folder in collect.find_runs([tmp_path])]
    assert found == ["a", "b/one", "b/two"]
    assert list(collect.find_runs([tmp_path / "a"])) == [tmp_path / "a"]
    with pytest.raises(RethinkError, match="^runs: there is no folder"):
        list(collect.find_runs([tmp_path / "gone"]))


def damage_record(run):
    (run.folder / "trajectory.json").write_text('{"schema": 1, "ste', encoding="utf-8")


def cut_image(run):
    file = run.folder / "turn-0001-00.png"
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (damage_record, "unreadable"),
        (lambda run: rewrite_record(run, schema="one"), "unreadable"),
        (lambda run: rewrite_record(run, schema=99), "newer"),
        (lambda run: (run.folder / "source.png").unlink(), "image"),
        (cut_image, "image"),
        (lambda run: rewrite_record(run, stopped=""), "unfinished"),
        (lambda run: shutil.rmtree(run.folder), "unreadable"),
    ],
)
def test_what_is_wrong_with_a_run_has_its_name(tmp_path, harm, why):
    run = write_trajectory(tmp_path / "run", (3, 8))
    assert read(run.folder).why == ""
    harm(run)
    assert read(run.folder) == why


@pytest.mark.parametrize(
    ("scores", "preserved", "why"),
    [
        ((None,), {}, "failed"),
        ((), {}, "failed"),
        ((9,), {"preserved": Preservation(0.0, 99.0, True)}, "unscored"),
    ],
)
def test_a_run_without_scores_says_why_it_has_none(tmp_path, scores, preserved, why):
    assert read(write_trajectory(tmp_path / "run", scores, **preserved).folder).why == why


def test_a_critique_that_failed_later_ends_what_is_learned(tmp_path):
    facts = read(write_trajectory(tmp_path / "run", (3, 8, None, 9)).folder)
    assert [turn.index for turn in facts.turns] == [0, 1] and facts.best_turn == 1
    assert facts.best.index == 3 and facts.worst.index == 0


def test_facts_survive_their_record(tmp_path):
    facts = read(write_trajectory(tmp_path / "run", (3, 8), chosen=0).folder)
    assert collect.read_facts_record(collect.facts_record(facts)) == facts and facts.chosen


@pytest.mark.parametrize(
    ("scores", "options", "accepted"),
    [
        ((9,), {}, True),
        ((6,), {}, False),
        ((6,), {"options": (("rules", {"accept": [5, 5]}),)}, True),
        ((6,), {"options": (("rules", {"accept": "all"}),)}, False),
        ((6,), {"stopped": "accepted"}, False),  # another edit than the best was
        ((None,), {"stopped": "accepted"}, False),
        ((9, 3), {"chosen": 1}, False),
    ],
)
def test_a_run_is_accepted_by_its_own_rules(tmp_path, scores, options, accepted):
    assert read(write_trajectory(tmp_path / "run", scores, **options).folder).accepted is accepted


@pytest.mark.parametrize(("met", "accepted"), [(True, True), (False, False), (None, False)])
@pytest.mark.parametrize("by", ["critique", "judge"])
def test_a_checklist_has_to_be_met_to_be_accepted(tmp_path, met, accepted, by):
    run = write_trajectory(tmp_path / "run", (9,), judged=(9,) if by == "judge" else ())
    rewrite_steps(run, lambda step: step[by].update(checklist=[{"text": "a hat", "met": met}]))
    assert read(run.folder).accepted is accepted


def test_what_a_run_stopped_at_is_its_success_and_an_older_record_with_another_best_has_none(tmp_path):
    rules = {"accept": [8, 8]}
    loop = start_thinking(
        Painter(), thinker(said(10, 7.9), said(8, 8)), SOURCE, "make it red", candidates=2, preserve=0
    )
    *_, run = record_run(new_trajectory(tmp_path / "run", SOURCE, "make it red", {"rules": rules}), loop)
    assert (run.stopped, run.best) == ("accepted", 1) and collect.has_succeeded(run)
    rewrite_steps(run, lambda step: step.pop("accepted", None))
    older = load_trajectory(run.folder)
    assert older.best == 0 and not collect.has_succeeded(older)


def test_a_person_who_takes_an_edit_makes_it_a_success(tmp_path):
    assert collect.has_succeeded(write_trajectory(tmp_path / "run", (3, 8), chosen=0))


@pytest.mark.parametrize(
    ("first", "second", "accepted", "harmed"), [(9, 3, False, True), (9, 8, True, False), (3, 3, False, False)]
)
def test_a_judge_in_place_of_the_run_accepts_in_its_place(tmp_path, first, second, accepted, harmed):
    run = write_trajectory(tmp_path / "run", (3, 8))
    facts = collect.facts_of(run.folder, "0", run, {"0": (first, first), "1": (second, second)})
    assert (facts.accepted, facts.harmed) == (accepted, harmed)


def test_a_result_that_the_judge_has_not_scored_is_no_harm(tmp_path):
    run = write_trajectory(tmp_path / "run", (3, 8))
    assert not collect.facts_of(run.folder, "0", run, {"0": (9, 9)}).harmed


def test_a_copy_has_the_content_of_its_run_and_a_namesake_has_not(tmp_path):
    run = write_trajectory(tmp_path / "a" / "run", (3, 8))
    other = write_trajectory(tmp_path / "b" / "run", (3, 8), instruction="make it blue")
    copy = run.copy_to(tmp_path / "copy")
    first, second, third = (read(each.folder) for each in (run, other, copy))
    assert third.content == first.content != second.content and first.source == second.source


def test_a_run_that_has_changed_since_it_was_read_is_gone(tmp_path):
    run = write_trajectory(tmp_path / "run", (3, 8))
    facts = read(run.folder)
    assert collect.reload_run(facts).folder == run.folder
    for other in (replace(facts, content="0" * 16), replace(facts, run=str(tmp_path))):
        with pytest.raises(RethinkError):
            collect.reload_run(other)
    rewrite_record(run, message="went on")
    with pytest.raises(RethinkError, match="^runs: .* has changed since it was read"):
        collect.reload_run(facts)


def test_a_run_is_read_anew_where_its_facts_mean_something_else(tmp_path, monkeypatch):
    before = collect.run_id(tmp_path, "")
    monkeypatch.setattr(collect, "READING", collect.READING + 1)
    assert collect.run_id(tmp_path, "") != before


def test_a_record_that_changes_is_read_again(tmp_path):
    run = write_trajectory(tmp_path / "run", (3,))
    before = collect.run_id(run.folder, "")
    assert collect.run_id(run.folder, "") == before != collect.run_id(run.folder, "all judge")
    rewrite_record(run, message="went on")
    assert collect.run_id(run.folder, "") != before
