"""A LoRA in training (arXiv 2106.09685): two small matrices beside each layer, which leave the model itself as it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..editors.lora_adapters import CONVOLUTIONS, Product
from ..editors.lora_names import shape_of
from ..errors import RethinkError

ALL_LAYERS = ("",)  # of `target_layers`: the end of every name


class TrainableLora(nn.Module):
    """down (A, Kaiming) and up (B, zero) of every layer by its name, in float32; the scale is 1, so alpha is the rank.

    It hangs on the layers by hooks, so the model's own parts, names and weights stay what they are, whatever holds them.
    dropout: the share of a layer's inputs that it does not see while gradients are computed.
    """

    def __init__(
        self, layers: Mapping[str, nn.Module], rank: int, seed: int, device: torch.device, dropout: float = 0.0
    ):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.names, self.rank = tuple(layers), rank
        self._layers = dict(layers)  # not as modules of ours: nothing of them is trained or saved
        self._on, self._dropout = True, dropout
        downs, ups = [], []
        for layer in layers.values():
            rows, *columns = shape_of(layer)
            down = torch.empty(rank, *columns)
            nn.init.kaiming_uniform_(down, a=5**0.5, generator=generator)
            downs.append(down)
            ups.append(torch.zeros(rows, rank))
        self.downs = nn.ParameterList(down.to(device) for down in downs)
        self.ups = nn.ParameterList(up.to(device) for up in ups)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Within it the layers compute with the LoRA over them."""
        with ExitStack() as stack:
            for name, down, up in zip(self.names, self.downs, self.ups):
                handle = self._layers[name].register_forward_hook(self._hook(down, up))
                stack.callback(handle.remove)
            yield

    @contextmanager
    def off(self) -> Iterator[None]:
        """Within it the layers compute without."""
        self._on = False
        try:
            yield
        finally:
            self._on = True

    def factors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """{layer: (down, up)} as they are now, on the CPU."""
        pairs = zip(self.names, self.downs, self.ups)
        return {name: (down.detach().cpu().clone(), up.detach().cpu().clone()) for name, down, up in pairs}

    @torch.no_grad()
    def load_factors(self, factors: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Take the weights that `factors` gave."""
        for name, down, up in zip(self.names, self.downs, self.ups):
            down.copy_(factors[name][0])
            up.copy_(factors[name][1])

    def _hook(self, down: nn.Parameter, up: nn.Parameter) -> Any:
        def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if not self._on:
                return output
            x = inputs[0]
            if self._dropout and torch.is_grad_enabled():
                x = nn.functional.dropout(x, self._dropout)
            return output + Product(down.to(x.dtype), up.to(x.dtype), 1.0).output(layer, x)

        return add


def target_layers(denoiser: nn.Module, suffixes: Sequence[str], rank: int) -> dict[str, nn.Module]:
    """The linear layers and convolutions of a denoiser whose names end in one of `suffixes`.

    Of ALL_LAYERS, those that are smaller than the rank are left out, such as the last one of Stable Diffusion, with its four rows.
    Raises RethinkError for a rank that is larger than one of the others, or than all.
    """
    ends = tuple(f".{suffix}" if suffix else "" for suffix in suffixes)
    found = {
        name: layer
        for name, layer in denoiser.named_modules()
        if f".{name}".endswith(ends) and (hasattr(layer, "in_features") or isinstance(layer, CONVOLUTIONS))
    }
    sizes = {name: _largest_rank(layer) for name, layer in found.items()}
    which, most = ("largest", max(sizes.values())) if suffixes == ALL_LAYERS else ("smallest", min(sizes.values()))
    if not 1 <= rank <= most:
        raise RethinkError(f"rank: expected 1 to {most}, the size of this editor's {which} layer, got {rank}.")
    return {name: layer for name, layer in found.items() if sizes[name] >= rank}


def _largest_rank(layer: nn.Module) -> int:
    rows, *columns = shape_of(layer)
    return min(rows, math.prod(columns))
