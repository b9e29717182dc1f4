"""`rethink edit`, run as its user runs it."""

from pathlib import Path

import pytest
from PIL import Image

from rethink.builtin import EDITOR_FOLDER
from rethink.editors.loading import load_editor
from rethink.errors import RethinkError
from rethink.images import load_image, save_image
from rethink.tiny import render, sample_task
from tests.support.commands import run_here, run_process
from tests.support.edit_servers import edit_server, refusal
from tests.support.editor_miniatures import as_diffusers, factors, write_lora


def test_edits_a_file_at_its_own_size(editor, photo):
    ran = run_process("edit", photo, "make it red", "--editor", editor, "--steps", 2)
    assert ran.returncode == 0, ran.stderr
    assert load_image(photo.with_name("my photo-edited.png")).shape == (1, 50, 70, 3)


def test_variations_and_chains_number_their_files(rethink, editor, photo, tmp_path):
    out = tmp_path / "out.png"
    assert rethink("edit", photo, "a", "--editor", editor, "--steps", 1, "--variations", 3, "-o", out).returncode == 0
    assert sorted(p.name for p in tmp_path.glob("out-*.png")) == ["out-1.png", "out-2.png", "out-3.png"]
    chain = tmp_path / "chain.png"
    assert rethink("edit", photo, "a", "b", "--chain", "--editor", editor, "--steps", 1, "-o", chain).returncode == 0
    assert len(list(tmp_path.glob("chain-*.png"))) == 2


def test_an_image_holds_what_the_ending_says_in_a_folder_that_is_made(rethink, editor, photo, tmp_path):
    out = tmp_path / "new" / "folder" / "out.jpg"
    ran = rethink("edit", photo, "make it red", "--editor", editor, "--steps", 1, "-o", out)
    assert ran.returncode == 0 and Image.open(out).format == "JPEG"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.png", "make it red"], "missing.png"),
        (["PHOTO", ""], "nstruction"),
        (["PHOTO", "a", "b"], "--chain"),
        (["PHOTO", "a", "--editor", "no/such/folder"], "folder"),
        (["PHOTO", "a", "--variations", "0"], "variations: expected 1 to 64"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_2(rethink, arguments, said, editor, photo):
    arguments = [photo if a == "PHOTO" else a for a in arguments]
    if "--editor" not in arguments:
        arguments += ["--editor", editor]
    ran = rethink("edit", *arguments)
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert said in ran.stderr


@pytest.mark.skipif(not EDITOR_FOLDER.exists(), reason="the built-in editor is not trained yet")
def test_the_built_in_editor_says_that_it_does_not_know_a_photograph(rethink, photo, tmp_path):
    strange = rethink("edit", photo, "make it red", "--steps", 1)
    assert strange.returncode == 0 and "The built-in editor only works on images of Built-in Scene" in strange.stderr
    task = sample_task(0)
    save_image(render([task.source]), tmp_path / "scene.png")
    known = rethink("edit", tmp_path / "scene.png", task.instruction, "--steps", 1)
    assert known.returncode == 0 and "knows" not in known.stderr


# What it shares with the nodes


def test_loras_lie_over_the_editor_at_their_strengths(editor, photo, tmp_path, capfd):
    base = load_editor(editor)
    weights = as_diffusers(factors(base, scale=0.4))
    lora, other = (write_lora(weights, tmp_path, name) for name in ("snow", "grain"))
    how = ["edit", photo, "make it red", "--editor", editor, "--steps", 2, "-o"]
    edits = {}
    for name, options in {
        "plain": [],
        "one": ["--lora", lora],
        "two": ["--lora", f"{lora}:0.5", "--lora", f"{other}:0.5"],
        "none": ["--lora", f"{lora}:1", "--lora", f"{lora}:-1"],
    }.items():
        code, _, complaints = run_here(capfd, *how, tmp_path / f"{name}.png", *options)
        assert (code, complaints) == (0, [])
        edits[name] = load_image(tmp_path / f"{name}.png")

    def distance(one, other):
        return float((edits[one] - edits[other]).abs().mean())

    acts = distance("one", "plain")
    assert acts > 0.02, acts
    assert max(distance("two", "one"), distance("none", "plain")) < acts / 20, "apart from the rounding of sums"


def test_an_editor_that_takes_no_references_says_so(editor, photo, capfd):
    code, _, (sentence,) = run_here(capfd, "edit", photo, "a", "--editor", editor, "--references", photo, photo)
    assert code == 2 and "references: got 2" in sentence


def test_quantization_and_offload_reach_the_loader(photo, monkeypatch, capfd):
    options = {}

    def load(path, **more):
        options.update(more, path=path)
        raise RethinkError("enough")

    monkeypatch.setattr("rethink.editors.loading.load_editor", load)
    how = ["--quantize", "int8 (quanto)", "--offload", "model", "--dtype", "bf16", "--device", "cuda"]
    assert run_here(capfd, "edit", photo, "a", "--editor", "some/folder", *how)[0] == 2
    assert options == {
        "path": Path("some/folder"),
        "quantize": "int8 (quanto)",
        "offload": "model",
        "dtype": "bf16",
        "device": "cuda",
        "tokenizer": None,
    }


def test_an_editor_behind_a_server_takes_references_and_seeds(rethink, photo, tmp_path):
    with edit_server() as server:
        options = ["--editor", server.url, "--editor-model", "painter", "--editor-retries", 0, "--seed", 5]
        ran = rethink(
            "edit", photo, "a", *options, "--variations", 2, "--references", photo, "-o", tmp_path / "out.png"
        )
        assert ran.returncode == 0, ran.stderr
        assert sorted(request.fields["seed"] for request in server.requests) == ["5", "6"]
        assert {len(request.images) for request in server.requests} == {2}
        server.replies = [refusal(400, "rejected by the safety system")]
        ran = rethink("edit", photo, "a", *options)
    assert (
        ran.returncode == 2
        and f"editor: painter at {server.url}: error 400: rejected by the safety system." in ran.stderr
    )
    assert load_image(tmp_path / "out-1.png").shape == (1, 50, 70, 3)
