"""`rethink think`, run as its user runs it."""

import re
import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rethink.cli.main import main, make_parser
from rethink.cli.think import _folder_names, thinker_config_from
from rethink.images import load_image, save_image
from rethink.thinkers.loading import ThinkerConfig
from rethink.trajectory import load_trajectory, writing
from tests.support.commands import run_here
from tests.support.edit_servers import edit, edit_server
from tests.support.servers import completion, openai_server


@pytest.fixture
def how(editor, thinker, photo):
    how = ["think", photo, "make it red", "--editor", editor, "--thinker", thinker, "--steps", 1, "--max-tokens", 8]
    return [str(each) for each in how]


def test_thinks_and_goes_on_where_it_was_cut_off(rethink, editor, thinker, photo):
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
    assert other.returncode == 2 and "different choice of rules; use the same, or another folder" in other.stderr


def test_a_folder_of_images_and_instructions_is_a_run_for_each_and_goes_on(how, photo, capfd):
    photos, runs = photo.parent / "photos", photo.parent / "runs"
    photos.mkdir()
    for name, text in {"b.png": "make it red", "b.jpg": "", "a 日本.png": "make it blue"}.items():
        save_image(torch.rand(1, 50, 70, 3), photos / name)
        (photos / name).with_suffix(".txt").write_text(text or "make it red", encoding="utf-8")
    command, _, _, *options = how
    over = [command, photos, *options, "-o", runs, "--turns"]
    code, lines, _ = run_here(capfd, *over, 1)
    assert code == 0 and lines[0] == "1 of 3: a 日本.png: make it blue" and lines[-1] == f"3 runs → {runs}"
    assert sorted(folder.name for folder in runs.iterdir()) == ["a 日本", "b.jpg", "b.png"]
    shutil.rmtree(runs / "b.jpg")
    code, lines, _ = run_here(capfd, *over, 2)
    assert code == 0 and [line[:6] for line in lines if line.startswith("turn")] == [
        "turn 2",
        "turn 1",
        "turn 2",
        "turn 2",
    ]
    assert {load_trajectory(folder).stopped for folder in runs.iterdir()} == {"turns"}


def test_what_is_true_of_all_images_of_a_folder_is_said_once(how, photo, capfd):
    template = photo.with_name("template.txt")
    template.write_text("{source}{edited}{instruction}", encoding="utf-8")
    photos = photo.parent / "photos"
    photos.mkdir()
    for name in "ab":
        save_image(torch.rand(1, 50, 70, 3), photos / f"{name}.png")
        (photos / f"{name}.txt").write_text("make it red", encoding="utf-8")
    command, _, _, *options = how
    code, _, complaints = run_here(capfd, command, photos, *options, "--turns", 1, "--regions", "--template", template)
    assert code == 0 and len([line for line in complaints if "is not asked for boxes" in line]) == 1, complaints


def test_what_a_folder_of_images_cannot_be_thought_over_with_is_said(how, photo, capfd):
    photos = photo.parent / "photos"
    photos.mkdir()
    shutil.copy(photo, photos / "a.png")
    command, _, _, *options = how
    orders = photo.with_name("orders.txt")
    for image, more, why in (
        (photo, [], "instruction: say what to change"),
        (photo.parent / "nope", [], "image: .*nope does not exist"),
        (photos, [], "1 of 1 in .* have no instruction: a.png"),
        (photos, ["--mask", photo], "--mask: is for one image"),
        (photos, ["--steer", orders], "--steer: is for one image"),
        (photos, ["-o", photos / "page.html"], "-o: a page shows one run"),
    ):
        code, _, (complaint,) = run_here(capfd, command, image, *options, *more)
        assert code == 2 and re.search(why, complaint), complaint
    code, _, (complaint,) = run_here(capfd, command, photos, "make it red", *options)
    assert code == 2 and "instruction: leave it out for a folder" in complaint


@pytest.fixture
def photos(photo):
    photos = photo.parent / "photos"
    photos.mkdir()
    shutil.copy(photo, photos / "a.png")
    (photos / "a.txt").write_text("make it red", encoding="utf-8")
    return photos


@pytest.mark.parametrize(
    ("images", "folders"),
    [
        (["B.png", "b.jpg", "c.png"], ["B.png", "b.jpg", "c"]),
        (["b.png", "b.jpg", "b.jpg.png"], ["b.png", "id 1", "id 2"]),
        (["long " * 42 + "1.png", "long " * 42 + "2.png"], ["id 0", "id 1"]),
        (["?.png"], ["id 0"]),
    ],
)
def test_no_two_runs_of_a_folder_have_one_place(images, folders):
    tasks = [SimpleNamespace(name=name, id=f"id {number}") for number, name in enumerate(images)]
    assert _folder_names(tasks) == folders


