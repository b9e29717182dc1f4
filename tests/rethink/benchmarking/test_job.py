"""A whole run on a miniature of each benchmark, judged by a server on loopback."""

import json
import os
import sys
from dataclasses import replace

import pytest

from rethink.atomic import locked
from rethink.benchmarking.budget import Budget
from rethink.benchmarking.editing import EditSetup
from rethink.benchmarking.job import RECORD, SUMMARY, TABLE, BenchmarkJob, _choose
from rethink.benchmarking.reply_log import LOCK
from rethink.errors import RethinkError
from rethink.evaluation.benchmarks import BENCHMARKS
from rethink.evaluation.benchmarks.core import Item
from tests.support.benchmark_miniatures import WRITERS, png, put
from tests.support.benchmark_runs import Painter

HEADLINES = {"gedit": 56**0.5, "imgedit": 4.0, "rise": 100.0, "kris": None}


def job_of(name, folder, **more):
    data = WRITERS[name](folder / "data")
    return BenchmarkJob(BENCHMARKS[name], data, folder / "out", data / "code", **more)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_from_data_to_figures_and_from_its_files_again(name, tmp_path, server, judge):
    job, editor, told = job_of(name, tmp_path), Painter(), []
    report = job.run(EditSetup(editor), judge, announce=told.append)
    assert report.summary.coverage == 1
    if HEADLINES[name] is not None:
        assert report.summary.value(*job.benchmark.headline) == pytest.approx(HEADLINES[name])
    assert any("calls to judge-1 (0 answers are known)" in text for text in told)
    edits, asked = len(editor.calls), len(server.requests)
    again = job.run(EditSetup(editor), judge)
    assert (len(editor.calls), len(server.requests)) == (edits, asked)
    scored = job.run()  # by the files that the benchmark's own scripts read
    assert scored.summary == again.summary == report.summary
    record = json.loads((tmp_path / "out" / SUMMARY).read_text())
    assert record["coverage"] == 1 and record["run"]["judge"] == "judge-1"
    assert (tmp_path / "out" / TABLE).read_text(encoding="utf-8").startswith(f"## {job.benchmark.title}")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_results_without_the_data(name, tmp_path, server, judge):
    job = job_of(name, tmp_path)
    report = job.run(EditSetup(Painter()), judge)
    alone = BenchmarkJob(job.benchmark, None, job.output)
    with pytest.raises(RethinkError, match="data: .*give the folder"):
        alone.run(None, judge)
    if name in ("gedit", "kris"):
        assert alone.run().summary.figures == report.summary.figures
    else:  # their files of replies do not say what type or category an item is of
        with pytest.raises(RethinkError, match="data: .*give the folder"):
            alone.run()


def test_a_part_of_it_and_another_folder_to_compare_with(tmp_path, server, judge):
    whole = job_of("gedit", tmp_path, limit=1)
    assert whole.run(EditSetup(Painter()), judge).summary.read == 2
    other = BenchmarkJob(whole.benchmark, whole.data, tmp_path / "second", whole.code, whole.output, limit=1)
    report = other.run(EditSetup(Painter(), seed=3), judge)
    assert "not comparable with leaderboards" in str(report)
    assert report.difference.items == 2 and report.difference.verdict == "cannot tell"
    missing = BenchmarkJob(whole.benchmark, whole.data, tmp_path / "second", against=tmp_path / "data")
    with pytest.raises(RethinkError, match="--against: .*no results of GEdit-Bench"):
        missing.run()


def test_broken_images_are_said_before_the_first_call(tmp_path, server, judge):
    job, told = job_of("imgedit", tmp_path), []
    put(tmp_path / "out" / "1.png", b"no image")
    put(tmp_path / "out" / "2.png", png())
    put(tmp_path / "data" / "singleturn" / "style" / "3.png", png()[:40])
    put(tmp_path / "out" / "3.png", png())

    def announce(text):
        told.append((text, len(server.requests)))

    report = job.run(None, judge, announce=announce)
    assert [text.partition(":")[0] for text, _ in told[:2]] == ["1", "3"] and {asked for _, asked in told} == {0}
    assert "1.png to have the editor make it again" in told[0][0] and "its image “source”: " in told[1][0]
    assert (report.summary.read, report.summary.missing) == (1, 2)
    put(tmp_path / "data" / "singleturn" / "animal" / "2.png", b"")
    for name in ("2.png", "3.png"):
        (tmp_path / "out" / name).unlink()
    told.clear()
    report = job.run(EditSetup(Painter()), announce=announce)
    assert [text.partition(":")[0] for text, _ in told] == ["2", "3"], "before the first edit"
    assert sum(note.startswith("Not edited: ") for note in report.notes) == 2


def test_data_without_a_single_item_that_can_be_used_are_an_error(tmp_path, judge):
    """A pointer in place of a file, as git leaves it where its large files were not fetched."""
    job, told = job_of("gedit", tmp_path), []
    next((tmp_path / "data" / "train").iterdir()).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(RethinkError, match="data: .* has no usable item of GEdit-Bench"):
        job.run(EditSetup(Painter()), judge, announce=told.append)
    assert len(told) == 1 and "was not downloaded completely" in told[0] and not told[0].endswith("..")


