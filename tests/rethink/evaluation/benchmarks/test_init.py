"""Every benchmark reads its own layout, asks its questions, and finds again what it has written."""

import pytest

from rethink.evaluation.benchmarks import BENCHMARKS
from rethink.evaluation.benchmarks.core import Shown, UnreadableReply
from tests.support.benchmark_miniatures import WRITERS, judge_reply


@pytest.mark.parametrize("name", BENCHMARKS)
def test_from_its_files_to_its_figures_and_back(name, tmp_path):
    row, data, results = BENCHMARKS[name], WRITERS[name](tmp_path), tmp_path / "results"
    results.mkdir()
    found = row.read_items(data, "en")
    assert found.items and len({item.id for item in found.items}) == len(found.items)
    prompts = row.read_prompts(data / "code")
    replies, judged = {}, {}
    for item in found.items:
        replies[item.id], scores = {}, {}
        for question in row.questions(item, prompts):
            assert all(
                part.role == "edited" or part.role in item.images for part in question.parts if isinstance(part, Shown)
            )
            assert question.parts[-1] == Shown("edited") or name == "kris"
            reply = judge_reply(question.parts[0])
            replies[item.id][question.name] = reply
            scores |= row.read_reply(item, question.name, reply)
        judged[item.id] = scores
        assert row.item_score(item, scores) is not None
        with pytest.raises(UnreadableReply):
            row.read_reply(item, question.name, "I'm sorry, I can't judge that.")
    assert row.read_results(results, found.items) is None
    row.write_results(results, "model", found.items, replies, judged)
    again = row.read_results(results, found.items)
    assert again.judged == judged and not again.notes
    ours, theirs = row.summarize(found.items, judged), row.summarize(again.items, again.judged)
    assert ours == theirs and ours.coverage == 1
    assert ours.value(*row.headline) is not None
