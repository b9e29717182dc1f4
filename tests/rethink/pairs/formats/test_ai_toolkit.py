"""The part of ai-toolkit's config."""

import pytest

from rethink.pairs.exporting import export
from tests.support.lora_training import write_pairs


def test_the_config_names_the_folders_where_they_now_are(exported):
    yaml, folder = pytest.importorskip("yaml"), exported["ai-toolkit"]
    (entry,) = yaml.safe_load((folder / "dataset.yaml").read_text(encoding="utf-8"))
    assert entry["folder_path"] == str(folder / "target") and entry["control_path"] == str(folder / "control")


def test_references_are_further_folders_of_controls(tmp_path):
    yaml, folder = pytest.importorskip("yaml"), tmp_path / "out"
    export(write_pairs(tmp_path / "s", 3, references=(0, 2, 1)), "ai-toolkit", folder)
    (entry,) = yaml.safe_load((folder / "dataset.yaml").read_text(encoding="utf-8"))
    assert entry["control_path"] == [str(folder / name) for name in ("control", "control-2", "control-3")]
    assert [len(list((folder / name).iterdir())) for name in ("target", "control-2", "control-3")] == [6, 2, 1]
