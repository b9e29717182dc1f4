"""Gradients through models that are written for inference are those of the same models written out plainly.

On ComfyUI's own models: tests/comfyui/test_native_training.py.
"""

import importlib

import pytest
import torch
from torch import nn

CPU = torch.device("cpu")


class Block(nn.Module):
    """Adds to its input in place, as ComfyUI's blocks do."""

    def __init__(self, layer):
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(4), layer

    def forward(self, x):
        x += self.layer(self.norm(x)).tanh()
        return x


class CastLayer(nn.Linear):
    """Makes its weights from coarser ones, anew for every call."""

    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return nn.functional.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


@pytest.fixture
def gradients(part):
    return part("nodes.native.gradients")


def denoiser(layer):
    torch.manual_seed(0)
    return nn.ModuleDict({"blocks": nn.ModuleList([Block(layer(4, 4)) for _ in range(3)])}).requires_grad_(False)


def run(model, x):
    for block in model["blocks"]:
        x = block(x)
    return x.square().sum()


def run_plainly(model, x):
    for block in model["blocks"]:
        weight, bias = (part.float() for part in block.layer.parameters())
        x = x + nn.functional.linear(block.norm(x), weight, bias).tanh()
    return x.square().sum()


def gradient(function, model):
    start = torch.arange(8.0).view(2, 4).div(8).requires_grad_()
    (found,) = torch.autograd.grad(function(model, start * 1), start)
    return found


@pytest.mark.parametrize("checkpointed", [False, True])
def test_blocks_that_add_in_place_have_the_gradients_of_plain_ones(gradients, checkpointed):
    model = denoiser(nn.Linear)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradient(run, model)
    with gradients.gradients_through(model, torch.float32, CPU):
        if checkpointed:
            with gradients.checkpointed_blocks(model):
                found = gradient(run, model)
        else:
            found = gradient(run, model)
    assert torch.allclose(found, gradient(run_plainly, model), atol=1e-6)


def test_weights_that_are_made_for_a_call_are_made_again_and_not_kept(gradients):
    model = denoiser(CastLayer).to(torch.bfloat16)
    for block in model["blocks"]:
        block.norm.float()
    kept = []

    def keep(tensor):
        kept.append(tuple(tensor.shape))
        return tensor

    with gradients.gradients_through(model, torch.float32, CPU):
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            x = torch.ones(2, 4, requires_grad=True)
            loss = run(model, x * 1)
        assert (4, 4) not in kept  # no weight
        loss.backward()
    assert [block.layer.calls for block in model["blocks"]] == [2, 2, 2]
    with gradients.gradients_through(model, torch.float32, CPU):
        assert torch.allclose(gradient(run, model), gradient(run_plainly, model), atol=1e-6)


def test_whatever_happens_the_model_is_left_as_it_was(gradients):
    management = importlib.import_module("comfy.model_management")
    model = denoiser(CastLayer).to(torch.float8_e4m3fn)
    own = {"forward": lambda x: x}
    vars(model["blocks"][0].layer).update(own)
    with (
        pytest.raises(KeyError),
        gradients.gradients_through(model, torch.float32, CPU),
        gradients.checkpointed_blocks(model),
    ):
        assert management.in_training and "forward" in vars(model["blocks"][1].layer)
        raise KeyError
    assert not management.in_training
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.modules())
    replaced = [name for name, part in model.named_modules() if "forward" in vars(part)]
    assert replaced == ["blocks.0.layer"] and model["blocks"][0].layer.forward is own["forward"]
