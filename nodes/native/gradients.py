"""Gradients through ComfyUI's own models, which are written for inference: what blocks gradients is replaced while one
trains, then restored.

Nothing here changes what a model computes, and no weight of it is touched.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...rethink.editors.lora_adapters import CONVOLUTIONS
from ..comfy.modules import comfy_module

_NORMS = (nn.LayerNorm, nn.RMSNorm)
_CONTAINERS = (nn.ModuleList, nn.Sequential)


@contextmanager
def gradients_through(denoiser: nn.Module, dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Make autograd work through a loaded denoiser that computes in `dtype` on `device`.

    ComfyUI's fused operations, which have no backward pass, are replaced by plain ones. Layers whose weights are
    converted before use (fp8, four bits, GGUF, offloaded) convert them again in the backward pass instead of keeping
    them. Norms get a copy of their input, since blocks add to it in place.
    """
    management = comfy_module("comfy.model_management")
    with ExitStack() as stack:
        for layer in denoiser.modules():
            if isinstance(layer, _NORMS):
                stack.callback(layer.register_forward_pre_hook(_copy_input).remove)
            elif _makes_weights(layer, dtype, device):
                stack.enter_context(_forward_replaced(layer, _recomputed))
        stack.callback(setattr, management, "in_training", getattr(management, "in_training", False))
        management.in_training = True
        yield


@contextmanager
def checkpointed_blocks(denoiser: nn.Module) -> Iterator[None]:
    """Checkpoint the blocks of a denoiser: they recompute their activations in the backward pass (arXiv 1604.06174)."""
    with ExitStack() as stack:
        for block in _blocks(denoiser):
            stack.enter_context(_forward_replaced(block, _checkpointed))
        yield


def without_fast_attention(kernel: Callable[..., Tensor], *args: Any, **options: Any) -> Tensor:
    """For transformer_options: PyTorch's attention, whatever ComfyUI uses; not all kinds have a backward pass."""
    return comfy_module("comfy.ldm.modules.attention").attention_pytorch(*args, **options)


def _copy_input(norm: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    first, *others = inputs
    return (first.clone() if first.requires_grad else first, *others)


def _makes_weights(layer: nn.Module, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a linear layer or convolution computes with other weights than those it holds."""
    if not (hasattr(layer, "in_features") or isinstance(layer, CONVOLUTIONS)):
        return False
    weight = getattr(layer, "weight", None)
    plain = type(weight) is nn.Parameter and weight.dtype == dtype and weight.device == device
    return not plain or bool(getattr(layer, "weight_function", ()))


@contextmanager
def _forward_replaced(module: nn.Module, change: Callable[[Callable], Callable]) -> Iterator[None]:
    """Replace the forward of `module`, which may itself be a replacement, with what `change` makes of it."""
    own = vars(module).get("forward")
    module.forward = change(module.forward)
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _recomputed(forward: Callable) -> Callable:
    def compute(x: Tensor, *args: Any, **options: Any) -> Tensor:
        if not (torch.is_grad_enabled() and isinstance(x, Tensor) and x.requires_grad):
            return forward(x, *args, **options)
        return _Recomputed.apply(x, lambda again: forward(again, *args, **options))

    return compute


class _Recomputed(torch.autograd.Function):
    """A frozen layer that keeps only its input for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.compute = compute
        return compute(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            output = ctx.compute(x)
        return torch.autograd.grad(output, x, gradients[0])[0], None


def _blocks(denoiser: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules in a model's lists of blocks that are not lists themselves."""
    lists = [child for child in denoiser.children() if isinstance(child, _CONTAINERS)]
    for each in lists:
        yield from _parts(each)


def _parts(container: nn.Module) -> Iterator[nn.Module]:
    for part in container.children():
        if isinstance(part, _CONTAINERS):
            yield from _parts(part)
        else:
            yield part


def _checkpointed(forward: Callable) -> Callable:
    def run(*args: Any, **options: Any) -> Any:
        # Copies: blocks add to their inputs in place, but the originals are needed again.
        return forward(*map(_copied, args), **{name: _copied(value) for name, value in options.items()})

    def compute(*args: Any, **options: Any) -> Any:
        return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False, **options)

    return compute


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
