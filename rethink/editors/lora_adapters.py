"""What a LoRA does to one layer: the kinds of adapters, as changes of its weight and as additions to its output.

Weights are [out, in, …kernel], the kernel only for convolutions. Sources: LoRA (arXiv 2106.09685), LoHa (FedPara,
arXiv 2108.06098) and LoKr as in LyCORIS (arXiv 2309.14859), DoRA (arXiv 2402.09353), OFT (arXiv 2306.07280), BOFT
(arXiv 2311.06243), GLoRA (arXiv 2306.07967). Where implementations differ, each follows the loader that reads its
files: PEFT for PEFT's names, ComfyUI for LyCORIS's.
"""

from dataclasses import dataclass, fields, replace
from typing import TypeGuard, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
A = TypeVar("A", bound="Adapter")
B = TypeVar("B", bound="Additive")


class Inseparable(Exception):
    """This kind of adapter changes a fused layer as a whole; it cannot be divided among the parts."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """kind: its name. `merged`: the weight [out, in, …] in float32, changed at a strength."""

    kind = "LoRA"

    def merged(self, weight: Tensor, strength: float) -> Tensor:
        raise NotImplementedError

    def of_rows(self: A, rows: Tensor) -> A:
        """The adapter for a layer that has only these rows of this layer. Raises Inseparable."""
        raise Inseparable

    def to(self: A, device: torch.device, dtype: torch.dtype) -> A:
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {
            name: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in tensors.items()
            if isinstance(tensor, Tensor)
        }
        inner = {name: adapter.to(device, dtype) for name, adapter in tensors.items() if isinstance(adapter, Adapter)}
        return replace(self, **moved, **inner)


class Additive(Adapter):
    """A change independent of the weight: it can be added to the layer's output, however the weight is stored."""

    scale: float

    def delta(self) -> Tensor:
        """What is added to the weight at strength 1."""
        raise NotImplementedError

    def output(self, layer: nn.Module, x: Tensor) -> Tensor:
        """What is added to the output of `layer` for the input x."""
        raise NotImplementedError

    def scaled(self: B, strength: float) -> B:
        return replace(self, scale=self.scale * strength)

    def merged(self, weight: Tensor, strength: float) -> Tensor:
        return weight + strength * self.delta().reshape(weight.shape)


@dataclass(frozen=True, eq=False)
class Product(Additive):
    """LoRA: scale · up · down, down [rank, in, …kernel], up [out, rank]."""

    down: Tensor
    up: Tensor
    scale: float

    def delta(self) -> Tensor:
        return self.scale * torch.einsum("or,r...->o...", self.up, self.down)

    def output(self, layer: nn.Module, x: Tensor) -> Tensor:
        inner = _through(layer, x, self.down)
        outer = _mixed(self.up, inner) if _is_conv(layer) else F.linear(inner, self.up)
        return outer * self.scale

    def of_rows(self, rows: Tensor) -> "Product":
        return replace(self, up=self.up[rows])


@dataclass(frozen=True, eq=False)
class Hadamard(Additive):
    """LoHa: scale · (up₁ down₁) ∘ (up₂ down₂), itself a product of rank r₁ r₂."""

    kind = "LoHa"

    down: Tensor
    up: Tensor
    down_2: Tensor
    up_2: Tensor
    scale: float

    def product(self) -> Product:
        up = (self.up[:, :, None] * self.up_2[:, None, :]).flatten(1)
        down = (self.down[:, None] * self.down_2[None]).flatten(0, 1)
        return Product(down, up, self.scale)

    def delta(self) -> Tensor:
        first, second = (torch.einsum("or,r...->o...", *pair) for pair in self._pairs())
        return self.scale * first * second

    def _pairs(self) -> tuple[tuple[Tensor, Tensor], ...]:
        return (self.up, self.down), (self.up_2, self.down_2)

    def output(self, layer: nn.Module, x: Tensor) -> Tensor:
        return self.product().output(layer, x)

    def of_rows(self, rows: Tensor) -> "Hadamard":
        return replace(self, up=self.up[rows], up_2=self.up_2[rows])


