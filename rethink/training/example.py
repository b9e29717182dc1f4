"""A pair as training sees it: in latents, alone or batched with others of the same sizes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

# Inputs of a denoiser with texts of varying length.
TEXT, TEXT_MASK = "encoder_hidden_states", "encoder_hidden_states_mask"
PLACES = ("img_ids", "txt_ids")  # token positions; denoisers use those of the first row for all
_CHANGED = 0.1  # latents that differ by more than this share of the image's standard deviation count as changed


@dataclass(frozen=True, eq=False)
class Example:
    """A pair in latents, or several of the same sizes as one batch.

    target: clean latents [B, …]. source: latents of the source as the denoiser takes them; empty, [0, …], if it sees no source.
    inputs: the denoiser's other inputs, tensors with the batch as their first dimension. null: the same for the empty instruction;
    {} if that is never dropped. references: latents of the other images as the denoiser takes them: each [B, c, h, w] of its own
    size, or the tokens of all as one [B, n, c].
    """

    target: Tensor
    source: Tensor
    inputs: dict[str, Any]
    null: dict[str, Any]
    references: tuple[Tensor, ...] = ()

    @property
    def tokens(self) -> int:
        """The number of positions in the latents of one image."""
        return self.target.shape[1] if self.target.ndim == 3 else math.prod(self.target.shape[2:])

    @property
    def shapes(self) -> str:
        """A string that is the same for examples that may share a batch: masked texts may differ in length, token positions may
        not."""
        texts = [_without_length(part) for part in (self.inputs, self.null)]
        places = [_digest(part[name]) for part in texts for name in PLACES if name in part]
        parts = [self.target, self.source, *texts, self.references, places]
        return repr([map_tensors(value, lambda tensor: tuple(tensor.shape)) for value in parts])

    def to(self, device: torch.device) -> Example:
        return Example(*(map_tensors(value, lambda tensor: tensor.to(device)) for value in vars(self).values()))


def join_examples(examples: list[Example]) -> Example:
    """Join examples of the same `shapes` into one batch, with shorter texts padded."""
    rows = [part for example in examples for part in (example.inputs, example.null) if TEXT_MASK in part]
    length = max((part[TEXT_MASK].shape[1] for part in rows), default=0)
    padded = [
        replace(each, inputs=_pad_text(each.inputs, length), null=_pad_text(each.null, length)) for each in examples
    ]
    joined = Example(*(_join([getattr(example, name) for example in padded]) for name in vars(padded[0])))
    if all(bool(part[TEXT_MASK].all()) for part in rows) and len({part[TEXT_MASK].shape for part in rows}) == 1:
        for part in (joined.inputs, joined.null):  # as the editor does: attention is faster without a mask
            part.pop(TEXT_MASK, None)
    return joined


def _pad_text(inputs: dict[str, Any], length: int) -> dict[str, Any]:
    """Inputs with their text padded to `length`, with the padding masked; unchanged if texts have no mask."""
    if TEXT_MASK not in inputs:
        return inputs
    text, mask = inputs[TEXT], inputs[TEXT_MASK]
    more = length - mask.shape[1]
    padded = {TEXT: nn.functional.pad(text, (0, 0, 0, more)), TEXT_MASK: nn.functional.pad(mask, (0, more))}
    return {**inputs, **padded}


def _digest(tensor: Tensor) -> str:
    return hashlib.blake2b(tensor.float().cpu().numpy().tobytes(), digest_size=8).hexdigest()


def _without_length(inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs that may not differ in shape within a batch."""
    if TEXT_MASK not in inputs:
        return inputs
    return {name: value for name, value in inputs.items() if name not in (TEXT, TEXT_MASK)}


def changed_places(example: Example) -> Tensor:
    """Where the edit changes the latents: 0 or 1 for every position of a batch, broadcastable over the target.

    The source's latents are first scaled to the target's, since some denoisers take them at another scale: the median ratio of
    the two is that of the unchanged positions.
    """
    target, source = example.target.float(), example.source.float()
    over = tuple(range(1, target.ndim))
    ratio = (target / torch.where(source == 0, torch.ones_like(source), source)).flatten(1).median(1).values
    scale = ratio.view(-1, *(1,) * (target.ndim - 1))
    features = 2 if target.ndim == 3 else 1  # tokens [B, n, c], or latents [B, c, h, w]
    difference = (target - scale * source).abs().mean(features, True)
    return (difference > _CHANGED * target.std(over, keepdim=True)).float()


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same structure with `change` applied to every tensor in it."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: map_tensors(value[name], change) for name in sorted(value)}
    if isinstance(value, tuple):
        return tuple(map_tensors(each, change) for each in value)
    return value


def _join(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(values) if first.ndim and len(first) == 1 else first  # token positions are the same for all
    if isinstance(first, dict):
        return {name: _join([value[name] for value in values]) for name in first}
    if isinstance(first, tuple):
        return tuple(map(_join, map(list, zip(*values))))
    return first * len(values) if isinstance(first, list) and len(first) == 1 else first


def choose_rows(chosen: Tensor, ones: Any, others: Any) -> Any:
    """Rows of `ones` where `chosen` [B], of `others` elsewhere; values without matching rows stay those of `others`."""
    if isinstance(others, dict):
        return {name: choose_rows(chosen, ones.get(name), value) for name, value in others.items()}
    if not isinstance(others, Tensor) or not isinstance(ones, Tensor) or ones.shape != others.shape or not others.ndim:
        return others
    if len(others) != len(chosen):
        return others
    return torch.where(chosen.to(others.device).view(-1, *(1,) * (others.ndim - 1)), ones, others)
