"""musubi-tuner's config."""

import pytest


def test_the_config_names_the_folders_where_they_now_are(exported):
    tomllib, folder = pytest.importorskip("tomllib"), exported["musubi-tuner"]
    (entry,) = tomllib.loads((folder / "dataset.toml").read_text(encoding="utf-8"))["datasets"]
    assert entry["image_directory"] == str(folder / "target") and entry["control_directory"] == str(folder / "control")
