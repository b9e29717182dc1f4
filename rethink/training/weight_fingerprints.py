"""Fingerprints to tell models of the same name apart: from names, shapes, formats and a few values of their weights."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

SOME = 32  # values per weight


def fingerprint_weights(module: nn.Module) -> str:
    """A fingerprint that is the same for the same weights in the same format, across restarts and devices."""
    digest = hashlib.blake2b(digest_size=16)
    for place, part in module.named_modules():
        for name, weight in part.named_parameters(recurse=False):
            kind = type(weight).__name__  # quantized weights may have their own classes
            digest.update(f"{place}.{name} {kind} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(_some_numbers(_offloaded(part, name) if weight.is_meta else weight.data))
    return digest.hexdigest()


def _some_numbers(values: Tensor) -> bytes:
    if type(values) is not Tensor:  # quantized; not every kind can be sliced
        values = values.dequantize()
    some = torch.atleast_1d(values)[:SOME].flatten()[:SOME]  # avoids copying the whole in channels-last layout
    return some.float().cpu().numpy().tobytes()


def _offloaded(part: nn.Module, name: str) -> Tensor:
    """A weight that accelerate moves to the device only while its layer computes; an empty tensor if it is not found."""
    hook = getattr(part, "_hf_hook", None)
    maps = [getattr(each, "weights_map", None) for each in getattr(hook, "hooks", (hook,))]
    return next((weights[name] for weights in maps if weights is not None), torch.empty(0))
