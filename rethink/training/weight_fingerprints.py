"""What tells models of the same name apart: names, shapes, formats and some numbers of their weights."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

SOME = 32  # numbers of every weight


def fingerprint_weights(module: nn.Module) -> str:
    """The same for the same weights in the same format, now and after a restart, on whatever device they lie."""
    digest = hashlib.blake2b(digest_size=16)
    for place, part in module.named_modules():
        for name, weight in part.named_parameters(recurse=False):
            kind = type(weight).__name__  # quantized ones may have classes of their own
            digest.update(f"{place}.{name} {kind} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(_some_numbers(_offloaded(part, name) if weight.is_meta else weight.data))
    return digest.hexdigest()


def _some_numbers(values: Tensor) -> bytes:
    if type(values) is not Tensor:  # a quantized one, of which not every kind can be cut
        values = values.dequantize()
    some = torch.atleast_1d(values)[:SOME].flatten()[:SOME]  # without a copy of the whole where channels come last
    return some.float().cpu().numpy().tobytes()


def _offloaded(part: nn.Module, name: str) -> Tensor:
    """A weight that accelerate brings to the device only while its layer computes; none of it where it is not kept."""
    hook = getattr(part, "_hf_hook", None)
    maps = [getattr(each, "weights_map", None) for each in getattr(hook, "hooks", (hook,))]
    return next((weights[name] for weights in maps if weights is not None), torch.empty(0))