def test_a_budget_and_going_on(tmp_path, server, judge):
    job = job_of("imgedit", tmp_path, budget=Budget(calls=1))
    part = job.run(EditSetup(Painter()), judge)
    assert part.summary.read == 1 and part.judgments.left_out == 2 and "to resume" in str(part)
    whole = job_of("imgedit", tmp_path).run(None, judge)
    assert whole.summary.coverage == 1 and len(server.requests) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no file has such a name")
@pytest.mark.parametrize("name", BENCHMARKS)
def test_folders_whose_names_are_no_utf8(name, tmp_path, server, judge):
    job = replace(job_of(name, tmp_path), output=tmp_path / os.fsdecode(b"caf\xe9"))
    report = job.run(EditSetup(Painter()), judge)
    assert report.summary.coverage == 1 and job.run().summary == report.summary
    assert (job.output / TABLE).read_text(encoding="utf-8").startswith("## ")


def test_scores_of_others_are_left_alone(tmp_path, server, judge):
    job = job_of("imgedit", tmp_path)
    theirs = put(tmp_path / "out" / "result.json", '{"1": "A: 2"}')
    put(tmp_path / "out" / "1.png", png())
    with pytest.raises(RethinkError, match="scores that Rethink did not make"):
        job.run(None, judge)
    assert theirs.read_text() == '{"1": "A: 2"}' and server.requests == []
    assert job.run().summary.read == 1
    theirs.unlink()
    job.run(None, judge)
    judge.chat.name = "judge-2"
    with pytest.raises(RethinkError, match="judge 'judge-1', not 'judge-2'"):
        job.run(None, judge)


def test_two_runs_in_one_folder_and_other_mistakes(tmp_path, judge):
    job = job_of("imgedit", tmp_path)
    with pytest.raises(RethinkError, match="-o: .*not a results folder"):
        job.run()
    with pytest.raises(RethinkError, match="--benchmark-code: .*give your copy"):
        BenchmarkJob(job.benchmark, job.data, job.output).run(EditSetup(Painter()), judge)
    job.run(EditSetup(Painter()))
    assert json.loads((tmp_path / "out" / RECORD).read_text())["editor"] == "fake"
    with pytest.raises(RethinkError, match="seed 0, not 5"):
        job.run(EditSetup(Painter(), seed=5))
    other = BenchmarkJob(BENCHMARKS["kris"], WRITERS["kris"](tmp_path / "kris"), job.output)
    with pytest.raises(RethinkError, match="benchmark 'imgedit'"):
        other.run()
    with pytest.raises(RethinkError, match="with loras"):
        job.run(EditSetup(Painter(), loras=("snow.safetensors",)))
    with locked(tmp_path / "out" / LOCK), pytest.raises(RethinkError, match="another run"):
        job.run(EditSetup(Painter()))


def test_so_many_items_are_taken_by_turns_from_every_group():
    items = [Item(f"{group}{number}", group, "x") for group in "ab" for number in range(4)] + [Item("c0", "c", "x")]

    def names(limit, count):
        return [item.id for item in _choose(items, limit, count)]

    assert names(0, 4) == ["a0", "a1", "b0", "c0"] and names(1, 0) == ["a0", "b0", "c0"]
    assert names(1, 2) == ["a0", "b0"] and len(names(0, 0)) == 9 == len(names(0, 100))


@pytest.mark.parametrize("says", [True, False])
def test_what_the_judge_has_read_and_written_is_its_servers_word(says, tmp_path, server, judge):
    answer = server.replies[0]

    def reply(body):
        status, text, headers = answer(body)
        usage = {"usage": {"prompt_tokens": 1200, "completion_tokens": 30}} if says else {}
        return status, json.dumps(json.loads(text) | usage), headers

    server.replies = [reply]
    job = job_of("imgedit", tmp_path, budget=Budget(price_in=2.0, price_out=10.0))
    report = job.run(EditSetup(Painter()), judge)
    record, calls = report.as_dict(), len(server.requests)
    if says:
        assert record["tokens"] == {"answers": calls, "read": 1200 * calls, "written": 30 * calls}
        assert record["money"] == pytest.approx(calls * (1200 * 2 + 30 * 10) / 1e6)
        assert f"The judge read {1200 * calls:,} tokens and wrote {30 * calls} in {calls} calls." in report.sentences
    else:
        assert record["tokens"]["answers"] == 0 and "Judging cost 0.02, estimated." in report.sentences
    again = job.run(None, judge).as_dict()
    assert again["tokens"]["answers"] == again["calls"] == again["money"] == 0, "nothing was asked"


def test_a_run_goes_on_with_an_editor_whose_server_has_moved_and_with_no_other(tmp_path, server, judge):
    job, editor = job_of("gedit", tmp_path, limit=1), Painter()
    for editor.name in ("painter @ http://127.0.0.1:8000", "painter @ http://localhost"):
        job.run(EditSetup(editor), judge)
    editor.name = "brush @ http://localhost"
    with pytest.raises(RethinkError, match="contains a run with editor 'painter @ http://localhost'"):
        job.run(EditSetup(editor), judge)
