"""Computing in fp32 while training on a model in fp16, where gradients vanish."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def can_be_raised(module: nn.Module) -> bool:
    """Whether all weights are plain tensors in memory: neither quantized nor loaded one by one."""
    plain = (torch.float16, torch.float32)
    return all(type(each) is nn.Parameter and not each.is_meta and each.dtype in plain for each in module.parameters())


@contextmanager
def in_full_precision(module: nn.Module) -> Iterator[None]:
    """Within this context, fp16 weights, buffers and inputs are fp32. Afterwards, the weights are bit for bit what they were, since
    fp32 can represent every fp16 number."""
    halves = [each for each in (*module.parameters(), *module.buffers()) if each.dtype == torch.float16]
    hook = module.register_forward_pre_hook(_raise_inputs, with_kwargs=True)
    try:
        for each in halves:
            each.data = each.data.float()
        yield
    finally:
        hook.remove()
        for each in halves:
            each.data = each.data.half()


def _raise_inputs(module: nn.Module, args: tuple, options: dict[str, Any]) -> tuple[Any, Any]:
    return _raised(args), _raised(options)


def _raised(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype == torch.float16 else value
    if isinstance(value, dict):
        return {name: _raised(each) for name, each in value.items()}
    return tuple(map(_raised, value)) if isinstance(value, tuple) else value
