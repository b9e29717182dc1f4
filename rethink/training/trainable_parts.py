"""A model through which gradients can flow, though its weights were made for inference alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def trainable_parts(module: nn.Module) -> Iterator[None]:
    """Within it gradients can flow through `module`, whose own weights get none: inference mode is off, and weights that were
    made in it are replaced, as autograd refuses them."""
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
    """Replace tensors that were made in inference mode by others in the same memory: weights, buffers, and what parts have
    computed and remember. Quantized weights stay: gradients pass through their layers as they are."""
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
            if hasattr(method, "cache_clear"):  # places of tokens, in Qwen-Image
                method.cache_clear()


def _is_quantized(weight: nn.Parameter) -> bool:
    """Whether it is a parameter of a kind of its own, as those of bitsandbytes are: a plain one in its place would lack the
    scales that it carries. Tensors of a kind of their own (torchao's) take them along when they are cloned."""
    return type(weight) is not nn.Parameter and issubclass(type(weight), nn.Parameter)


def _for_autograd(tensor: Tensor) -> Tensor:
    """The same tensor in the same memory, for autograd to keep; a copy where it is of a kind of its own."""
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided:
        return tensor.clone()
    place = tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride()
    return torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(*place)
