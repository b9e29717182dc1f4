"""The editor of a command: which one, its LoRAs, how it is loaded."""

import argparse
from pathlib import Path

import pytest

from rethink.cli.editor_options import add_device, add_loading_options, open_editor, parse_lora
from rethink.errors import RethinkError
from tests.support.editor_miniatures import as_diffusers, factors, write_lora
from tests.support.miniatures import INSTRUCT, write_folder


@pytest.mark.parametrize(
    ("text", "path", "strength"),
    [
        ("a.safetensors", "a.safetensors", 1.0),
        ("a.safetensors:0.8", "a.safetensors", 0.8),
        ("a.safetensors:-2", "a.safetensors", -2.0),
        (r"C:\loras\a.safetensors", r"C:\loras\a.safetensors", 1.0),
        (r"C:\loras\a.safetensors:.5", r"C:\loras\a.safetensors", 0.5),
        ("snow:night.safetensors", "snow:night.safetensors", 1.0),
    ],
)
def test_a_strength_stands_behind_the_last_colon(text, path, strength):
    assert parse_lora(text) == (Path(path), strength)


def test_an_editor_is_loaded_with_its_loras_and_says_what_fits(tmp_path, capsys):
    folder = write_folder(tmp_path / "mini", INSTRUCT)
    parser = argparse.ArgumentParser()
    add_loading_options(parser, None, "which")
    add_device(parser)
    plain = open_editor(parser.parse_args(["--editor", str(folder), "--dtype", "bf16"]))
    lora = write_lora(as_diffusers(factors(plain)), tmp_path)
    editor = open_editor(parser.parse_args(["--editor", str(folder), "--lora", f"{lora}:0.5", "--lora", str(lora)]))
    assert (plain.name, editor.name) == ("mini", "mini + lora × 0.5 + lora × 1")
    assert [str(next(each.module.parameters()).dtype) for each in (plain, editor)] == [
        "torch.bfloat16",
        "torch.float32",
    ]
    assert capsys.readouterr().err.count("lora: ") == 2


FAR = "http://192.0.2.1:8000/v1"  # nobody's


def options_of(*arguments, **more):
    parser = argparse.ArgumentParser()
    add_loading_options(parser, None, "which")
    add_device(parser)
    return argparse.Namespace(**vars(parser.parse_args(arguments)), typed=frozenset(arguments), **more)


def test_an_editor_behind_a_server_is_opened_by_its_address_and_its_model(monkeypatch):
    monkeypatch.setenv("RETHINK_TEST_KEY", "sk-Zq7vKx93TmWp2Ld8")
    arguments = ["--editor", FAR, "--editor-model", "painter", "--editor-key-variable", "RETHINK_TEST_KEY"]
    assert open_editor(options_of(*arguments)).name == "painter @ http://192.0.2.1:8000", "typed, so allowed"
    assert open_editor(options_of(*arguments, config=Path("a.json"))).name == "painter @ http://192.0.2.1:8000"
    with pytest.raises(RethinkError, match="--editor-model: is empty"):
        open_editor(options_of("--editor", FAR))
    with pytest.raises(RethinkError, match="^lora: painter @ http://192.0.2.1:8000"):
        open_editor(options_of(*arguments, "--lora", "a.safetensors"))


@pytest.mark.parametrize(
    ("typed", "more", "why"),
    [
        ((), {"editor": FAR}, "base_url: .* is not this machine"),
        (
            ("--editor", FAR),
            {"editor_key_variable": "RETHINK_TEST_KEY"},
            "key_variable: RETHINK_TEST_KEY is not paired",
        ),
        (
            ("--editor", "built-in"),
            {"editor": FAR, "editor_flag": "--preview-editor"},
            "base_url: .* is not this machine",
        ),
    ],
)
def test_what_a_config_file_names_its_owner_has_to_allow(monkeypatch, tmp_path, typed, more, why):
    """None of it was typed: the server, its key, or the editor of another flag."""
    monkeypatch.setenv("RETHINK_TEST_KEY", "sk-Zq7vKx93TmWp2Ld8")
    monkeypatch.setenv("RETHINK_SERVERS", str(tmp_path / "servers.json"))
    options = options_of(*typed, config=Path("a.json"))
    vars(options).update({"editor_model": "painter", **more})
    with pytest.raises(RethinkError, match=why):
        open_editor(options)
