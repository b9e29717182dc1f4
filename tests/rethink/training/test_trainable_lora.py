"""A LoRA in training: it starts as nothing, hangs on the layers without changing them, and learns as if it lay in the weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rethink.errors import RethinkError
from rethink.training.trainable_lora import ALL_LAYERS, TrainableLora, target_layers


def make_model():
    torch.manual_seed(0)
    return nn.ModuleDict({"to_q": nn.Linear(6, 5), "conv": nn.Conv2d(4, 8, 3), "other": nn.Linear(6, 6)})


def make_lora(model, rank=2):
    return TrainableLora(target_layers(model, ("to_q", "conv"), rank), rank, seed=0, device=torch.device("cpu"))


def test_it_is_nothing_at_first_and_only_what_is_attached_counts():
    model, x = make_model(), torch.randn(3, 6)
    lora, before = make_lora(model), model["to_q"](x)
    assert lora.names == ("to_q", "conv") and not set(lora.parameters()) & set(model.parameters())
    with lora.attached():
        assert torch.equal(model["to_q"](x), before)
        nn.init.normal_(lora.ups[0])
        changed = model["to_q"](x)
        with lora.off():
            assert torch.equal(model["to_q"](x), before)
    down, up = lora.factors()["to_q"]
    assert torch.allclose(changed, before + x @ down.T @ up.T, atol=1e-6)
    assert torch.equal(model["to_q"](x), before) and not model["to_q"]._forward_hooks


def test_gradients_are_those_of_a_weight_with_the_product_added():
    model = make_model()
    lora = make_lora(model)
    image, x = torch.randn(2, 4, 5, 5), torch.randn(3, 6)
    for up in lora.ups:
        nn.init.normal_(up)
    with lora.attached():
        (model["to_q"](x).square().sum() + model["conv"](image).square().sum()).backward()
    downs, ups = (
        [weight.detach().clone().requires_grad_() for weight in weights] for weights in (lora.downs, lora.ups)
    )
    linear, conv = model["to_q"], model["conv"]
    plain = F.linear(x, linear.weight + ups[0] @ downs[0], linear.bias).square().sum()
    kernel = conv.weight + (ups[1] @ downs[1].flatten(1)).view_as(conv.weight)
    (plain + F.conv2d(image, kernel, conv.bias).square().sum()).backward()
    for found, expected in zip(lora.parameters(), (*downs, *ups)):
        assert torch.allclose(found.grad, expected.grad, rtol=1e-4, atol=1e-4)


def test_a_rank_larger_than_a_layer_is_refused():
    with pytest.raises(RethinkError, match="^rank: expected 1 to 5"):
        make_lora(make_model(), rank=6)


def test_all_layers_are_the_linear_ones_and_the_convolutions():
    model = nn.ModuleDict({"norm": nn.GroupNorm(2, 4), **make_model()})
    assert list(target_layers(model, ALL_LAYERS, 2)) == ["to_q", "conv", "other"]
    assert list(target_layers(model, ("to_q",), 2)) == ["to_q"]


def test_of_all_layers_those_smaller_than_the_rank_are_left_out():
    model = make_model()
    assert list(target_layers(model, ALL_LAYERS, 6)) == ["conv", "other"]
    for rank in (0, 9):
        with pytest.raises(RethinkError, match="^rank: expected 1 to 8, the size of this editor's largest layer"):
            target_layers(model, ALL_LAYERS, rank)


def test_factors_come_back():
    one, other = make_lora(make_model()), make_lora(make_model())
    nn.init.normal_(one.ups[1])
    other.load_factors(one.factors())
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(one.parameters(), other.parameters()))


def test_dropout_hides_inputs_while_it_learns_and_never_after():
    layer, x = nn.Linear(64, 8), torch.ones(1, 64)
    lora = TrainableLora({"to_q": layer}, 4, 0, torch.device("cpu"), dropout=0.5)
    nn.init.normal_(lora.ups[0])
    with lora.attached():
        torch.manual_seed(0)
        one, other = layer(x), layer(x)
        with torch.no_grad():
            quiet = [layer(x), layer(x)]
    assert not torch.allclose(one, other) and torch.equal(*quiet)
