"""Gradients flow through weights that were made in inference mode, and through quantized ones as they are."""

import pytest
import torch

from rethink.training.trainable_parts import trainable_parts


def test_weights_and_what_was_remembered_in_inference_mode_can_be_trained_over():
    with torch.inference_mode():
        layer = torch.nn.Linear(3, 3)
        layer.places = torch.ones(3)
        places = layer.weight.data_ptr(), layer.places.data_ptr()
    asked = torch.nn.Linear(3, 3)
    module = torch.nn.ModuleList([layer, asked])
    x = torch.ones(1, 3, requires_grad=True)
    with torch.inference_mode(), trainable_parts(module):
        assert not any(weight.requires_grad for weight in module.parameters())
        (layer(x * 2) * layer.places).sum().backward()
    assert x.grad is not None and asked.weight.requires_grad
    assert (layer.weight.data_ptr(), layer.places.data_ptr()) == places  # as large models have no room for copies


class ScaledWeight(torch.nn.Parameter):
    """As quantized weights are: of no use without what it carries."""


class ScaledLinear(torch.nn.Linear):
    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight.detach() * self.weight.scale, self.bias)


def test_weights_of_a_kind_of_their_own_keep_what_they_carry():
    with torch.inference_mode():
        layer = ScaledLinear(3, 3)
        layer.weight = weight = ScaledWeight(torch.ones(3, 3), requires_grad=False)
        weight.scale = torch.full((3, 1), 2.0)
    x = torch.ones(1, 3, requires_grad=True)
    with torch.inference_mode(), trainable_parts(layer):
        (layer(x * 2)).sum().backward()
    assert x.grad.tolist() == [[12.0] * 3] and layer.weight is weight


@pytest.mark.parametrize("bits", [4, 8])
def test_gradients_pass_through_layers_of_bitsandbytes(bits):
    layers = pytest.importorskip("bitsandbytes").nn
    with torch.inference_mode():
        if bits == 4:
            layer = layers.Linear4bit(64, 64, quant_type="nf4", compute_dtype=torch.float32)
            layer.weight = layers.Params4bit(layer.weight.data, quant_type="nf4")  # as loading does
        else:
            layer = layers.Linear8bitLt(64, 64, has_fp16_weights=False)
        layer = layer.requires_grad_(False).to("cpu")  # which quantizes
        before = layer(torch.ones(1, 64))
    x = torch.ones(1, 64, requires_grad=True)
    with torch.inference_mode(), trainable_parts(layer):
        layer(x * 2).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    with torch.inference_mode():
        assert torch.allclose(layer(torch.ones(1, 64)), before)
