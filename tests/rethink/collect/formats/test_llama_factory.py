"""LLaMA-Factory's loader: as many placeholders as images, tags that `dataset_info.json` names, files under media_dir."""

import json

from rethink.collect.formats.llama_factory import write_llama_factory


def test_rows_are_what_its_converter_expects(rows, tmp_path):
    name = write_llama_factory("sft", rows, tmp_path)
    (info,) = json.loads((tmp_path / "dataset_info.json").read_text(encoding="utf-8")).values()
    assert info["file_name"] == name and info["formatting"] == "sharegpt"
    tags, columns = info["tags"], info["columns"]
    for line in (tmp_path / name).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        messages, images = record[columns["messages"]], record[columns["images"]]
        assert [message[tags["role_tag"]] for message in messages] == [tags["user_tag"], tags["assistant_tag"]]
        text = "".join(message[tags["content_tag"]] for message in messages)
        assert text.count("<image>") == len(images) == 2 and "make it < image> … ü" in text
        assert all((tmp_path / image).is_file() for image in images)