def test_that_the_runs_of_a_folder_have_no_place_is_said_before_anything_is_loaded(photos, photo, capfd):
    models = ["--editor", "gone", "--thinker", "gone"]
    code, _, (complaint,) = run_here(capfd, "think", photos, *models, "-o", photo)
    assert code == 2 and re.search("-o: .* cannot be written", complaint), complaint


def test_the_runs_of_the_folder_that_one_is_in_are_beside_it(how, photos, photo, capfd, monkeypatch):
    monkeypatch.chdir(photos)
    command, _, _, *options = how
    assert run_here(capfd, command, ".", *options, "--turns", 1)[0] == 0
    assert load_trajectory(photo.parent / "photos-thinking" / "a").stopped


def test_boxes_that_the_thinker_is_not_asked_for_are_said(how, tmp_path, capsys):
    (tmp_path / "own.txt").write_text("{source}{edited}{instruction}", encoding="utf-8")
    how = [*how, "--turns", "1", "--focus"]
    assert main([*how, "-o", str(tmp_path / "plain")]) == 0 and "focus" not in capsys.readouterr().err
    assert main([*how, "-o", str(tmp_path / "run"), "--template", str(tmp_path / "own.txt")]) == 0
    assert "rethink: focus: the thinker has its own template" in capsys.readouterr().err


def test_an_editor_whose_server_dies_leaves_a_run_that_goes_on_wherever_it_is_again(rethink, thinker, photo):
    how = ["think", photo, "make it red", "--thinker", thinker, "--max-tokens", 8, "--turns", 3]
    how += ["--editor-model", "painter", "--editor-retries", 0]

    def dies(request):
        if len(server.requests) == 2:
            server.stop()
            return 500, "it is gone", {}
        return edit(request)

    with edit_server() as server:
        server.replies = [dies]
        ran = rethink(*how, "--editor", server.url)
    assert ran.returncode == 2 and [line[:6] for line in ran.stdout.splitlines()] == ["turn 1"]
    assert f"editor: painter at {server.url}: error 500: it is gone" in ran.stderr
    with edit_server() as server:
        ran = rethink(*how, "--editor", server.url.replace("127.0.0.1", "localhost"), "--resume")
    assert ran.returncode == 0, ran.stderr
    assert [line[:6] for line in ran.stdout.splitlines()[:-1]] == ["turn 2", "turn 3"]


def test_a_thinker_that_cannot_be_reached_leaves_the_edit_and_no_result(rethink, editor, photo):
    how = ["think", photo, "make it red", "--editor", editor, "--steps", 2, "--model", "m"]
    with openai_server() as critic:
        critic.replies = [(400, "it is gone", {})]
        ran = rethink(*how, "--thinker", critic.url, "-o", photo.with_name("run"))
    folder = photo.with_name("run")
    assert ran.returncode == 1 and f"No edit was judged; the edits made so far are kept in {folder}." in ran.stderr
    assert (folder / "turn-0001-00.png").is_file()
    assert [line[:6] for line in ran.stdout.splitlines()] == ["turn 1"], "no path that a program takes for a result"


def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(rethink, editor, photo):
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


def test_a_folder_that_cannot_be_is_one_sentence(how, photo, capfd):
    code, _, (sentence,) = run_here(capfd, *how, "--turns", 1, "-o", photo / "run")
    assert code == 2 and "cannot be written" in sentence and "Not a directory" in sentence


def test_a_folder_that_is_taken_away_ends_the_run_in_one_sentence(how, photo, capfd, monkeypatch):
    folder = photo.with_name("my photo-thinking")
    monkeypatch.setattr("rethink.cli.think.print_step", lambda trajectory: shutil.rmtree(folder, ignore_errors=True))
    code, lines, (sentence, *_) = run_here(capfd, *how, "--turns", 9)
    assert code == 1 and not lines and "cannot be written (it is gone)" in sentence


def test_a_run_is_gone_on_with_by_one_at_a_time(how, photo, capfd):
    folder = photo.with_name("my photo-thinking")
    assert run_here(capfd, *how, "--turns", 1)[0] == 0
    before = (folder / "trajectory.json").read_bytes()
    with writing(folder):
        code, _, (sentence,) = run_here(capfd, *how, "--turns", 2, "--resume")
        assert code == 2 and f"the run in {folder} is already running" in sentence
    assert (folder / "trajectory.json").read_bytes() == before
    assert run_here(capfd, *how, "--turns", 2, "--resume")[0] == 0 and len(load_trajectory(folder).steps) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_costs_no_turn(how, photo, capfd, monkeypatch):
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        code = main([*how, "--turns", "1"])
    complaint = capfd.readouterr().err.splitlines()[-1]
    assert code == 1 and "No space left" in complaint
    assert len(load_trajectory(photo.with_name("my photo-thinking")).steps) == 1


