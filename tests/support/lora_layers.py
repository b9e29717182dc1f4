"""LoRA layers as files name them, and what a model's layers act with under a LoRA, here and in diffusers."""

import torch
import torch.nn.functional as F
from torch import nn

from rethink.editors.lora import lora_applied, read_lora
from tests.support.editor_miniatures import RANK, write_lora

DICE = torch.Generator()  # a test seeds it


def random(*shape):
    return torch.randn(*shape, generator=DICE) * 0.2


def kohya(stem, out, *shape, alpha=2.0 * RANK):
    """One layer of a file; shape: (in, …kernel)."""
    kernel = [1] * (len(shape) - 1)
    return {
        f"{stem}.lora_down.weight": random(RANK, *shape),
        f"{stem}.lora_up.weight": random(out, RANK, *kernel),
        f"{stem}.alpha": torch.tensor(alpha),
    }


def peft(stem, out, *shape):
    return {f"{stem}.lora_A.weight": random(RANK, *shape), f"{stem}.lora_B.weight": random(out, RANK)}


def read(editor, weights, folder, strength=1.0, metadata=None):
    return read_lora(write_lora(weights, folder, metadata=metadata), strength, editor.module, "the test")


def acts(layer):
    """(weight [out, …], bias) that a layer acts with, whatever lies over it."""
    own = getattr(layer, "base_layer", layer)
    with torch.no_grad():
        if not isinstance(own, nn.Conv2d):
            nothing = layer(torch.zeros(1, own.in_features))
            return (layer(torch.eye(own.in_features)) - nothing).T, nothing[0]
        side = own.kernel_size[0]
        inputs = torch.eye(own.in_channels * side * side).reshape(-1, own.in_channels, side, side)
        at = (1 + own.padding[0]) // own.stride[0]  # where the kernel lies on what a margin of one surrounds
        seen, nothing = (layer(F.pad(x, (1, 1, 1, 1)))[:, :, at, at] for x in (inputs, inputs[:1] * 0))
        return (seen - nothing).T, nothing[0]


def ours(editor, lora):
    """What the layers of a LoRA act with while it is in force."""
    modules = dict(editor.module.named_modules())
    with lora_applied(editor.module, [lora]):
        return {name: acts(modules[name]) for name in lora.layers}


def theirs(editor, file, strength=1.0):
    """The same of all layers that diffusers' own loader lays the file over."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    pipeline = editor._pipeline
    pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="it")
    try:
        pipeline.set_adapters(["it"], [strength])
        return {name: acts(layer) for name, layer in editor.module.named_modules() if isinstance(layer, BaseTunerLayer)}
    finally:
        pipeline.unload_lora_weights()


def assert_as_diffusers(editor, folder, weights, metadata=None, strength=1.0):
    """The same layers change, and they change alike."""
    lora, report = read(editor, weights, folder, strength, metadata)
    assert not report.unmatched and report.matched == len(lora.layers)
    modules = dict(editor.module.named_modules())
    before = {name: acts(modules[name]) for name in lora.layers}
    found, expected = ours(editor, lora), theirs(editor, folder / "lora.safetensors", strength)
    assert found.keys() == expected.keys() and found
    for name, (weight, bias) in expected.items():
        assert (weight - before[name][0]).abs().max() > 1e-3
        assert torch.allclose(found[name][0], weight, atol=3e-5), name
        assert torch.allclose(found[name][1], bias, atol=3e-5), name


def assert_adds(editor, folder, weights, deltas, metadata=None, unmatched=()):
    """These layers change and no others, by these differences; deltas: {place: [out, …]}."""
    lora, report = read(editor, weights, folder, metadata=metadata)
    assert report.unmatched == unmatched
    modules = dict(editor.module.named_modules())
    before = {name: acts(modules[name])[0] for name in lora.layers}
    found = ours(editor, lora)
    assert found.keys() == deltas.keys()
    for name, (weight, _) in found.items():
        assert torch.allclose(weight - before[name], deltas[name].flatten(1), atol=3e-5), name


def product(weights, stem, scale=1.0, down="lora_down", up="lora_up"):
    factors = weights[f"{stem}.{up}.weight"], weights[f"{stem}.{down}.weight"]
    return scale * factors[0].flatten(1) @ factors[1].flatten(1)
