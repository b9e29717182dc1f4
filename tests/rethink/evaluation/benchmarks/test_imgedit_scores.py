"""ImgEdit's replies and means are read as its scripts read them."""

import pytest

from rethink.evaluation.benchmarks.core import Item, UnreadableReply
from rethink.evaluation.benchmarks.imgedit_scores import BY_ITEM, BY_TYPE, read_reply, read_scores, summarize


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ("Brief reasoning: fine\nCompliance: 4\nSeamlessness: 3\nFidelity: 5", [4, 3, 5]),
        ("Brief reasoning: 2\n  Compliance: 9  ", [2, 9]),
        ("Compliance: **4**\nSeamlessness: 4/5\nFidelity: 3", [3]),
        ("A: 1\nB:2\nC: 3.\nD: x: 4", [1]),
        ("遵循: 4\r\n质量: 5", [4, 5]),
        ("Scores: ４", [4]),
    ],
)
def test_lines_that_count(reply, scores):
    assert read_scores(reply) == scores


@pytest.mark.parametrize("reply", ["", "4", "Compliance：4", "Score: 12/10", {"error": "timed out"}, None, "Score: ²"])
def test_replies_without_a_number_or_that_crash_its_script(reply):
    with pytest.raises(UnreadableReply):
        read_scores(reply)


def test_both_means_of_all_and_no_cap():
    items = [Item(str(number), kind, "x") for number, kind in enumerate(("add", "add", "add", "style", "style"))]
    assert read_reply(items[0], "", "A: 1\nB: 5\nC: 5") == {"score": 3.67}  # the second is higher than the first
    judged = {"0": {"score": 3.67}, "1": {"score": 4.0}, "2": {"score": 1.0}, "3": {"score": 5.0}, "4": None}
    summary = summarize(items, judged)
    assert summary.value("add", "score") == 2.89  # 8.67 / 3, to two decimals
    assert summary.value("overall", "score", BY_TYPE) == pytest.approx((2.89 + 5) / 2)
    assert summary.value("overall", "score", BY_ITEM) == pytest.approx(13.67 / 4)
    assert (summary.judged, summary.read, summary.coverage) == (5, 4, 0.8)
