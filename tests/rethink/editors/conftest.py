"""Stable Diffusion in miniature: a folder of each family that our own loop samples."""

import shutil
from pathlib import Path

import pytest

from tests.support import miniatures

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
