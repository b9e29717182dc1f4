"""A miniature editor and thinker, an image to edit, and commands without a process of their own."""

import subprocess

import pytest
import torch

from rethink.cli.main import main
from rethink.images import save_image
from tests.support.miniature_thinkers import write_thinker
from tests.support.miniatures import INSTRUCT, write_folder


@pytest.fixture(scope="package")
def editor(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "editor", INSTRUCT)


@pytest.fixture(scope="package")
def thinker(tmp_path_factory):
    return write_thinker(tmp_path_factory.mktemp("models") / "thinker")


@pytest.fixture
def photo(tmp_path):
    save_image(torch.rand(1, 50, 70, 3), tmp_path / "my photo.png")
    return tmp_path / "my photo.png"


@pytest.fixture
def rethink(capfd):
    """rethink(*arguments): what `run_process` returns, without the seconds that a process takes to load torch."""

    def run(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run
