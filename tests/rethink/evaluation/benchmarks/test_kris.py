"""KRIS's data, what it asks about which images, and the scores that its scripts keep."""

import json

import pytest

from rethink.errors import RethinkError
from rethink.evaluation.benchmarks.core import Shown
from rethink.evaluation.benchmarks.kris import BENCHMARK, read_items, read_results
from rethink.evaluation.benchmarks.kris_scores import CATEGORIES, CONSISTENCY, INSTRUCTION, QUALITY
from tests.support.benchmark_miniatures import put, write_kris

EDITED = Shown("edited")


def test_each_kind_has_its_questions(tmp_path):
    write_kris(tmp_path)
    prompts = BENCHMARK.read_prompts(tmp_path / "code")
    asked = {item.group: BENCHMARK.questions(item, prompts) for item in read_items(tmp_path).items}
    color = asked["color_change"]
    assert [question.name for question in color] == [CONSISTENCY, INSTRUCTION, QUALITY]
    assert color[0].parts == (
        "consistency_score of Make it red",
        "Original image:",
        Shown("source"),
        "Edited image:",
        EDITED,
    )
    assert color[2].parts == ('quality_score as {{"quality_score": 3}}', "Edited image:", EDITED)
    assert (
        asked["physics"][1].name == "dual"
        and asked["physics"][1].parts[0] == "dual of Let it fall: It lies on the floor"
    )
    assert asked["viewpoint_change"][1].parts[-1] == Shown("truth")
    assert [part.role for part in asked["multi-element_composition"][0].parts[2::2]] == ["source", "source 2", "edited"]
    frames = asked["temporal_prediction"][0].parts
    assert frames[0] == "consistency_score of frame 3, Draw frame 3"
    assert [part.role for part in frames[2::2]] == ["source", "source 2", "edited", "source 3"]


def test_what_is_wrong_is_said_by_item(tmp_path):
    write_kris(tmp_path)
    home = tmp_path / "KRIS_Bench"
    put(
        home / "color_change" / "annotation.json",
        json.dumps({"1": {"ori_img": "none.jpg", "ins_en": "x"}, "2": {}, "3": 4}),
    )
    put(home / "physics" / "annotation.json", json.dumps({"10": {"ori_img": "10.jpg", "ins_en": "x"}}))
    put(home / "biology" / "annotation.json", "[")
    found = read_items(home)
    wrong = dict(found.problems)
    assert "none.jpg is missing" in wrong["color_change/1"] and "ins_en" in wrong["color_change/2"]
    assert "explain_en" in wrong["physics/10"] and "cannot read" in wrong["biology"] and "missing" in wrong["medicine"]
    assert len(found.items) == 3 and len(wrong) == 5 + len(CATEGORIES) - 6
    with pytest.raises(RethinkError, match="annotation.json"):
        read_items(tmp_path / "code")


def test_scores_of_its_own_scripts_are_pooled(tmp_path):
    results = tmp_path / "results" / "m"
    entry = {"instruction": "x", CONSISTENCY: 5, QUALITY: 3, INSTRUCTION: None}
    put(
        results / "color_change" / "metrics.json",
        json.dumps({"1": entry, "2": {CONSISTENCY: None}, "5": {CONSISTENCY: "4"}}),
    )
    found = read_results(tmp_path / "results", read_items(write_kris(tmp_path)).items)
    summary = BENCHMARK.summarize(found.items, found.judged)
    assert summary.value("color_change", "average") == 75 and (summary.judged, summary.read, summary.missing) == (
        3,
        0,
        4,
    )
    assert "2 items" in found.notes[0]
    alone = read_results(tmp_path / "results", [])
    assert BENCHMARK.summarize(alone.items, alone.judged).figures == summary.figures


def as_one_list(folder):
    """The items of a miniature as Bagel has them: one list beside the folder of the images."""
    entries = []
    for file in sorted((folder / "KRIS_Bench").glob("*/annotation.json")):
        entries += [{"id": id, "type": file.parent.name, **entry} for id, entry in json.loads(file.read_text()).items()]
        file.unlink()
    return entries


def test_one_list_of_all_items_is_read_as_well(tmp_path):
    write_kris(tmp_path)
    expected = read_items(tmp_path).items
    entries = as_one_list(tmp_path)
    for place in (tmp_path, tmp_path / "KRIS_Bench"):
        file = place / "final_data.json"
        file.write_text(json.dumps(entries))
        for where in (tmp_path, file):
            found = read_items(where)
            assert sorted(item.id for item in found.items) == sorted(item.id for item in expected)
            by_id = {item.id: item for item in found.items}
            for item in expected:
                other = by_id[item.id]
                assert [load() for load in item.images.values()] == [load() for load in other.images.values()]
                assert item.tags == other.tags and item.instruction == other.instruction
        file.unlink()


def test_what_is_wrong_in_the_list_is_said_by_item(tmp_path):
    write_kris(tmp_path)
    entries = as_one_list(tmp_path)
    entries += [entries[0], {"id": "1", "type": "no such"}, "nothing"]
    (tmp_path / "final_data.json").write_text(json.dumps(entries))
    wrong = dict(read_items(tmp_path).problems)
    assert (
        "twice" in wrong[f"{entries[0]['type']}/{entries[0]['id']}"]
        and "not one of the 22" in wrong[f"item {len(entries)}"]
    )
    assert "no items in final_data.json" in wrong["medicine"]
    (tmp_path / "final_data.json").write_text("{}")
    with pytest.raises(RethinkError, match="is not a list of items"):
        read_items(tmp_path)