@dataclass(frozen=True, eq=False)
class Kronecker(Additive):
    """LoKr: scale · left ⊗ right, left [o₁, i₁], right [o₂, i₂, …kernel]; only these `rows` of its o₁ o₂, or all."""

    kind = "LoKr"

    left: Tensor
    right: Tensor
    scale: float
    rows: Tensor | None = None

    def delta(self) -> Tensor:
        left = self.left.reshape(*self.left.shape, *(1,) * (self.right.ndim - 2))
        return self._of_them(self.scale * torch.kron(left, self.right.contiguous()), 0)

    def output(self, layer: nn.Module, x: Tensor) -> Tensor:
        blocks = self.left.shape[1]
        if _is_conv(layer):
            parts = _through(layer, x.unflatten(1, (blocks, -1)).flatten(0, 1), self.right).unflatten(0, (-1, blocks))
            return self._of_them(torch.einsum("pq,bqo...->bpo...", self.left, parts).flatten(1, 2), 1) * self.scale
        parts = F.linear(x.unflatten(-1, (blocks, -1)), self.right)
        return self._of_them((self.left @ parts).flatten(-2), -1) * self.scale

    def of_rows(self, rows: Tensor) -> "Kronecker":
        return replace(self, rows=rows)

    def _of_them(self, tensor: Tensor, dimension: int) -> Tensor:
        return tensor if self.rows is None else tensor.index_select(dimension, self.rows)


@dataclass(frozen=True, eq=False)
class Difference(Additive):
    """The difference itself, in full."""

    kind = "full difference"

    diff: Tensor
    scale: float = 1.0

    def delta(self) -> Tensor:
        return self.scale * self.diff

    def output(self, layer: nn.Module, x: Tensor) -> Tensor:
        return _through(layer, x, self.diff) * self.scale

    def of_rows(self, rows: Tensor) -> "Difference":
        return replace(self, diff=self.diff[rows])


@dataclass(frozen=True, eq=False)
class Decomposed(Adapter):
    """DoRA as LyCORIS saves it (dora_scale [out, 1, …] or [1, in, …]) and ComfyUI's weight_decompose applies it."""

    kind = "DoRA"

    inner: Additive
    magnitude: Tensor

    def merged(self, weight: Tensor, strength: float) -> Tensor:
        changed = self.inner.merged(weight, 1.0)
        if self._by_output(len(weight)):  # the norm is the unchanged weight's, as in ComfyUI
            norm = _norm(weight, dim=tuple(range(1, weight.ndim)))
        else:
            norm = _norm(changed, dim=(0, *range(2, weight.ndim)))
        magnitude = self.magnitude.reshape(norm.shape)
        return weight + strength * (changed * (magnitude / (norm + torch.finfo(weight.dtype).eps)) - weight)

    def of_rows(self, rows: Tensor) -> "Decomposed":
        if not self._by_output(self.magnitude.numel()):
            raise Inseparable  # the norms of the columns are those of all parts together
        return replace(self, inner=self.inner.of_rows(rows), magnitude=self.magnitude[rows])

    def _by_output(self, outputs: int) -> bool:
        return self.magnitude.shape[0] == outputs


@dataclass(frozen=True, eq=False)
class Normalized(Adapter):
    """DoRA as PEFT saves (lora_magnitude_vector) and applies it: every row of the changed weight gets its length."""

    kind = "DoRA"

    inner: Additive
    magnitude: Tensor  # [out]

    def merged(self, weight: Tensor, strength: float) -> Tensor:
        changed = self.inner.merged(weight, strength)
        norm = _norm(changed, dim=tuple(range(1, weight.ndim)))
        return changed * (self.magnitude.reshape(norm.shape) / norm)

    def of_rows(self, rows: Tensor) -> "Normalized":
        return replace(self, inner=self.inner.of_rows(rows), magnitude=self.magnitude[rows])


