"""What is exported, and what a store says of itself."""

import pytest

from rethink.errors import RethinkError
from rethink.pairs.exporting import describe_store, export
from rethink.pairs.store import EditPair, PairStore


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
