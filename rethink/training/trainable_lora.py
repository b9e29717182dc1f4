"""A LoRA in training (arXiv 2106.09685): two small matrices next to each layer, which leave the model itself unchanged."""

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

ALL_LAYERS = ("",)  # for `target_layers`: every name ends in this


class TrainableLora(nn.Module):
    """down (A, Kaiming) and up (B, zero) for every layer by name, in float32; the scale is 1, so alpha equals the rank.

    It is attached to the layers by hooks, so the model's own modules, names and weights stay unchanged.
    dropout: the share of a layer's inputs that it does not see while gradients are computed.
    """

    def __init__(
        self, layers: Mapping[str, nn.Module], rank: int, seed: int, device: torch.device, dropout: float = 0.0
    ):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.names, self.rank = tuple(layers), rank
        self._layers = dict(layers)  # not registered as submodules: they are neither trained nor saved
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
        """Within this context, the layers compute with the LoRA."""
        with ExitStack() as stack:
            for name, down, up in zip(self.names, self.downs, self.ups):
                handle = self._layers[name].register_forward_hook(self._hook(down, up))
                stack.callback(handle.remove)
            yield

    @contextmanager
    def off(self) -> Iterator[None]:
        """Within this context, the layers compute without the LoRA."""
        self._on = False
        try:
            yield
        finally:
            self._on = True

    def factors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Copies of the current {layer: (down, up)}, on the CPU."""
        pairs = zip(self.names, self.downs, self.ups)
        return {name: (down.detach().cpu().clone(), up.detach().cpu().clone()) for name, down, up in pairs}

    @torch.no_grad()
    def load_factors(self, factors: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Load weights from `factors`."""
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

    With ALL_LAYERS, layers smaller than the rank are left out, such as Stable Diffusion's last one, with its four rows. Raises
    RethinkError for a rank larger than the smallest named layer, or, with ALL_LAYERS, larger than the largest.
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
