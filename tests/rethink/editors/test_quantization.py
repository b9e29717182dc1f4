"""Weights in fewer bits."""

import importlib.util

import pytest
import torch

from rethink.editors.loading import load_editor
from rethink.editors.settings import Settings
from rethink.errors import RethinkError
from tests.support import editor_miniatures as miniatures
from tests.support.family_miniatures import SIDE

FEW = Settings(steps=3)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    miniatures.shrink(monkeypatch)


def pictures(*shape, seed=7):
    return (torch.rand(*shape, 3, generator=torch.Generator().manual_seed(seed)) * 255).round() / 255


def edit(editor, images, instruction="make it red", seed=1, settings=FEW, references=(), **options):
    prepared = editor.prepare(images, references)
    return editor.edit(prepared, [instruction] * len(images), [seed] * len(images), settings, **options)


@pytest.mark.parametrize("kind", ["flux_kontext", "instruct_pix2pix_xl"])
def test_quantized(kind, editor_of, kinds_root):
    pytest.importorskip("optimum.quanto")
    full, small = editor_of(kind), miniatures.opened(kind, kinds_root, quantize="int8 (quanto)")
    source = pictures(1, SIDE, SIDE)
    difference = (edit(small, source) - edit(full, source)).abs().mean()
    assert 0 < difference < 0.1


@pytest.mark.parametrize("kind", ["flux_kontext", "instruct_pix2pix"])
def test_fp8_needs_no_package(kind, editor_of, kinds_root):
    full, small = editor_of(kind), miniatures.opened(kind, kinds_root, quantize="fp8")
    weights = [
        layer.weight
        for layer in small.module[miniatures.denoiser(small)].modules()
        if isinstance(layer, torch.nn.Linear)
    ]
    assert sum(weight.dtype == torch.float8_e4m3fn for weight in weights) > len(weights) / 2
    source = pictures(1, SIDE, SIDE)
    difference = (edit(small, source) - edit(full, source)).abs().mean()
    assert 0 < difference < 0.1


def test_quantizing_what_cannot_be(editor_of, kinds_root):
    editor_of("flux_kontext")
    with pytest.raises(RethinkError, match="^quantize: “q4” is unknown; choose one of none"):
        load_editor(kinds_root / "flux_kontext", quantize="q4")
    if importlib.util.find_spec("bitsandbytes") is None:
        with pytest.raises(RethinkError, match="pip install bitsandbytes"):
            load_editor(kinds_root / "flux_kontext", quantize="nf4 (bitsandbytes)")
