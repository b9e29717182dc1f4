"""EasyR1's loader: `<image>` for every image, and an answer from which a reward is worked out."""

import json

from rethink.collect.formats.easyr1 import write_easyr1


def test_an_answer_is_json_that_holds_the_task(rows, tmp_path):
    text = (tmp_path / write_easyr1("rl", rows, tmp_path)).read_text(encoding="utf-8")
    first, _ = map(json.loads, text.splitlines())
    assert first["prompt"].count("<image>") == len(first["images"]) == 2
    assert all((tmp_path / name).is_file() for name in first["images"])
    task = json.loads(first["answer"])
    assert task["instruction"] == "make it <image> … ü" and (task["semantic"], task["prompt"]) == (2, "prompt 0")
    assert [task["source"], task["edited"]] == first["images"]
