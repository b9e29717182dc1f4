"""`rethink score`."""

import json

import pytest
import torch

from rethink.images import load_image, save_image
from rethink.scoring.job import ScoreJob, ScoringModels
from tests.support.commands import run_here
from tests.support.servers import completion, openai_server

REPLY = 'Yes. {"following": 8, "restraint": 2, "natural": 9, "clean": 8}'


@pytest.fixture
def images(tmp_path):
    source = torch.rand(1, 24, 32, 3)
    for name, image in (("source.png", source), ("edited.png", source.flip(1))):
        save_image(image, tmp_path / name)
    return tmp_path / "source.png", tmp_path / "edited.png"


def test_a_judge_and_a_clip_score_an_edit(images, clip_folder, capfd):
    captions = ["--clip", clip_folder, "--source-caption", "a street", "--edited-caption", "snow"]
    with openai_server() as server:
        server.replies = [(200, completion(REPLY), {})]
        judge = ["--judge", server.url, "--model", "m", "--passes", 2]
        code, lines, _ = run_here(capfd, "score", *images, "make it snow", *judge, *captions)
    found = {row["name"]: row["value"] for row in json.loads(lines[-1])["measurements"]}
    assert code == 0 and found["overall"] == pytest.approx(4) and found["direction similarity"] is not None
    assert len(server.requests) == 4


def test_the_built_in_clip_is_known_by_its_name(images, capfd):
    code, lines, _ = run_here(capfd, "score", *images, "turn it around", "--clip", "built-in")
    found = {row["name"]: row["value"] for row in json.loads(lines[-1])["measurements"]}
    assert code == 0 and found["image similarity"] is not None


def test_it_is_the_job_of_the_library(images, capfd):
    _, lines, _ = run_here(capfd, "score", *images, "turn it around")
    source, edited = map(load_image, images)
    (expected,) = ScoreJob().run(source, edited, "turn it around", ScoringModels())
    assert json.loads(lines[-1]) == expected.as_dict() and "\n".join(lines[:-1]) == str(expected)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["gone.png", "gone.png", "x"], "source: cannot read gone.png"),
        (["--passes", 99, "SOURCE", "SOURCE", "x"], "passes: expected 1 to 32, got 99."),
        (["SOURCE", "SOURCE", "x", "--clip", "gone"], "clip: gone is not a CLIPModel folder"),
        (["SOURCE", "SOURCE", ""], "instruction: is empty"),
        (["SOURCE", "SOURCE", "x", "-o", "scores"], "-o: keeps the judge's answers, but there is no --judge"),
        (["SOURCE", "SOURCE", "x", "--template", "gone.txt"], "--template: is for the judge"),
    ],
)
def test_a_mistake_is_one_sentence(images, capfd, arguments, why):
    code, _, errors = run_here(capfd, "score", *(images[0] if a == "SOURCE" else a for a in arguments))
    assert code == 2 and why in errors[0]


def test_the_folder_of_o_keeps_what_the_judge_says(images, tmp_path, capfd):
    results = []
    with openai_server() as server:
        server.replies = [(200, completion(REPLY), {})]
        for _ in range(2):
            judge = ["--judge", server.url, "--model", "m", "-o", tmp_path / "scores"]
            results.append(run_here(capfd, "score", *images, "make it snow", *judge))
    assert len(server.requests) == 2 and results[0][1] == results[1][1]
    assert any("2 of the judge's 2 answers were already in" in line for line in results[1][2])
