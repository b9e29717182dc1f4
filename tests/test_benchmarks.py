"""The benchmarks' own models still go through the code that they measure."""

import sys

import torch

from tests.support.hosts import PACK_ROOT


def test_the_painter_draws_as_a_pipeline_of_diffusers_does(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(PACK_ROOT / "benchmarks"), *sys.path])
    import pairs

    painter = pairs.Painter(pairs.optimize_pipeline(pairs.open_pipeline(pairs.EDITOR_FOLDER)))
    recipe = pairs.P2PConfig(steps=2, guidance=(1.0, 4.0))
    made = pairs.generate(painter, "a red star at the top", "a blue circle at the top", [1, 2], recipe)
    again = pairs.generate(painter, "a red star at the top", "a blue circle at the top", [1, 2], recipe)
    assert made.before.shape == made.after.shape and made.before.shape[0] == 2
    assert torch.equal(made.after, again.after) and not torch.equal(made.before, made.after)
