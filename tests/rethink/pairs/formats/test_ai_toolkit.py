"""The part of ai-toolkit's config."""

import pytest


def test_the_config_names_the_folders_where_they_now_are(exported):
    yaml, folder = pytest.importorskip("yaml"), exported["ai-toolkit"]
    (entry,) = yaml.safe_load((folder / "dataset.yaml").read_text(encoding="utf-8"))
    assert entry["folder_path"] == str(folder / "target") and entry["control_path"] == str(folder / "control")
