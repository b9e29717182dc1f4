"""The report says figures, coverage, how sure they are, and what went wrong."""

import json

from rethink.benchmarking.job import NO_JUDGMENTS
from rethink.benchmarking.judging import Judgments
from rethink.benchmarking.report import make_report, source_digest
from rethink.evaluation.benchmarks import BENCHMARKS
from rethink.evaluation.benchmarks.core import Item, Results

ROW = BENCHMARKS["imgedit"]
ITEMS = [Item(str(number), "add", "x", {"source": lambda n=number: b"image %d" % (n // 2)}) for number in range(24)]


def report_of(judged, judgments=NO_JUDGMENTS, problems=(), record=None, other=None):
    return make_report(
        ROW,
        ITEMS,
        judged,
        judgments,
        problems,
        [("b", "no memory")],
        ["A note."],
        record or {"benchmark": "imgedit"},
        other,
    )


def test_figures_coverage_and_interval():
    judged = {item.id: {"score": 3.0 + int(item.id) % 3} for item in ITEMS[:20]} | {"20": None}
    report = report_of(judged)
    assert report.interval.items == 20 and report.interval.clusters == 10
    text = str(report)
    assert "Scores for 20 of 24 items (83.3%); 1 with unreadable replies; 3 not judged." in text
    assert "95% between" in text and "A note." in text
    record = json.loads(json.dumps(report.as_dict()))
    assert record["coverage"] == 20 / 24 and record["headline"]["name"] == "overall, score, mean of types"
    assert "| overall, score, mean of types |" in report.markdown and "3.71 | gpt-4.1 | leaderboard" in report.markdown
    nothing = report_of({})
    assert nothing.interval is None and "not measured" in str(nothing)


def test_which_is_better():
    good, bad = ({item.id: {"score": score + int(item.id) % 2} for item in ITEMS} for score in (3.0, 2.0))
    other = Results(tuple(ITEMS), bad)
    report = report_of(good, other=other)
    assert report.difference.verdict == "better" and "over 24 items: better, +1" in str(report)
    assert report_of(bad, other=Results(tuple(ITEMS), good)).difference.verdict == "worse"
    assert report_of(good, other=Results(tuple(ITEMS), good)).difference.verdict == "cannot tell"


def test_faults_are_listed_and_counted():
    many = tuple((f"item {number}", "no number") for number in range(12))
    judgments = Judgments({}, {}, many, (("a, score", "timed out"),), left_out=3, stopped="5 calls")
    report = report_of({}, judgments, [("row 1", "no image")], {"thinking": True})
    text = "\n".join(report.sentences)
    assert "Unreadable: item 9: no number." in text and "Unreadable: 2 more." in text
    assert "The budget of 5 calls is used up: 3 questions are left" in text
    assert "No answer: a, score: timed out." in text and "Left out: row 1: no image." in text
    assert "rewritten by thinking" in text and "Not edited: b: no memory." in text
    assert "Missing from the data or broken, and not counted: 1." in text and report.as_dict()["left_out"] == 1


def test_scores_beyond_the_scale_are_said():
    judged = {"0": {"score": 11.0}, "1": {"score": 4.0}, "2": None}
    assert any(note.startswith("1 item has scores outside 1 to 5; they count") for note in report_of(judged).notes)
    assert not any("outside" in note for note in report_of({"1": {"score": 5.0}}).notes)


def test_items_of_one_image_belong_together():
    assert source_digest(ITEMS[0]) == source_digest(ITEMS[1]) != source_digest(ITEMS[2])
    assert source_digest(Item("lost", "add", "x")) == "lost"
