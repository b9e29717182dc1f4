"""RISE's data, what it asks about which images, and the replies that its script keeps."""

import json
import os
import pickle
import zipfile

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


def write_sheet(file, rows):
    """An .xlsx as pandas writes one, in little."""
    names = list(dict.fromkeys(name for row in rows for name in row))

    def cell(place, value):
        if value is None:
            return ""
        if isinstance(value, float):
            return f'<c r="{place}"><v>{value}</v></c>'
        return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'

    def line(number, values):
        cells = "".join(cell(f"{chr(65 + column)}{number}", value) for column, value in enumerate(values))
        return f'<row r="{number}">{cells}</row>'

    lines = [line(1, names), *(line(n, [row.get(name) for name in names]) for n, row in enumerate(rows, 2))]
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            "xl/worksheets/sheet1.xml", f"<worksheet {space}><sheetData>{''.join(lines)}</sheetData></worksheet>"
        )


GOOD = "Final Score: 5"
ROWS = [
    {"index": "temporal_1", "category": "temporal_reasoning", "subtask": "Life Progression", "consistency_free": "True"}
    | {"judge_reas": GOOD, "judge_qua": GOOD, "Reasoning": 5.0, "VisualPlausibility": 5.0},
    {"index": "causal_2", "category": "causal_reasoning"}
    | {"ApprConsistency": 4.0, "Reasoning": 5.0, "VisualPlausibility": 5.0},
    {"index": "logical_5", "category": "logical_reasoning", "judge_cons": "Final Score: 1", "judge_reas": "no idea"},
]


def test_the_spreadsheet_of_its_own_script_is_scored_without_data(tmp_path):
    write_sheet(tmp_path / "out" / "m_judge.xlsx", ROWS)
    results = read_results(tmp_path / "out", ())
    assert results.judged == {
        "temporal_1": {"reasoning": 5, "plausibility": 5},
        "causal_2": {"consistency": 4, "reasoning": 5, "plausibility": 5},
        "logical_5": None,
    }
    summary = BENCHMARK.summarize(results.items, results.judged)
    assert summary.value(*BENCHMARK.headline) == pytest.approx(100 / 3) and summary.read == 2
    assert summary.value("Life Progression", "accuracy", "since April 2026") == 100


def test_with_data_the_spreadsheet_is_of_its_items_and_replies_go_first(tmp_path):
    items = read_items(write_rise(tmp_path)).items
    write_sheet(tmp_path / "out" / "m_judge.xlsx", [*ROWS, {"index": "gone", "category": "causal_reasoning"}])
    results = read_results(tmp_path / "out", items)
    assert results.items == tuple(items) and len(results.judged) == 3 and "1 reply was left out" in results.notes[0]
    put(tmp_path / "out" / "m.pkl", pickle.dumps({"causal_2": {"judge1": GOOD, "judge2": GOOD, "judge3": GOOD}}))
    assert list(read_results(tmp_path / "out", items).judged) == ["causal_2"]


def test_a_spreadsheet_of_something_else_is_one_sentence(tmp_path):
    write_sheet(tmp_path / "out" / "m_judge.xlsx", [{"name": "x"}])
    with pytest.raises(RethinkError, match="has no row with an “index”"):
        read_results(tmp_path / "out", ())
