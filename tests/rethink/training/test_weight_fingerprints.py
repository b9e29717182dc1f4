"""Fingerprints of models: other weights and other formats are told apart, other places are not."""

import pytest
import torch
from torch import nn

from rethink.training.weight_fingerprints import fingerprint_weights


def make_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Linear(40, 50), nn.Linear(50, 40))
    model[2].scale = nn.Parameter(torch.tensor(2.0))
    return model


def test_the_same_weights_are_one_model():
    model = make_model()
    before = fingerprint_weights(model)
    assert fingerprint_weights(make_model()) == before
    assert fingerprint_weights(model.to(memory_format=torch.channels_last)) == before
    with torch.inference_mode():
        assert fingerprint_weights(make_model()) == before


def test_a_number_a_name_or_a_format_makes_another_model():
    renamed, scaled, changed = make_model(), make_model(), make_model()
    renamed.add_module("other", renamed[1])
    del renamed[1]
    scaled[2].scale.data += 1
    changed[1].weight.data[0, 3] += 0.01
    models = [make_model(), renamed, scaled, changed, make_model().to(torch.bfloat16)]
    assert len({fingerprint_weights(model) for model in models}) == len(models)


def test_weights_that_are_offloaded_layer_by_layer_are_read_where_they_are():
    offload = pytest.importorskip("accelerate").cpu_offload
    model, other = make_model(), make_model()
    before = fingerprint_weights(model)
    other[1].weight.data += 1
    for each in (model, other):
        offload(each, torch.device("cpu"))
    assert model[1].weight.is_meta
    assert fingerprint_weights(model) == before != fingerprint_weights(other)


def test_packed_weights_are_told_apart():
    layers = pytest.importorskip("bitsandbytes").nn

    def pack(seed):
        torch.manual_seed(seed)
        return nn.Sequential(layers.Linear4bit(64, 64, bias=False, quant_type="nf4")).to("cpu")

    assert fingerprint_weights(pack(0)) == fingerprint_weights(pack(0)) != fingerprint_weights(pack(1))
