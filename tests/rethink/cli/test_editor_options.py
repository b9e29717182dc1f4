"""The editor of a command: which one, its LoRAs, how it is loaded."""

import argparse
from pathlib import Path

import pytest

from rethink.cli.editor_options import add_device, add_loading_options, open_editor, parse_lora
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