@dataclass(frozen=True, eq=False)
class Rotated(Adapter):
    """OFT: every block of n rows is turned by its own orthogonal matrix; rotations [blocks, n, n].

    Multiplies by the strength twice, like ComfyUI, so that a LoRA of this kind has the same effect in both.
    """

    kind = "OFT"

    rotations: Tensor

    def merged(self, weight: Tensor, strength: float) -> Tensor:
        blocks = weight.reshape(*self.rotations.shape[:2], -1)
        turned = torch.einsum("knm,knc->kmc", self.rotations, blocks) - blocks
        return weight + strength**2 * turned.reshape(weight.shape)

    def of_rows(self, rows: Tensor) -> "Rotated":
        size = self.rotations.shape[1]
        first, count = int(rows[0]), len(rows)
        if first % size or count % size or not torch.equal(rows, torch.arange(first, first + count)):
            raise Inseparable
        return replace(self, rotations=self.rotations[first // size : (first + count) // size])


@dataclass(frozen=True, eq=False)
class Butterfly(Adapter):
    """BOFT: the rows are rotated in stages, each mixing rows that are farther apart; rotations [stages, blocks, n, n]."""

    kind = "BOFT"

    rotations: Tensor
    rescale: Tensor | None = None

    def merged(self, weight: Tensor, strength: float) -> Tensor:
        size = self.rotations.shape[-1]
        identity = torch.eye(size, device=weight.device, dtype=weight.dtype)
        turned = weight
        for stage, rotations in enumerate(self.rotations):
            apart = 2**stage * (size // 2)
            turned = turned.unflatten(0, (-1, 2, apart)).transpose(1, 2).flatten(0, 2).unflatten(0, (-1, size))
            turned = torch.einsum("bij,bj...->bi...", torch.lerp(identity, rotations, strength), turned)
            turned = turned.flatten(0, 1).unflatten(0, (-1, apart, 2)).transpose(1, 2).flatten(0, 2)
        if self.rescale is not None:
            turned = turned * self.rescale
        return weight + strength * (turned - weight)


@dataclass(frozen=True, eq=False)
class Generalized(Adapter):
    """GLoRA: scale · (W right + added): right [in, in], of low rank, mixes the inputs; added [out, in, …]."""

    kind = "GLoRA"

    right: Product  # its delta is [in, in]
    added: Product

    def merged(self, weight: Tensor, strength: float) -> Tensor:
        mixed = torch.einsum("oi...,ij->oj...", weight, self.right.delta())
        return weight + strength * (mixed + self.added.delta().reshape(weight.shape))

    def of_rows(self, rows: Tensor) -> "Generalized":
        return replace(self, added=self.added.of_rows(rows))


def rotation(blocks: Tensor, limit: float) -> Tensor:
    """The orthogonal matrices of OFT's blocks [..., n, n], by the Cayley transform; limit: of their norm, 0: none."""
    skew = blocks - blocks.transpose(-1, -2)
    norm = skew.norm() + 1e-8
    if 0 < limit < norm:
        skew = skew * limit / norm
    identity = torch.eye(blocks.shape[-1])
    return (identity + skew) @ torch.linalg.inv(identity - skew)


def _norm(weight: Tensor, dim: tuple[int, ...]) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=dim, keepdim=True)


def _is_conv(layer: nn.Module) -> TypeGuard[nn.Conv1d | nn.Conv2d | nn.Conv3d]:
    return isinstance(layer, CONVOLUTIONS)


def _through(layer: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    """The output of `layer` with another weight and no bias."""
    return layer._conv_forward(x, weight, None) if _is_conv(layer) else F.linear(x, weight)


def _mixed(matrix: Tensor, x: Tensor) -> Tensor:
    """The channels of x [batch, in, …] mixed by a matrix [out, in]."""
    return torch.einsum("oi,bi...->bo...", matrix, x)
