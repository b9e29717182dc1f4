"""Letting gradients flow through a model whose weights were created in inference mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def trainable_parts(module: nn.Module) -> Iterator[None]:
    """Within this context, gradients flow through `module`, but its own weights get none: inference mode is off, and weights that
    were created in it are replaced, since autograd refuses them."""
    with torch.inference_mode(False), torch.enable_grad():
        make_trainable(module)
        asked = [weight for weight in module.parameters() if weight.requires_grad]
        module.requires_grad_(False)
        try:
            yield
        finally:
            for weight in asked:
                weight.requires_grad_(True)


def make_trainable(module: nn.Module) -> None:
    """Replace tensors that were created in inference mode by others in the same memory: weights, buffers, and values cached by
    modules. Quantized weights stay, since gradients can pass through their layers."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None and weight.is_inference() and not _is_quantized(weight):
                part._parameters[name] = nn.Parameter(_for_autograd(weight), requires_grad=weight.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.is_inference():
                part._buffers[name] = _for_autograd(buffer)
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and value.is_inference():
                vars(part)[name] = _for_autograd(value)
        for method in vars(type(part)).values():
            if hasattr(method, "cache_clear"):  # token positions, in Qwen-Image
                method.cache_clear()


def _is_quantized(weight: nn.Parameter) -> bool:
    """Whether a weight has its own parameter class, as in bitsandbytes: a plain parameter in its place would lack its scales. Tensors
    with their own class (torchao) keep their scales when cloned."""
    return type(weight) is not nn.Parameter and issubclass(type(weight), nn.Parameter)


def _for_autograd(tensor: Tensor) -> Tensor:
    """The same tensor in the same memory, usable by autograd; a copy if it has its own class or layout."""
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided:
        return tensor.clone()
    place = tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride()
    return torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(*place)
