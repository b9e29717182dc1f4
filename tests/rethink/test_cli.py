"""The command line, run as its user runs it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from rethink.builtin import EDITOR_FOLDER
from rethink.cli.main import main
from rethink.images import load_image, save_image
from rethink.tiny import render, sample_task
from rethink.trajectory import load_trajectory, writing
from tests.support.hosts import PACK_ROOT
from tests.support.miniature_thinkers import write_thinker
from tests.support.miniatures import write_folder
from tests.support.servers import completion, openai_server


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


def test_an_image_holds_what_the_ending_says_in_a_folder_that_is_made(editor, photo, tmp_path):
    out = tmp_path / "new" / "folder" / "out.jpg"
    ran = rethink("edit", photo, "make it red", "--editor", editor, "--steps", 1, "-o", out)
    assert ran.returncode == 0 and Image.open(out).format == "JPEG"


def test_where_nothing_can_be_written_is_said_before_anything_is_loaded(photo, tmp_path, capsys):
    """The editor is not even looked for: what is wrong with it is not said."""
    busy = tmp_path / "busy"
    busy.mkdir()
    (busy / "a.txt").write_text("")
    mask = tmp_path / "empty.png"
    save_image(torch.zeros(1, 5, 7, 3), mask)
    for command, options, why in (
        ("edit", ["-o", tmp_path], "a folder"),
        ("edit", ["-o", ".", "--variations", 2], "a folder"),
        ("edit", ["-o", "out.xyz"], "ending"),
        ("edit", ["-o", photo / "out.png"], "cannot be written"),
        ("edit", ["--mask", mask], "--mask: is empty"),
        ("edit", ["--variations", 2, "-o", busy / "x.psd"], "ending"),
        ("think", ["-o", busy], "not empty"),
        ("think", ["-o", photo], "is a file"),
        ("think", ["-o", photo / "run.html"], "cannot be written"),
        ("think", ["--mask", mask], "--mask: is empty"),
    ):
        code, complaint = main_says(capsys, command, photo, "make it red", "--editor", "no/such/folder", *options)
        assert code == 2 and why in complaint, complaint
    for command in (["demo", "-o", tmp_path], ["caption-edits", photo, tmp_path, "--thinker", "no/such/folder"]):
        code, complaint = main_says(capsys, *command)
        assert code == 2 and "is a folder" in complaint, complaint


def main_says(capsys, *arguments):
    """(exit code, what the error stream says) of a command in this process."""
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr().err


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


def test_the_demo_thinks_and_shows_it(tmp_path):
    page = tmp_path / "my demo.html"
    ran = rethink("demo", "-o", page)
    assert ran.returncode == 0, ran.stderr
    *turns, verdict, link = ran.stdout.splitlines()
    assert [turn[:6] for turn in turns] == [f"turn {n}" for n in range(1, len(turns) + 1)] and len(turns) > 1
    assert verdict == "The oracle says: done, and all else kept."
    assert link.endswith(page.as_uri()) and page.read_text(encoding="utf-8").count("data:image/png") == 1 + len(turns)


@pytest.fixture(scope="module")
def thinker(tmp_path_factory):
    return write_thinker(tmp_path_factory.mktemp("models") / "thinker")


def test_thinks_and_goes_on_where_it_was_cut_off(editor, thinker, photo):
    how = ["think", photo, "make it red", "--editor", editor, "--thinker", thinker, "--steps", 2, "--max-tokens", 8]
    ran = rethink(*how, "--turns", 2)
    assert ran.returncode == 0, ran.stderr
    turns = ran.stdout.splitlines()
    assert [line[:6] for line in turns[:2]] == ["turn 1", "turn 2"] and "no score" in turns[0]
    best = photo.with_name("my photo-thinking") / "turn-0001-00.png"
    assert turns[2] == str(best) and load_image(best).shape == (1, 50, 70, 3)
    assert "the result was not judged" in ran.stderr
    assert load_trajectory(best.parent).stopped == "turns"

    again = rethink(*how, "--turns", 2)
    assert again.returncode == 2 and "is not empty" in again.stderr  # nothing is written over
    page = best.parent.with_suffix(".html")
    more = rethink(*how, "--turns", 3, "--resume", "-o", page)
    assert more.returncode == 0 and [line[:6] for line in more.stdout.splitlines()[:-2]] == ["turn 3"]
    assert more.stdout.splitlines()[-1] == str(page) and "data:image/png;base64," in page.read_text(encoding="utf-8")
    other = rethink(*how, "--turns", 3, "--resume", "--seed", 9)
    assert other.returncode == 2 and "another choice of rules" in other.stderr


def test_a_thinker_that_cannot_be_reached_leaves_the_edit_and_no_result(editor, photo):
    how = ["think", photo, "make it red", "--editor", editor, "--steps", 2, "--model", "m"]
    with openai_server() as critic:
        critic.replies = [(400, "it is gone", {})]
        ran = rethink(*how, "--thinker", critic.url, "-o", photo.with_name("run"))
    folder = photo.with_name("run")
    assert ran.returncode == 1 and f"No edit was judged; what was made is kept in {folder}." in ran.stderr
    assert (folder / "turn-0001-00.png").is_file()
    assert [line[:6] for line in ran.stdout.splitlines()] == ["turn 1"], "no path that a program takes for a result"


def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(editor, photo):
    ran = rethink(
        "think",
        photo,
        "make it red",
        "--editor",
        editor,
        "--steps",
        2,
        "--thinker",
        "http://127.0.0.1:9/v1",
        "--model",
        "m",
        "--key-variable",
        "sk-planted-0123",
        "-o",
        photo.with_name("run"),
    )
    assert ran.returncode == 2 and "key_variable: give the NAME" in ran.stderr and "planted" not in ran.stderr


# A disk that fails, and two at one run


@pytest.fixture
def how(editor, thinker, photo):
    how = ["think", photo, "make it red", "--editor", editor, "--thinker", thinker, "--steps", 1, "--max-tokens", 8]
    return [str(each) for each in how]


@pytest.fixture
def run_here(capfd):
    """Runs a command in this process: (exit code, its lines, the lines that say what is wrong)."""

    def run_here(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out.splitlines(), [line for line in err.splitlines() if line.startswith("rethink: ")]

    return run_here


def test_a_folder_that_cannot_be_is_one_sentence(how, photo, run_here):
    code, _, (sentence,) = run_here(*how, "--turns", 1, "-o", photo / "run")
    assert code == 2 and "cannot be written" in sentence and "Not a directory" in sentence


def test_a_folder_that_is_taken_away_ends_the_run_in_one_sentence(how, photo, run_here, monkeypatch):
    folder = photo.with_name("my photo-thinking")
    monkeypatch.setattr(main.__module__ + "._tell", lambda trajectory: shutil.rmtree(folder, ignore_errors=True))
    code, lines, (sentence, *_) = run_here(*how, "--turns", 9)
    assert code == 1 and not lines and "cannot be written (it is gone)" in sentence


def test_a_run_is_gone_on_with_by_one_at_a_time(how, photo, run_here):
    folder = photo.with_name("my photo-thinking")
    assert run_here(*how, "--turns", 1)[0] == 0
    before = (folder / "trajectory.json").read_bytes()
    with writing(folder):
        code, _, (sentence,) = run_here(*how, "--turns", 2, "--resume")
        assert code == 2 and f"the run in {folder} is going on already" in sentence
    assert (folder / "trajectory.json").read_bytes() == before
    assert run_here(*how, "--turns", 2, "--resume")[0] == 0 and len(load_trajectory(folder).steps) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_costs_no_turn(how, photo):
    command = [sys.executable, "-m", "rethink", *how, "--turns", "1"]
    with open("/dev/full", "w") as full:
        ran = subprocess.run(command, cwd=PACK_ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300)
    assert ran.returncode == 1 and "Traceback" not in ran.stderr and "No space left" in ran.stderr.splitlines()[-1]
    assert len(load_trajectory(photo.with_name("my photo-thinking")).steps) == 1


# In a process of its own: no file that it writes grows beyond so many bytes, as on a disk that is full.
FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from rethink.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def test_a_disk_that_is_full_in_the_middle_keeps_what_was_made(how, photo):
    pytest.importorskip("resource")
    how[2] = (
        "make it red " * 200
    )  # so that the record outgrows 12 kB, which a picture of 50 × 70 pixels does not, in four turns
    command = [sys.executable, "-c", FULL, "12000", *how, "--turns", "99"]
    ran = subprocess.run(command, cwd=PACK_ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 1 and "Traceback" not in ran.stderr and "File too large" in ran.stderr
    kept = load_trajectory(photo.with_name("my photo-thinking"))
    assert kept.stopped == "" and kept.steps and not list(kept.folder.glob(".*.part"))
    assert ran.stdout.splitlines()[-1] == str(kept.folder / kept.steps[kept.best].file)


@pytest.mark.skipif(not EDITOR_FOLDER.exists(), reason="the built-in editor is not trained yet")
def test_the_built_in_editor_says_that_it_does_not_know_a_photograph(photo, tmp_path):
    strange = rethink("edit", photo, "make it red", "--steps", 1)
    assert strange.returncode == 0 and "The built-in editor knows the images of Built-in Scene alone" in strange.stderr
    task = sample_task(0)
    save_image(render([task.source]), tmp_path / "scene.png")
    known = rethink("edit", tmp_path / "scene.png", task.instruction)
    assert known.returncode == 0 and "knows" not in known.stderr


@pytest.fixture
def hanging():
    """A server that answers after a minute; `asked` once it was asked."""
    with openai_server() as running:
        running.asked = threading.Event()
        running.replies = [lambda body: running.asked.set() or time.sleep(60) or (200, completion("late"), {})]
        yield running


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
    assert hanging.asked.wait(100), running.communicate(timeout=9)
    time.sleep(0.2)
    started = time.monotonic()
    running.send_signal(signal.SIGINT)
    told, _ = running.communicate(timeout=30)
    assert time.monotonic() - started < 1.5 and running.returncode == 130 and b"interrupted" in told
