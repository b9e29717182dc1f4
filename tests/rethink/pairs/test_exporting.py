"""What is exported, and what a store says of itself."""

import pytest

from rethink.errors import RethinkError
from rethink.pairs.exporting import describe_references, describe_store, export
from rethink.pairs.store import EditPair, PairStore
from tests.support.lora_training import write_pairs


def test_the_store_describes_itself(store):
    describe_store(store)
    assert "2 edit pairs" in (store.folder / "README.md").read_text(encoding="utf-8")


def test_an_export_of_nothing_or_of_missing_pictures_is_refused(tmp_path):
    with PairStore(tmp_path / "s").writing() as store:
        store.manifest.append()
        with pytest.raises(RethinkError, match="no accepted pair"):
            export(store, "imagefolder", tmp_path / "out")
        store.add(EditPair("1" * 16, "images/11/a.png", "images/11/b.png", "x"))
        with pytest.raises(RethinkError, match="missing"):
            export(store, "imagefolder", tmp_path / "out")


def test_pairs_with_references_are_left_out_where_there_is_no_place_for_them_and_that_is_said(tmp_path):
    store = write_pairs(tmp_path / "s", 5, references=(0, 1))
    assert export(store, "instruct-pix2pix", tmp_path / "out") == 3
    said = describe_references(store, "instruct-pix2pix")
    assert said.startswith("2 pairs with references are left out") and "musubi-tuner" in said
    readme = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert said in readme and "3 edit pairs" in readme
    assert describe_references(store, "fal-zip").startswith("References of 2 pairs: `ROOT_start2.png`")
    assert describe_references(write_pairs(tmp_path / "plain", 2), "instruct-pix2pix") == ""


def test_an_export_in_which_no_pair_has_a_place_is_refused_with_the_reason(tmp_path):
    store = write_pairs(tmp_path / "s", 2, references=(1,))
    with pytest.raises(RethinkError, match="export: 2 pairs with references are left out"):
        export(store, "instruct-pix2pix", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_reference_that_is_missing_is_named_before_anything_is_written(tmp_path):
    store = write_pairs(tmp_path / "s", 2, references=(2,))
    lost = next(iter(store)).references[1]
    (store.folder / lost).unlink()
    with pytest.raises(RethinkError, match=f"{lost} of pair .* is missing"):
        export(store, "imagefolder", tmp_path / "out")
