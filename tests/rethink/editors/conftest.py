"""Miniatures: a folder of each family that our own loop samples, and an editor of every kind that is loaded once."""

import shutil
from functools import cache
from pathlib import Path

import pytest

from tests.support import editor_miniatures, miniatures

KINDS = {"instruct_pix2pix": miniatures.INSTRUCT, "sdedit": miniatures.PLAIN}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folders to read: family → diffusers folder."""
    root = tmp_path_factory.mktemp("editors")
    return {kind: miniatures.write_folder(root / kind, name) for kind, name in KINDS.items()}


@pytest.fixture(scope="session")
def tokenizer(folders):
    return folders["sdedit"] / "tokenizer"


@pytest.fixture
def folder(folders, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(folders["instruct_pix2pix"], tmp_path / "editor"))


@pytest.fixture(scope="session")
def kinds_root(tmp_path_factory):
    """The folder in which `editor_miniatures.opened` makes its miniatures, each when it is first asked for."""
    return tmp_path_factory.mktemp("kinds")


@pytest.fixture(scope="session")
def editor_of(kinds_root):
    """editor_of(kind) → the editor of a miniature, loaded once for all tests, that remembers nothing yet."""
    loaded = cache(lambda kind: editor_miniatures.opened_or_skipped(kind, kinds_root))
    return lambda kind: editor_miniatures.forgetful(loaded(kind))
