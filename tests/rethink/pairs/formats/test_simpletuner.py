"""SimpleTuner's data backends."""

import json
from pathlib import Path

from rethink.pairs.exporting import export
from tests.support.lora_training import write_pairs


def test_the_backends_name_the_folders_where_they_now_are(exported):
    folder = exported["simpletuner"]
    target, control, texts = json.loads((folder / "multidatabackend.json").read_text(encoding="utf-8"))
    assert target["instance_data_dir"] == str(folder / "target")
    assert target["conditioning_data"] == [control["id"]] and control["instance_data_dir"] == str(folder / "control")
    assert texts["dataset_type"] == "text_embeds"


def test_pairs_with_as_many_references_are_a_data_set_of_their_own(tmp_path):
    folder = tmp_path / "out"
    export(write_pairs(tmp_path / "s", 6, references=(0, 2, 1)), "simpletuner", folder)
    *backends, _ = json.loads((folder / "multidatabackend.json").read_text(encoding="utf-8"))
    places = {each["id"]: Path(each["instance_data_dir"]) for each in backends}
    edited = {each["id"]: each["conditioning_data"] for each in backends if "conditioning_data" in each}
    assert [len(sources) for sources in edited.values()] == [1, 2, 3] and len(places) == 9
    for target, sources in edited.items():
        names = {path.name for path in places[target].glob("*.png")}
        assert len(names) == 2
        assert all({path.name for path in places[source].iterdir()} == names for source in sources)
    kinds = {each["id"]: each.get("conditioning_type") for each in backends}
    assert kinds["source-references-2"] == "reference_strict" and kinds["source-3-references-2"] == "reference_loose"


def test_a_store_in_which_all_have_references_has_no_folders_without(tmp_path):
    export(write_pairs(tmp_path / "s", 2, references=(1,)), "simpletuner", tmp_path / "out")
    assert not (tmp_path / "out/target").exists() and (tmp_path / "out/references-1/control-2").is_dir()
