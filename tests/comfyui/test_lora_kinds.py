"""Every kind of LoRA that ComfyUI applies changes a weight here as it does there."""

from copy import deepcopy

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rethink.editors.lora import lora_applied, read_lora
from tests.comfyui.native_graphs import node, run

IN, OUT, RANK = 12, 24, 3
STRENGTHS = (1.0, 0.6, -0.5)
DICE = torch.Generator().manual_seed(0)
LAYERS = {"linear": nn.Linear(IN, OUT), "conv": nn.Conv2d(IN, OUT, 3, padding=1, stride=2), "square": nn.Linear(IN, IN)}


def random(*shape):
    return torch.randn(*shape, generator=DICE) * 0.3


def lora(out, *shape):
    return {"lora_up.weight": random(out, RANK), "lora_down.weight": random(RANK, *shape), "alpha": torch.tensor(2.0)}


def loha(out, columns):
    factors = {
        "hada_w1_a": (out, RANK),
        "hada_w1_b": (RANK, columns),
        "hada_w2_a": (out, RANK),
        "hada_w2_b": (RANK, columns),
    }
    return {name: random(*shape) for name, shape in factors.items()} | {"alpha": torch.tensor(2.0)}


def lokr():
    return {"lokr_w1": random(4, 3), "lokr_w2": random(6, 4)}


KINDS = {
    "plain": ("linear", lora(OUT, IN)),
    "plain without alpha": ("linear", {"lora_B.weight": random(OUT, RANK), "lora_A.weight": random(RANK, IN)}),
    "plain on a convolution": ("conv", lora(OUT, IN, 3, 3) | {"lora_up.weight": random(OUT, RANK, 1, 1)}),
    "flat on a convolution": ("conv", lora(OUT, IN * 9)),
    "LoCon in Tucker form": (
        "conv",
        {
            "lora_up.weight": random(OUT, RANK, 1, 1),
            "lora_down.weight": random(RANK, IN, 1, 1),
            "lora_mid.weight": random(RANK, RANK, 3, 3),
            "alpha": torch.tensor(1.5),
        },
    ),
    "LoHa": ("linear", loha(OUT, IN)),
    "LoHa on a convolution": ("conv", loha(OUT, IN * 9)),
    "LoHa in Tucker form": (
        "conv",
        {
            "hada_t1": random(RANK, RANK, 3, 3),
            "hada_w1_a": random(RANK, OUT),
            "hada_w1_b": random(RANK, IN),
            "hada_t2": random(RANK, RANK, 3, 3),
            "hada_w2_a": random(RANK, OUT),
            "hada_w2_b": random(RANK, IN),
            "alpha": torch.tensor(2.0),
        },
    ),
    "LoKr, where alpha means nothing": ("linear", lokr() | {"alpha": torch.tensor(7.0)}),
    "LoKr of a low rank": (
        "linear",
        {
            "lokr_w1": random(4, 3),
            "lokr_w2_a": random(6, 2),
            "lokr_w2_b": random(2, 4),
            "alpha": torch.tensor(1.0),
        },
    ),
    "LoKr of a low rank on both sides": (
        "linear",
        {
            "lokr_w1_a": random(4, RANK),
            "lokr_w1_b": random(RANK, 3),
            "lokr_w2_a": random(6, 2),
            "lokr_w2_b": random(2, 4),
            "alpha": torch.tensor(1.0),
        },
    ),
    "LoKr on a convolution": ("conv", {"lokr_w1": random(4, 3), "lokr_w2": random(6, 4, 3, 3)}),
    "DoRA by outputs": ("linear", lora(OUT, IN) | {"dora_scale": random(OUT, 1).abs() + 1}),
    "DoRA by inputs": ("linear", lora(OUT, IN) | {"dora_scale": random(1, IN).abs() + 1}),
    "DoRA on a convolution by outputs": ("conv", lora(OUT, IN, 3, 3) | {"dora_scale": random(OUT, 1, 1, 1).abs() + 1}),
    "DoRA on a convolution by inputs": ("conv", lora(OUT, IN, 3, 3) | {"dora_scale": random(1, IN, 1, 1).abs() + 1}),
    "DoRA of a LoKr": ("linear", lokr() | {"dora_scale": random(OUT, 1).abs() + 1}),
    "DoRA of a LoHa": ("linear", loha(OUT, IN) | {"dora_scale": random(1, IN).abs() + 1}),
    "OFT": ("linear", {"oft_blocks": random(4, 6, 6)}),
    "OFT on a convolution, bounded": ("conv", {"oft_blocks": random(4, 6, 6), "alpha": torch.tensor(0.4)}),
    "BOFT": ("linear", {"oft_blocks": random(2, 6, 4, 4), "alpha": torch.tensor(0.0)}),
    "BOFT, bounded and stretched": (
        "linear",
        {"oft_blocks": random(2, 6, 4, 4), "alpha": torch.tensor(0.4), "rescale": random(OUT, 1) + 1},
    ),
    "GLoRA": (
        "linear",
        {
            "a1.weight": random(IN, RANK),
            "a2.weight": random(RANK, IN),
            "b1.weight": random(OUT, RANK),
            "b2.weight": random(RANK, IN),
            "alpha": torch.tensor(2.0),
        },
    ),
    "GLoRA on a convolution": (
        "conv",
        {
            "a1.weight": random(IN, RANK),
            "a2.weight": random(RANK, IN),
            "b1.weight": random(OUT, RANK),
            "b2.weight": random(RANK, IN * 9),
        },
    ),
    "GLoRA of old": (
        "square",
        {
            "a1.weight": random(RANK, IN),
            "a2.weight": random(IN, RANK),
            "b1.weight": random(RANK, IN),
            "b2.weight": random(IN, RANK),
            "alpha": torch.tensor(2.0),
        },
    ),
    "the whole difference": ("conv", {"diff": random(OUT, IN, 3, 3)}),
}


