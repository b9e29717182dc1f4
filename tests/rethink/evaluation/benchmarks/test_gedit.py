"""GEdit's data, and the folders that its script and EditThinker's leave."""

import csv

import pytest

from rethink.errors import RethinkError
from rethink.evaluation.benchmarks.core import Shown
from rethink.evaluation.benchmarks.gedit import BENCHMARK, COLUMNS, read_items, read_results
from tests.support.benchmark_miniatures import gedit_rows, png, put, write_gedit


def test_one_language_of_the_data(tmp_path):
    write_gedit(tmp_path)
    english, chinese = read_items(tmp_path, "en").items, read_items(tmp_path, "zh").items
    assert [item.id for item in english] == ["color_alter/en/k1", "color_alter/en/k2", "ps_human/en/k3"]
    assert [item.id for item in chinese] == ["color_alter/cn/k4"]
    assert english[0].sources[0]() == png(20) and BENCHMARK.result_names(english[0]) == (
        "fullset/color_alter/en/k1.png",
    )
    semantics, quality = BENCHMARK.questions(english[1], BENCHMARK.read_prompts(tmp_path / "code"))
    assert semantics.parts == (
        "You judge edits. Answer in JSON.\nTwo images come.\nSEMANTICS: was {this} done: Make the sky {green}",
        Shown("source"),
        Shown("edited"),
    )
    assert quality.parts[1:] == (Shown("edited"),)


def test_what_is_wrong_is_said_by_row(tmp_path):
    rows = [row | {"instruction_language": "en"} for row in gedit_rows()]
    rows[0]["key"], rows[1]["task_type"], rows[2]["instruction"] = "../k1", "recolor", " "
    found = read_items(write_gedit(tmp_path, "parquet", [*rows, rows[3]]))
    assert [item.id for item in found.items] == ["color_alter/en/k4"]
    assert [where.partition(", ")[2] for where, _ in found.problems] == ["row 0", "row 1", "row 2", "row 4"]
    assert [why.split()[1] for _, why in found.problems] == ["key", "task", "instruction", "key"]
    other = write_gedit(tmp_path / "other", "arrow", [{"key": "k", "prompt": "x"}])
    assert "it has no 'task_type'" in read_items(other).problems[0][1]
    with pytest.raises(RethinkError, match=r"data: .*no \.arrow or \.parquet"):
        read_items(tmp_path / "code")


def scored(folder, name, rows):
    lines = [
        (f"{key}_SRCIMG.png", f"/x/fullset/{task}/{lang}/{key}.png", "x", *values, shared, lang)
        for task, lang, key, values, shared in rows
    ]
    file = put(folder / f"{name}_gpt_score.csv", "")
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([COLUMNS, *lines])


def test_a_folder_of_its_own_script_is_scored_as_it_is(tmp_path):
    home = tmp_path / "results" / "m" / "gpt4o" / "eval_results_new"
    rows = [("ps_human", "en", "k3", (4, 9), "True"), ("ps_human", "cn", "k9", (1, 1), "False")]
    doubled = [("ps_human", "en", "k3", (8, 8), "True"), ("ps_human", "en", "k7", ("", 3), "False")]
    scored(home, "m_ps_human", rows + doubled)
    scored(home, "m_combined", rows)
    results = read_results(tmp_path / "results", read_items(write_gedit(tmp_path / "data")).items)
    summary = BENCHMARK.summarize(results.items, results.judged)
    assert summary.value("ps_human", "overall") == 7  # (6 + 8) / 2: a run that was killed counts an item twice
    assert (summary.judged, summary.read, summary.missing) == (3, 2, 2)
    assert "more than once" in results.notes[0]
    (home / "m_ps_human_gpt_score.csv").unlink()
    combined = read_results(tmp_path / "results", [])
    assert BENCHMARK.summarize(combined.items, combined.judged).value("ps_human", "overall") == 3.5
    put(home / "m_other_gpt_score.csv", "a,b\n1,2\n")
    with pytest.raises(RethinkError, match="no column source_image"):
        read_results(tmp_path / "results", [])
