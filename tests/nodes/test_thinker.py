"""Load Thinker and Critique Edit."""

import shutil

import pytest
import torch
from comfy import model_management

from tests.standin.executor import validate
from tests.support.thinking import SOURCE, said


def test_what_was_remembered_of_a_run_is_given_back(load, think, models, vision_folder):
    shutil.copytree(vision_folder, models.LLM / "vision")
    backend = {"backend": "local folder", "folder": "vision", "dtype": "fp32", "quantization": "none"}
    for loop in (False, True):
        thinker = load(backend=backend | {"template": "Rethink's own"}, max_tokens=16)
        think(thinker, loop, turns=2)
        assert thinker.chat._chat._remembered is None


def test_critique_says_everything_once_for_every_picture(critique, make_thinker):
    edited = torch.cat([SOURCE, torch.zeros_like(SOURCE)])
    answers = critique(make_thinker(said(9, 8, "a", "Why."), said(9, 8.5, "")), edited, "told")
    assert answers == ([9, 9], [8, 8.5], ["Why.", "I see."], ["a", "told"], [False, True])  # the first changed nothing


def test_critique_shows_its_scores_and_words_on_itself_and_asks_again_for_another_seed_alone(classes, make_thinker):
    edited = torch.cat([SOURCE, torch.zeros_like(SOURCE)])
    node = classes["RethinkCritiqueEdit"].execute(
        make_thinker(said(9, 8, "a", "Why."), said(9, 8.5, "")), SOURCE, edited, "make it red", 0
    )
    assert node.ui["rethink_text"] == [
        "1: semantic 9 · quality 8 · not accepted\nWhy.\nNext: a\n2: semantic 9 · quality 8.5 · accepted\nI see."
    ]
    seed = classes["RethinkCritiqueEdit"].describe()["input"]["required"]["seed"][1]
    assert seed["control_after_generate"] == "fixed"


def test_a_critique_without_scores_is_an_error_and_no_score(critique, make_thinker, part, RethinkError):
    with pytest.raises(RethinkError, match="^thinker: gave no scores when asked twice; .* The answer: "):
        critique(make_thinker("I like it, 10/10"), SOURCE * 0)
    with pytest.raises(RethinkError, match="it is gone"):
        critique(make_thinker(part("rethink.thinkers.protocol").ThinkerError("thinker: it is gone.")), SOURCE * 0)


def test_a_server_keeps_the_name_of_the_variable_and_never_the_key(load, monkeypatch, owner, RethinkError):
    monkeypatch.setenv("RETHINK_TEST_KEY", "sk-planted")
    owner.parent.mkdir(exist_ok=True)
    owner.write_text('{"keys": {"RETHINK_TEST_KEY": ["http://127.0.0.1:1"]}}')
    server_inputs = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "key_variable": "RETHINK_TEST_KEY"}
    thinker = load(backend={"backend": "server", **server_inputs, "timeout": 120, "retries": 0, "concurrency": 1})
    assert "sk-planted" not in repr(vars(thinker.chat)) and thinker.chat.name == "m"
    with pytest.raises(RethinkError, match="key_variable: give the NAME") as refused:
        load(backend={"backend": "server", **server_inputs, "key_variable": "sk-proj-planted"})
    assert "planted" not in str(refused.value)


def test_local_folders_are_loaded_once_with_their_template_and_moved_by_comfyui(
    load, critique, classes, models, vision_folder, part, RethinkError
):
    shutil.copytree(vision_folder, models.LLM / "owner" / "vision")
    (models.LLM / "owner" / "vision" / "own.txt").write_text(
        "{source}{edited}{instruction}", encoding="utf-8-sig"
    )  # as Notepad does
    model_folders = part("nodes.comfy.model_folders")
    assert model_folders.thinker_names() == ["owner/vision"] and model_folders.template_names() == [
        "owner/vision/own.txt"
    ]
    backend = {"backend": "local folder", "folder": "owner/vision", "dtype": "fp32", "quantization": "none"}
    first = load(backend=backend | {"template": "owner/vision/own.txt"}, max_tokens=16)
    second = load(backend=backend | {"template": "Rethink's own"})
    assert first.chat.name == "owner/vision", "as it was chosen"
    assert first.chat is second.chat and first.template == "{source}{edited}{instruction}" != second.template
    with pytest.raises(RethinkError, match="The answer: "):
        critique(first, SOURCE * 0)
    (patcher,) = [ref() for ref in model_management.loaded]
    assert patcher.model[0] is first.chat.module
    before = classes["RethinkLoadThinker"].fingerprint_inputs(backend=backend)
    (models.LLM / "owner" / "vision" / "config.json").touch()
    assert classes["RethinkLoadThinker"].fingerprint_inputs(backend=backend) != before
    for wrong in ("../vision", "/etc", "", "vision"):
        with pytest.raises(RethinkError, match="folder: there is no"):
            load(backend=backend | {"folder": wrong})
    with pytest.raises(RethinkError, match="template: there is no"):
        load(backend=backend | {"template": "owner/vision/../../../secret.txt"})


def test_choices_are_validated(classes, models):
    def errors(**inputs):
        return validate({"1": {"class_type": "RethinkLoadThinker", "inputs": inputs}}, classes).get("1", [])

    assert errors(backend="built-in") == []
    assert errors(backend="telepathy")
    assert errors(backend="ComfyUI model") == ["backend.clip: missing"] and errors(backend="server") == []
    assert errors(**{"backend": "built-in", "backend.base_url": "http://x"})