@pytest.fixture(scope="module")
def module():
    """A layer for every kind."""
    return nn.ModuleDict({"unet": nn.ModuleDict({kind: deepcopy(LAYERS[layer]) for kind, (layer, _) in KINDS.items()})})


@pytest.fixture(scope="module")
def merged(server, module, tmp_path_factory):
    """strength → (the LoRA as it is read here, every kind's weight as ComfyUI merges it)."""
    folder = tmp_path_factory.mktemp("merged")
    weights, lora = folder / "weights.safetensors", folder / "lora.safetensors"
    save_file({f"unet.{kind}": layer.weight.detach() for kind, layer in module["unet"].items()}, weights)
    save_file({f"unet.{kind}.{key}": t for kind, (_, tensors) in KINDS.items() for key, t in tensors.items()}, lora)
    run(server, {"merge": node("TestMergeLora", folder=str(folder), strengths=" ".join(map(str, STRENGTHS)))})
    read = {strength: read_lora(lora, strength, module, "the test") for strength in STRENGTHS}
    assert all(report.matched == len(KINDS) and not report.unmatched for _, report in read.values())
    return {strength: (one, load_file(folder / f"{strength}.safetensors")) for strength, (one, _) in read.items()}


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_changes_a_layer_as_comfyui_does(merged, module, kind, strength):
    layer = module["unet"][kind]
    weight = layer.weight
    lora, weights = merged[strength]
    theirs = weights[f"unet.{kind}"]
    assert not torch.allclose(theirs, weight, atol=1e-3)
    assert torch.allclose(lora.layers[f"unet.{kind}"].weight.merged(weight.detach(), strength), theirs, atol=1e-5)
    is_conv = isinstance(layer, nn.Conv2d)
    x = torch.randn(2, IN, 7, 7) if is_conv else torch.randn(2, 5, IN)
    with torch.no_grad():
        with lora_applied(module, [lora]):
            ours = layer(x)
        expected = layer._conv_forward(x, theirs, layer.bias) if is_conv else x @ theirs.T + layer.bias
    assert torch.allclose(ours, expected, atol=5e-5)
    assert layer.weight is weight and not layer._forward_hooks and not layer._forward_pre_hooks
