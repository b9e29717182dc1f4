"""RISE's data, what it asks about which images, and the replies that its script keeps."""

import json
import os
import pickle

import pytest

from rethink.errors import RethinkError
from rethink.evaluation.benchmarks.core import Shown
from rethink.evaluation.benchmarks.rise import BENCHMARK, read_items, read_results
from tests.support.benchmark_miniatures import png, put, rise_entries, write_rise

EDITED, SOURCE, REFERENCE = Shown("edited"), Shown("source"), Shown("reference")


def test_each_category_has_its_questions(tmp_path):
    write_rise(tmp_path)
    prompts = BENCHMARK.read_prompts(tmp_path / "code")
    free, causal, space, maze, total = (BENCHMARK.questions(item, prompts) for item in read_items(tmp_path).items)
    assert [question.name for question in free] == ["reasoning", "plausibility"]
    assert free[0].parts == ("REASONING of Show it after a year: the tree is taller", EDITED)
    assert causal[0].parts == ("CONSISTENCY of Drop the glass", SOURCE, EDITED)
    assert causal[1].parts == ("REASONING with input of Drop the glass: the glass is broken", SOURCE, EDITED)
    assert causal[2].parts == ("PLAUSIBILITY", EDITED)
    assert space[0].parts == ("CONSISTENCY in space of Show it from above", REFERENCE, EDITED)
    assert space[1].parts == ("REASONING in space by an image of Show it from above", REFERENCE, EDITED)
    assert maze[0].parts == ("CONSISTENCY of a solution of Solve the maze", REFERENCE, EDITED)
    assert maze[1].parts == ("REASONING by an image {as it is}", REFERENCE, EDITED) and len(maze) == 2
    assert total[0].parts == ("CONSISTENCY of an answer to Write the sum: 7", SOURCE, EDITED)
    assert total[1].parts == ("REASONING by a text of Write the sum: 7", EDITED)


def test_what_is_wrong_is_said_by_item(tmp_path):
    write_rise(tmp_path)
    entries = rise_entries()
    del entries[0]["reference"], entries[2]["reference_img"], entries[4]["reference_txt"]
    entries[1]["image"] = "c/none.png"
    entries += [rise_entries()[3], {"index": "x", "category": "temporal"}, "nothing"]
    put(tmp_path / "datav2_total_w_subtask.json", json.dumps(entries))
    found = read_items(tmp_path)
    assert [item.id for item in found.items] == ["logical_4"] and found.items[0].sources[0]() == png(121)
    wrong = dict(found.problems)
    assert "“reference”" in wrong["temporal_1"] and "c/none.png is missing" in wrong["causal_2"]
    assert "“reference” or “reference_img”" in wrong["spatial_3"] and "twice" in wrong["logical_4"]
    assert set(wrong) == {"temporal_1", "causal_2", "spatial_3", "logical_5", "logical_4", "x", "item 7"}


def test_replies_of_its_own_script_are_scored(tmp_path):
    items = read_items(write_rise(tmp_path)).items
    good = "Final Score: 5"
    replies = {
        "temporal_1": {"judge1": None, "judge2": good, "judge3": good},
        "causal_2": {"judge1": good, "judge2": good, "judge3": "Failed to obtain answer via API. "},
        "logical_5": {"judge1": "Final Score: 1", "judge2": "Final Score: 0"},
    }
    put(tmp_path / "out" / "m.pkl", pickle.dumps(replies))
    results = read_results(tmp_path / "out", items)
    assert results.judged == {
        "temporal_1": {"reasoning": 5, "plausibility": 5},
        "causal_2": None,
        "logical_5": {"consistency": 5, "reasoning": 1},
    }


def test_replies_of_two_runs_are_not_mixed(tmp_path):
    for name in ("a.pkl", "b.pkl"):
        put(tmp_path / name, pickle.dumps({}))
    with pytest.raises(RethinkError, match=r"several runs \(a.pkl, b.pkl\)"):
        read_results(tmp_path, [])


class Harmful:
    def __reduce__(self):
        return os.system, ("echo harm",)


@pytest.mark.parametrize("data", [pickle.dumps({"a": Harmful()}), b"no pickle", pickle.dumps(["a"])])
def test_a_file_of_replies_that_is_more_or_less_than_that_is_refused(data, tmp_path):
    put(tmp_path / "m.pkl", data)
    with pytest.raises(RethinkError, match="results: "):
        read_results(tmp_path, [])
