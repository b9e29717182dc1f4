"""The command line, run as its user runs it."""

import subprocess
import sys

import pytest
import torch

from rethink.images import load_image, save_image
from tests.hosts import PACK_ROOT
from tests.miniatures import write_folder


def rethink(*arguments):
    command = [sys.executable, "-m", "rethink", *map(str, arguments)]
    return subprocess.run(command, cwd=PACK_ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "editor", "StableDiffusionInstructPix2PixPipeline")


@pytest.fixture
def photo(tmp_path):
    save_image(torch.rand(1, 50, 70, 3), tmp_path / "my photo.png")
    return tmp_path / "my photo.png"


def test_help_teaches():
    told = rethink("edit", "--help")
    assert told.returncode == 0 and "examples:" in told.stdout and "exit codes" in told.stdout


def test_edits_a_file_at_its_own_size(editor, photo):
    ran = rethink("edit", photo, "make it red", "--editor", editor, "--steps", 2)
    assert ran.returncode == 0, ran.stderr
    assert load_image(photo.with_name("my photo-edited.png")).shape == (1, 50, 70, 3)


def test_variations_and_chains_number_their_files(editor, photo, tmp_path):
    out = tmp_path / "out.png"
    assert rethink("edit", photo, "a", "--editor", editor, "--steps", 1, "--variations", 3, "-o", out).returncode == 0
    assert sorted(p.name for p in tmp_path.glob("out-*.png")) == ["out-1.png", "out-2.png", "out-3.png"]
    chain = tmp_path / "chain.png"
    assert rethink("edit", photo, "a", "b", "--chain", "--editor", editor, "--steps", 1, "-o", chain).returncode == 0
    assert len(list(tmp_path.glob("chain-*.png"))) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.png", "make it red"], "missing.png"),
        (["PHOTO", ""], "nstruction"),
        (["PHOTO", "a", "b"], "--chain"),
        (["PHOTO", "a", "--editor", "no/such/folder"], "folder"),
        (["PHOTO", "a", "--variations", "0"], "--variations"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_2(arguments, said, editor, photo):
    arguments = [photo if a == "PHOTO" else a for a in arguments]
    if "--editor" not in arguments:
        arguments += ["--editor", editor]
    ran = rethink("edit", *arguments)
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert said in ran.stderr


def test_the_demo_edits_well_and_shows_it(tmp_path):
    ran = rethink("demo", "-o", tmp_path / "demo.png")
    assert ran.returncode == 0, ran.stderr
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert sum(line[:1] == ["done"] for line in lines) >= 4, ran.stdout  # of six
    height, width = load_image(tmp_path / "demo.png").shape[1:3]
    assert height > 1500 and width > 900
