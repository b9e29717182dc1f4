"""ImgEdit's data, and the folders that its scripts leave."""

import json

import pytest

from rethink.errors import RethinkError
from rethink.evaluation.benchmarks.imgedit import BENCHMARK, read_items, read_results
from tests.support.benchmark_miniatures import png, put, write_imgedit


def test_items_with_their_images(tmp_path):
    write_imgedit(tmp_path)
    items = read_items(tmp_path).items
    assert [(item.id, item.group) for item in items] == [("1", "add"), ("2", "remove"), ("3", "style")]
    assert items[0].sources[0]() == png(30)
    (question,) = BENCHMARK.questions(items[0], BENCHMARK.read_prompts(tmp_path / "code"))
    assert question.parts[0] == "SCORE add: Add a hat"
    assert BENCHMARK.result_names(items[0]) == ("1.png", "gen_image/1.png")


def test_what_is_wrong_is_said_by_item(tmp_path):
    put(tmp_path / "a.png", png())
    entries = {
        "good": {"id": "a.png", "prompt": "x", "edit_type": "add"},
        "outside": {"id": "../a.png", "prompt": "x", "edit_type": "add"},
        "missing": {"id": "b.png", "prompt": "x", "edit_type": "add"},
        "typed": {"id": "a.png", "prompt": "x", "edit_type": "enlarge"},
        "poor": {"id": "a.png", "prompt": "x"},
        "empty": {"id": "a.png", "prompt": " ", "edit_type": "add"},
    }
    found = read_items(put(tmp_path / "basic_edit.json", json.dumps(entries)))
    assert [item.id for item in found.items] == ["good"]
    assert [where for where, _ in found.problems] == ["outside", "missing", "typed", "poor", "empty"]
    with pytest.raises(RethinkError, match="not a list of edits"):
        read_items(put(tmp_path / "list.json", "[]"))
    with pytest.raises(RethinkError, match="Benchmark.tar"):
        read_items(tmp_path / "nowhere")


def test_replies_of_its_own_script_are_scored(tmp_path):
    items = read_items(write_imgedit(tmp_path)).items
    replies = {"1": "A: 4\nB: 3", "2": {"error": "timed out"}, "99": "A: 4"}
    put(tmp_path / "results" / "gen_image" / "result.json", json.dumps(replies))
    results = read_results(tmp_path / "results", items)
    assert results.judged == {"1": {"score": 3.5}, "2": None} and "1 reply was left out" in results.notes[0]
    put(tmp_path / "results" / "result.json", "[]")
    with pytest.raises(RethinkError, match="no replies by key"):
        read_results(tmp_path / "results", items)


def test_items_and_replies_in_lines(tmp_path):
    (file,) = [*write_imgedit(tmp_path).glob("**/basic_edit.json"), *tmp_path.glob("**/singleturn.json")]
    entries, expected = json.loads(file.read_text()), read_items(tmp_path).items
    file.unlink()
    for lines in ([{key: entry} for key, entry in entries.items()], [{"key": k, **e} for k, e in entries.items()]):
        put(file.with_suffix(".jsonl"), "\n".join(map(json.dumps, lines)))
        assert [item.id for item in read_items(tmp_path).items] == [item.id for item in expected]
    put(
        tmp_path / "out" / "result.jsonl",
        '{"1": "A: 2"}\n{"key": "2", "reply": "A: 3"}\n{"key": "1", "result": "A: 4"}\n',
    )
    found = read_results(tmp_path / "out", expected)
    assert found.judged == {"1": {"score": 4.0}, "2": {"score": 3.0}}, "the last line counts"
    put(tmp_path / "out" / "result.json", '{"1": "A: 5"}')
    assert read_results(tmp_path / "out", expected).judged == {"1": {"score": 5.0}}
    put(tmp_path / "lines" / "result.jsonl", '{"reply": "A: 5", "other": 1}\n')
    with pytest.raises(RethinkError, match="^results: line 1 of .* has no “key”"):
        read_results(tmp_path / "lines", expected)
