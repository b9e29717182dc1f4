"""`rethink curve`."""

import json

import pytest
import torch

from rethink.benchmarking.trade_off_plot import PAGE, PLOT
from rethink.images import save_image
from tests.support.commands import run_here
from tests.support.edit_servers import edit_server
from tests.support.miniatures import PLAIN, write_folder


@pytest.fixture
def edits(tmp_path):
    save_image(torch.rand(1, 32, 32, 3), tmp_path / "a.png")
    line = {"image": "a.png", "instruction": "snow", "source_caption": "a street", "edited_caption": "snow"}
    (tmp_path / "edits.jsonl").write_text(json.dumps(line), encoding="utf-8")
    return tmp_path / "edits.jsonl"


def test_an_editor_and_sdedit(edits, editor, clip_folder, capfd, tmp_path):
    plain = write_folder(tmp_path / "plain", PLAIN)
    command = ["curve", edits, "-o", tmp_path / "out", "--editors", editor, plain, "--clip", clip_folder]
    scales = ["--image-guidance", "1 2", "--strength", "0.5 1", "--steps", 2]
    code, lines, _ = run_here(capfd, *command, *scales)
    curves = json.loads(lines[-1])["curves"]
    assert code == 0 and [curve["knob"] for curve in curves] == ["image_guidance", "strength"]
    assert [[point["scale"] for point in curve["points"]] for curve in curves] == [[1, 2], [0.5, 1]]
    assert (tmp_path / "out" / PAGE).is_file() and (tmp_path / "out" / PLOT).is_file()


def test_editors_on_two_servers_of_one_machine_are_two(capfd, tmp_path):
    with edit_server() as one, edit_server() as other:
        command = ["curve", "built-in", "--count", 1, "--editor-model", "painter", "-o", tmp_path / "out"]
        code, lines, _ = run_here(capfd, *command, "--editors", one.url, other.url)
        names = [f"painter @ {server.origin}" for server in (one, other)]
        assert code == 0 and [curve["editor"] for curve in json.loads(lines[-1])["curves"]] == names
        assert [len(server.requests) for server in (one, other)] == [1, 1]


def test_a_key_goes_to_one_server(capfd, tmp_path, monkeypatch):
    monkeypatch.setenv("RETHINK_TEST_KEY", "sk-Zq7vKx93TmWp2Ld8")
    with edit_server() as one, edit_server() as other:
        command = ["curve", "built-in", "--count", 1, "--editor-model", "painter", "-o", tmp_path / "out"]
        command += ["--editor-key-variable", "RETHINK_TEST_KEY", "--editors", one.url, "built-in"]
        code, _, errors = run_here(capfd, *command, other.url)
        assert code == 2 and "--editor-key-variable: a key is for one server, not for http://" in errors[0]
        assert not one.requests and not other.requests
        code, *_ = run_here(capfd, *command, "--image-guidance", "1.5", "--steps", 1)
        assert code == 0 and "authorization" in one.requests[0].headers


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["gone.jsonl", "-o", "x"], "items: "),
        (["built-in", "-o", "x", "--count", -1], "count: expected 0 or more, got -1."),
        (["built-in", "-o", "x", "--strength", "2"], "strength: expected numbers above 0 to 1"),
    ],
)
def test_a_mistake_is_one_sentence(capfd, tmp_path, monkeypatch, arguments, why):
    monkeypatch.chdir(tmp_path)
    code, _, errors = run_here(capfd, "curve", *arguments)
    assert code == 2 and why in errors[0]
