"""musubi-tuner's config."""

import pytest

from rethink.pairs.exporting import export
from rethink.pairs.importing import import_dataset
from rethink.pairs.store import PairStore
from tests.support.datasets import encode_image, write_control_folders, write_file
from tests.support.lora_training import write_pairs
from tests.support.pairs import draw_image


def test_the_config_names_the_folders_where_they_now_are(exported):
    tomllib, folder = pytest.importorskip("tomllib"), exported["musubi-tuner"]
    (entry,) = tomllib.loads((folder / "dataset.toml").read_text(encoding="utf-8"))["datasets"]
    assert entry["image_directory"] == str(folder / "target") and entry["control_directory"] == str(folder / "control")


def test_references_are_numbered_beside_their_input(tmp_path):
    export(write_pairs(tmp_path / "s", 2, references=(2, 0)), "musubi-tuner", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out/control").iterdir())
    assert names == ["00000000.png", "00000000_1.png", "00000000_2.png", "00000001.png"]


def test_numbered_controls_are_read_by_the_trainers_own_rule(tmp_path):
    """Longest name first: `a_1` is the control of the target `a_1`, else the second one of `a`; numbers are no text."""
    data = write_control_folders(tmp_path / "d", "a", "a_1", "b", "c")
    for name, seed in {"a_2": 7, "b_10": 9, "b_9": 8, "c_0": 3, "c_1": 4, "lonely_1": 1}.items():
        write_file(data / f"control/{name}.png", encode_image(seed))
    (data / "control/c.png").unlink()
    why = {}
    with PairStore(tmp_path / "store").writing() as store:
        import_dataset(store, "musubi-tuner", data, why.__setitem__)
    found = {
        pair.source: [store.read_image(path).tobytes() for path in (pair.input, *pair.references)] for pair in store
    }
    seeds = {"a": [1, 7], "a_1": [1], "b": [1, 8, 9], "c": [3, 4]}
    assert found == {f"target/{n}.png": [draw_image(24, 32, s).tobytes() for s in many] for n, many in seeds.items()}
    assert why == {"control/lonely_1.png": "target has no image of this name"}
