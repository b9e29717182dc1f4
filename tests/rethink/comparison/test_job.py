"""A comparison from its tasks to its folder: whole, resumable, and never mixed with another."""

from dataclasses import replace

import pytest

from rethink.comparison.job import RECORD, TABLE, CompareJob, describe_poll, read_record
from rethink.comparison.page import PAGE
from rethink.comparison.votes import append_votes
from rethink.errors import RethinkError
from rethink.pairs.models import ModelSource
from tests.support.comparisons import Brush, broken, run, tasks, variant, vote
from tests.support.thinking import critic, said, thinker


def test_a_folder_holds_all_of_it(tmp_path):
    seen = []
    job = CompareJob(tasks(), [variant("one"), variant("two")], tmp_path / "new", judge=critic(said(8, 8)))
    report = job.run(seen.append)
    assert report.best in ("one", "two") and report.page == tmp_path / "new" / PAGE
    assert seen[0].line.startswith("1 of 8 edits") and seen[0].preview().shape == (1, 16, 16, 3)
    names = {file.name for file in (tmp_path / "new").iterdir()}
    assert names == {".lock", RECORD, PAGE, "table.md", "edits", "sources", "edits.jsonl", "scores.jsonl"}
    assert [each["name"] for each in read_record(tmp_path / "new")["variants"]] == ["one", "two"]


def test_a_run_that_was_cut_off_goes_on(tmp_path):
    class Stop(Exception):
        pass

    def stop(step):
        if step.done == 3:
            raise Stop

    one, two = Brush("one"), Brush("two")
    job = CompareJob(tasks(), [variant("one", one), variant("two", two)], tmp_path)
    with pytest.raises(Stop):
        job.run(stop)
    (tmp_path / f".{PAGE}.123.part").write_bytes(b"killed while it was written")
    job.run()
    assert len(one.calls) == len(two.calls) == 4


def test_votes_stay_when_an_editor_is_added(tmp_path):
    first = run(tmp_path)
    assert "No votes yet" in str(first) and describe_poll(tmp_path) == "No votes yet."
    one, two = (row.variant for row in first.rows)
    append_votes(tmp_path, [vote(task, one, two, "a", number) for number, task in enumerate(first.tasks)])
    assert describe_poll(tmp_path).startswith("one: 100% of 4")
    report = run(tmp_path, "one", "two", "three", count=3)
    assert report.poll.votes == 4 and report.best == "one"


def test_a_variant_that_fails_is_left_out(tmp_path):
    told = []
    job = CompareJob(tasks(), [broken(), variant("one"), variant("two")], tmp_path)
    report = job.run(announce=told.append)
    assert told == ["broken was left out: lora: it was made for another model."]
    assert [row.variant.name for row in report.rows] == ["one", "two"]
    assert "broken was left out: lora: it was made for another model." in report.sentences
    with pytest.raises(RethinkError, match="fewer than two of them made edits: lora: it was made"):
        CompareJob(tasks(), [broken(), variant("one")], tmp_path / "other").run()


def test_other_folders_are_left_alone(tmp_path):
    run(tmp_path / "one")
    with pytest.raises(RethinkError, match="contains a comparison of other images"):
        CompareJob(tasks(1, ["another"]), [variant("one"), variant("two")], tmp_path / "one").run()
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "monday.txt").write_text("rain")
    with pytest.raises(RethinkError, match="contains monday.txt, which does not belong to a comparison"):
        run(tmp_path / "diary")
    with pytest.raises(RethinkError, match="contains no comparison"):
        read_record(tmp_path)
    (tmp_path / "one" / RECORD).write_text('{"schema": 99}')
    with pytest.raises(RethinkError, match="newer version"):
        read_record(tmp_path / "one")


def test_nothing_to_compare_is_said_at_once(tmp_path):
    for given, variants, why in (
        (tasks(), [variant("one")], "takes two or more"),
        ([], [variant("one"), variant("two")], "nothing to edit"),
    ):
        with pytest.raises(RethinkError, match=why):
            CompareJob(given, variants, tmp_path)


def test_what_cannot_measure_is_said_before_the_first_edit(tmp_path):
    def fail():
        raise RethinkError("clip: it is no CLIPModel folder.")

    one = Brush("one")
    job = CompareJob(tasks(), [variant("one", one), variant("two")], tmp_path, clip=ModelSource("clip", fail))
    with pytest.raises(RethinkError, match="no CLIPModel"):
        job.run()
    assert one.calls == []


def test_texts_that_no_file_can_hold_are_written_all_the_same(tmp_path):
    """As what is left of a folder's name that is not UTF-8."""
    run(tmp_path, title="a \ud83d title")
    table = (tmp_path / TABLE).read_text(encoding="utf-8")
    assert table.startswith("## a \ufffd title") and read_record(tmp_path)["title"] == "a \ud83d title"


def test_a_judge_that_is_also_who_thinks_is_said(tmp_path):
    judge = thinker(said(8, 8))
    thinking = replace(variant("two"), record={"thinking": {"thinker": judge.chat.name, "judge": ""}})
    report = CompareJob(tasks(1), [variant("one"), thinking], tmp_path, judge=judge).run()
    assert any(sentence.startswith("The judge is also the thinker (says)") for sentence in report.sentences)
