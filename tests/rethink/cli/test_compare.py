"""`rethink compare` and `rethink vote`."""

import io
import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest
import torch

from rethink.builtin import EDITOR_FOLDER
from rethink.cli.compare import _strengths, parse_editor, serve_votes
from rethink.comparison.job import RECORD
from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from rethink.images import save_image
from tests.support.commands import run_here
from tests.support.comparisons import Brush, run
from tests.support.hosts import PACK_ROOT


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.png"
    save_image(torch.rand((1, 16, 16, 3), generator=torch.Generator().manual_seed(0)), path)
    return path


def test_editors_side_by_side(photo, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("rethink.editors.loading.load_editor", lambda path, **how: Brush(path.name))
    editors = ["--editor", "quick=built-in:steps=1", "--editor", "built-in:steps=2,negative=fog"]
    command = ["compare", photo, "-i", "make it red", "-o", tmp_path / "out", "--title", "Steps", *editors]
    code, lines, _ = run_here(capfd, *command)
    assert code == 0 and lines[0] == "Steps" and lines[2].startswith("quick ")
    record = json.loads((tmp_path / "out" / RECORD).read_text(encoding="utf-8"))
    assert [each["name"] for each in record["variants"]] == ["quick", "built-in (steps=2, negative=fog)"]
    assert record["variants"][1]["record"]["settings"]["negative"] == "fog"


def test_an_editor_in_one_word(tmp_path):
    plain = Settings(steps=9)
    assert parse_editor("built-in", plain).path == EDITOR_FOLDER
    (tmp_path / "a=b").mkdir()
    assert parse_editor(str(tmp_path / "a=b"), plain).name == "a=b", "a folder that is there"
    found = parse_editor("fast=C:/models/x:steps=4,text_guidance=2.5", plain)
    assert (found.name, str(found.path), found.settings) == ("fast", "C:/models/x", Settings(4, text_guidance=2.5))
    assert parse_editor("C:/models/x", plain).settings == plain


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--editor", "built-in"], "editors: a comparison takes two or more, got only “built-in”"),
        ([], "--editor: give at least one"),
        (["--editor", "far=http://127.0.0.1:9/v1:steps=4"], "--editor: http://127.0.0.1:9/v1 is a server"),
        (["--editor", "built-in", "--editor", "built-in"], "two are called “built-in”"),
        (["--editor", "built-in:stepz=4"], "sets “stepz”; the settings are image_guidance"),
        (["--editor", "built-in:steps=many"], "steps takes a number, got “many”"),
        (["--editor", "built-in", "--strengths", "0.5,x"], "--strengths: expected numbers"),
        (["--editor", "built-in", "--strengths", "0.5"], "strengths: there is no LoRA"),
        (["--editor", "gone", "--editor", "built-in"], "gone cannot be read"),
        (["--editor", "built-in", "--checkpoints", "gone"], "has no training.json"),
        (["--editor", "a=built-in", "--tasks", "x.jsonl"], "got images and --tasks"),
        (["--editor", "a=built-in", "--editor", "b=built-in:steps=2", "--limit", "-1"], "--limit: expected 0 or more"),
    ],
)
def test_wrong_use_is_one_sentence(photo, capfd, tmp_path, arguments, why):
    code, _, errors = run_here(capfd, "compare", photo, "-i", "make it red", "-o", tmp_path / "out", *arguments)
    assert code == 2 and why in errors[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_cannot_be_is_said_before_any_work(capfd, tmp_path, port):
    with pytest.raises(SystemExit):
        run_here(capfd, "vote", tmp_path, f"--port={port}")
    assert f"--port: expected 0 to 65535, got {port}" in capfd.readouterr().err


def test_a_strength_that_is_there_twice_counts_once():
    assert _strengths("0.5, 1 1.0,0.5") == (0.5, 1.0)


def test_a_setting_that_does_not_exist_is_no_path():
    with pytest.raises(RethinkError, match="the settings are"):
        parse_editor("built-in:size=3", Settings())


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent there")
def test_a_vote_is_served_until_it_is_ended(tmp_path):
    run(tmp_path)
    command = [sys.executable, "-m", "rethink", "vote", str(tmp_path)]
    with subprocess.Popen(command, cwd=PACK_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().split()[2]
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address) as reply:
                assert b"</script>" in reply.read()
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert rest.strip() == "No votes yet." and process.returncode == 0


def test_a_vote_that_is_ended_in_the_moment_in_which_it_begins_ends_as_any_other(tmp_path, monkeypatch):
    class InterruptedOnce(io.StringIO):
        interrupts = iter([KeyboardInterrupt])

        def flush(self):
            for interrupt in self.interrupts:
                raise interrupt

    run(tmp_path)
    monkeypatch.setattr(sys, "stdout", InterruptedOnce())
    assert serve_votes(tmp_path, 0) == 0 and sys.stdout.getvalue().endswith("\nNo votes yet.\n")
