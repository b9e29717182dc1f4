"""A user's own files in a folder of ours."""

import os

import numpy as np
import pytest

from rethink.pairs.exporting import describe_store
from rethink.pairs.store import EditPair, PairStore


class Killed(BaseException):
    pass


@pytest.mark.parametrize("name", ["README.md", "contact-sheet.jpg"])
def test_a_users_readme_and_sheet_in_the_folder_of_a_store_stay(tmp_path, name, caplog):
    (tmp_path / name).write_bytes(b"mine")
    with PairStore(tmp_path).writing() as store:
        store.write_image("images/00/a.png", np.zeros((8, 8, 3), np.uint8))
        store.add(EditPair("1" * 16, "images/00/a.png", "images/00/a.png", "x"))
    describe_store(store)
    assert (tmp_path / name).read_bytes() == b"mine" and name in caplog.text
    other = {"README.md", "contact-sheet.jpg"} - {name}
    assert (tmp_path / other.pop()).exists()


def test_a_stores_readme_is_brought_along_until_somebody_writes_in_it(tmp_path):
    with PairStore(tmp_path).writing() as store:
        for number in (1, 2):
            store.add(EditPair(f"{number:016x}", "images/00/a.png", "images/00/a.png", "x"))
            describe_store(store)
    readme = tmp_path / "README.md"
    assert "2 edit pairs" in readme.read_text()
    readme.write_text(readme.read_text() + "My notes.")
    describe_store(store)
    assert readme.read_text().endswith("My notes.")


def test_a_kill_while_a_readme_is_brought_along_leaves_it_ours(tmp_path, monkeypatch):
    with PairStore(tmp_path).writing() as store:
        store.add(EditPair("1" * 16, "images/00/a.png", "images/00/a.png", "x"))
    describe_store(store)
    real, left = os.replace, [0]

    def dying(*arguments):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real(*arguments)

    for moment in range(4):  # the list, both files, the list
        left[0] = moment
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", dying)
            with pytest.raises(Killed):
                describe_store(store)
        with store.writing():
            store.add(EditPair(f"{moment + 2:016x}", "images/00/a.png", "images/00/a.png", "x"))
        describe_store(store)
        assert f"{moment + 2} edit pairs" in (tmp_path / "README.md").read_text()