@contextmanager
def full_disk(size):
    """No file that this process writes grows beyond so many bytes."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_is_full_in_the_middle_keeps_what_was_made(how, photo, capfd):
    # so that the record outgrows 12 kB, which an image of 50 × 70 pixels does not, in four turns
    how[2] = "make it red " * 200
    with full_disk(12000):
        code, lines, complaints = run_here(capfd, *how, "--turns", 99)
    assert code == 1 and any("File too large" in complaint for complaint in complaints)
    kept = load_trajectory(photo.with_name("my photo-thinking"))
    assert kept.stopped == "" and kept.steps and not list(kept.folder.glob(".*.part"))
    assert lines[-1] == str(kept.folder / kept.steps[kept.best].file)


# What it shares with the node


def test_a_file_steers_it_between_turns(how, photo, capfd):
    orders = photo.with_name("orders.txt")
    orders.write_text("prompt paint it green\ndance\naccept 1\n")
    code, lines, complaints = run_here(capfd, *how, "--turns", 9, "--steer", orders)
    run = load_trajectory(photo.with_name("my photo-thinking"))
    assert code == 0 and [step.prompt for step in run.steps] == ["make it red", "paint it green"]
    assert (run.stopped, run.chosen, run.steps[1].prompt_by) == ("human", 0, "human")
    assert lines[-1] == str(run.folder / run.steps[0].file) and "“dance” is unknown" in complaints[0]


def test_it_waits_for_the_file_after_every_turn(how, photo, capfd):
    orders = photo.with_name("orders.txt")
    orders.write_text("go_on\n")  # nothing is held yet: it lets go of nothing

    def stop_when_it_waits():
        until = time.monotonic() + 60
        while not list(photo.parent.glob("*/turn-0001-00.png")) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.3)
        orders.write_text("go_on\nstop\n")

    running = threading.Thread(target=stop_when_it_waits)
    running.start()
    code, lines, _ = run_here(capfd, *how, "--turns", 9, "--steer", orders, "--pause")
    running.join()
    assert code == 0 and [line[:6] for line in lines[:-1]] == ["turn 1"]
    assert load_trajectory(photo.with_name("my photo-thinking")).stopped == "human"


def test_without_a_file_nobody_could_say_how_to_go_on(how, capfd):
    code, _, (sentence,) = run_here(capfd, *how, "--pause")
    assert code == 2 and "--pause needs --steer" in sentence


def thinker_config(*arguments, who="judge"):
    return thinker_config_from(make_parser().parse_args(["think", "a.png", "b", *arguments]), who)


def test_a_judge_is_asked_as_the_thinker_is_unless_it_is_said(tmp_path):
    template = tmp_path / "own.txt"
    template.write_text("{source}{edited}{instruction}", encoding="utf-8-sig")  # as Notepad does
    shared = [
        "--judge",
        "a/folder",
        "--max-tokens",
        "99",
        "--temperature",
        "0.5",
        "--dtype",
        "bf16",
        "--device",
        "cuda",
    ]
    assert thinker_config(*shared) == ThinkerConfig(
        "a/folder", max_tokens=99, temperature=0.5, dtype="bf16", device="cuda"
    )
    own = ["--judge-max-tokens", "7", "--judge-temperature", "0", "--judge-dtype", "fp32", "--judge-device", "cpu"]
    own += ["--judge-model", "m", "--judge-key-variable", "KEY", "--judge-quantization", "4bit"]
    own += [
        "--judge-timeout",
        "9",
        "--judge-retries",
        "0",
        "--judge-concurrency",
        "2",
        "--judge-template",
        str(template),
    ]
    assert thinker_config(*shared, *own) == ThinkerConfig(
        "a/folder",
        model="m",
        key_variable="KEY",
        timeout=9,
        retries=0,
        concurrency=2,
        dtype="fp32",
        quantization="4bit",
        template="{source}{edited}{instruction}",
        max_tokens=7,
    )
    assert thinker_config(*shared, *own, who="thinker") == ThinkerConfig(
        max_tokens=99, temperature=0.5, dtype="bf16", device="cuda"
    )


def test_a_judge_scores_in_the_thinkers_place(rethink, editor, photo):
    verdict = '<think>.</think><score>{"semantic": %s, "quality": %s}</score><answer>paint it green</answer>'
    with openai_server() as critic, openai_server() as judge:
        critic.replies, judge.replies = ([(200, completion(verdict % scores), {})] for scores in ((2, 2), (9, 9)))
        ran = rethink(
            *("think", photo, "make it red", "--editor", editor, "--steps", 1, "-o", photo.with_name("run")),
            *("--thinker", critic.url, "--model", "critic", "--judge", judge.url, "--judge-model", "judge"),
        )
    assert ran.returncode == 0, ran.stderr
    run = load_trajectory(photo.with_name("run"))
    assert run.stopped == "accepted" and run.options["judge"] == "judge" and ran.stdout.startswith("turn 1      9 / 9")
    assert run.steps[0].critique.semantic == 2 and run.steps[0].judge.semantic == 9
