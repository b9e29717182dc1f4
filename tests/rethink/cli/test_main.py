"""What holds for every command: help, exit codes, where nothing can be written, Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import torch

from rethink.images import save_image
from tests.support.commands import run_here, run_process
from tests.support.hosts import PACK_ROOT
from tests.support.servers import completion, openai_server
from tests.support.waiting import LATE, SOON, wait_until


def test_help_teaches(rethink, capfd):
    with pytest.raises(SystemExit) as ended:
        rethink("edit", "--help")
    help_page = capfd.readouterr().out
    assert ended.value.code == 0 and "examples:" in help_page and "exit codes" in help_page


def test_it_runs_where_python_looks_into_no_folder_of_its_own_accord(tmp_path):
    """As that of a portable ComfyUI, which is isolated."""
    command = [sys.executable, "-I", PACK_ROOT / "rethink", "think", "--help"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0 and "examples:" in ran.stdout, ran.stderr


def test_where_nothing_can_be_written_is_said_before_anything_is_loaded(photo, tmp_path, capfd):
    """The editor is not even looked for: what is wrong with it is not said."""
    busy = tmp_path / "busy"
    busy.mkdir()
    (busy / "a.txt").write_text("")
    mask = tmp_path / "empty.png"
    save_image(torch.zeros(1, 5, 7, 3), mask)
    for command, options, why in (
        ("edit", ["-o", tmp_path], "a folder"),
        ("edit", ["-o", ".", "--variations", 2], "a folder"),
        ("edit", ["-o", "out.xyz"], "extension"),
        ("edit", ["-o", photo / "out.png"], "cannot be written"),
        ("edit", ["--mask", mask], "--mask: is empty"),
        ("edit", ["--variations", 2, "-o", busy / "x.psd"], "extension"),
        ("think", ["-o", busy], "not empty"),
        ("think", ["-o", photo], "is a file"),
        ("think", ["-o", photo / "run.html"], "cannot be written"),
        ("think", ["--mask", mask], "--mask: is empty"),
    ):
        code, _, (complaint,) = run_here(capfd, command, photo, "make it red", "--editor", "no/such/folder", *options)
        assert code == 2 and why in complaint, complaint
    for command in (["demo", "-o", tmp_path], ["caption-edits", photo, tmp_path, "--thinker", "no/such/folder"]):
        code, _, (complaint,) = run_here(capfd, *command)
        assert code == 2 and "is a folder" in complaint, complaint


def test_the_demo_thinks_and_shows_it(rethink, tmp_path):
    page = tmp_path / "my demo.html"
    ran = rethink("demo", "-o", page)
    assert ran.returncode == 0, ran.stderr
    *turns, verdict, link = ran.stdout.splitlines()
    assert [turn[:6] for turn in turns] == [f"turn {n}" for n in range(1, len(turns) + 1)] and len(turns) > 1
    assert verdict == "The oracle says: done, and the rest was kept."
    assert link.endswith(page.as_uri()) and page.read_text(encoding="utf-8").count("data:image/png") == 1 + len(turns)


def test_what_is_said_beside_the_result_is_sentences(photo, tmp_path):
    """Neither the libraries' bars while they load, nor places in the code."""
    ran = run_process(
        "edit", photo, "make it red, " * 20, "--editor", "built-in", "--steps", 1, "-o", tmp_path / "red.png"
    )
    *said, seconds = ran.stderr.splitlines()
    assert ran.returncode == 0 and "reads the first 30" in said[-1] and seconds.endswith(" s"), ran.stderr
    assert all(line.startswith("rethink: ") for line in said), ran.stderr


@pytest.fixture
def hanging():
    """A server that answers too late; `asked` once it was asked."""
    over = threading.Event()
    with openai_server() as running:
        running.asked = threading.Event()
        running.replies = [lambda body: running.asked.set() or (over.wait(LATE) and (200, completion("late"), {}))]
        yield running
        over.set()


@pytest.mark.skipif(os.name == "nt", reason="its Ctrl-C goes to the tests too")
@pytest.mark.parametrize("command", ["think", "caption-edits", "synthesize --find star --workers 2"])
def test_ctrl_c_does_not_wait_for_a_server(hanging, photo, editor, tmp_path, command):
    (tmp_path / "captions.txt").write_text("a dog\n" * 20)
    command, *more = command.split()
    inputs = {
        "think": [photo, "make it red", "--editor", editor, "--steps", 1],
        "caption-edits": [tmp_path / "captions.txt", tmp_path / "edits.jsonl", "--workers", 1],
        "synthesize": [photo.parent, tmp_path / "pairs", "--workers", 1],
    }[command]
    arguments = [command, *map(str, inputs), *more, "--thinker", hanging.url, "--model", "m"]
    running = subprocess.Popen(
        [sys.executable, "-m", "rethink", *arguments], cwd=PACK_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait_until(lambda: hanging.asked.is_set() or running.poll() is not None)
        running.send_signal(signal.SIGINT)
        told, _ = running.communicate(timeout=SOON)
    finally:
        running.kill()
    assert hanging.asked.is_set() and running.returncode == 130 and b"interrupted" in told, told
