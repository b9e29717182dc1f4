"""SimpleTuner's data backends."""

import json


def test_the_backends_name_the_folders_where_they_now_are(exported):
    folder = exported["simpletuner"]
    target, control, texts = json.loads((folder / "multidatabackend.json").read_text(encoding="utf-8"))
    assert target["instance_data_dir"] == str(folder / "target")
    assert target["conditioning_data"] == [control["id"]] and control["instance_data_dir"] == str(folder / "control")
    assert texts["dataset_type"] == "text_embeds"
