"""A pair as training sees it: in latents, alone or with others of its sizes as a batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

TEXT, TEXT_MASK = "encoder_hidden_states", "encoder_hidden_states_mask"  # of a denoiser whose texts differ in length
PLACES = ("img_ids", "txt_ids")  # of tokens; denoisers take those of the first row for all
_CHANGED = 0.1  # of the spread of an image's latents: what differs by more has been changed


@dataclass(frozen=True, eq=False)
class Example:
    """A pair in latents, or several of the same sizes as one batch.

    target: clean latents [B, …]. source: those of the source, as the denoiser takes them; none of them, [0, …], where it
    sees no source. inputs: what else it is called with, tensors whose first side is the batch. null: the same for the empty
    instruction; {} where it is never dropped. references: latents of the further images, as the denoiser takes them: each
    [B, c, h, w] of its own size, or all their tokens as one [B, n, c].
    """

    target: Tensor
    source: Tensor
    inputs: dict[str, Any]
    null: dict[str, Any]
    references: tuple[Tensor, ...] = ()

    @property
    def tokens(self) -> int:
        """How many places the latents of one image have."""
        return self.target.shape[1] if self.target.ndim == 3 else math.prod(self.target.shape[2:])

    @property
    def shapes(self) -> str:
        """The same for examples that may be in one batch: texts with a mask may differ in length, places of tokens may not."""
        texts = [_without_length(part) for part in (self.inputs, self.null)]
        places = [_digest(part[name]) for part in texts for name in PLACES if name in part]
        parts = [self.target, self.source, *texts, self.references, places]
        return repr([map_tensors(value, lambda tensor: tuple(tensor.shape)) for value in parts])

    def to(self, device: torch.device) -> Example:
        return Example(*(map_tensors(value, lambda tensor: tensor.to(device)) for value in vars(self).values()))


def join_examples(examples: list[Example]) -> Example:
    """Examples of the same `shapes` as one batch, shorter texts padded."""
    rows = [part for example in examples for part in (example.inputs, example.null) if TEXT_MASK in part]
    length = max((part[TEXT_MASK].shape[1] for part in rows), default=0)
    padded = [
        replace(each, inputs=_pad_text(each.inputs, length), null=_pad_text(each.null, length)) for each in examples
    ]
    joined = Example(*(_join([getattr(example, name) for example in padded]) for name in vars(padded[0])))
    if all(bool(part[TEXT_MASK].all()) for part in rows) and len({part[TEXT_MASK].shape for part in rows}) == 1:
        for part in (joined.inputs, joined.null):  # as the editor does: attention is faster without
            part.pop(TEXT_MASK, None)
    return joined


def _pad_text(inputs: dict[str, Any], length: int) -> dict[str, Any]:
    """Inputs with a text of `length` places, of which the further ones are masked; as they are where texts have no mask."""
    if TEXT_MASK not in inputs:
        return inputs
    text, mask = inputs[TEXT], inputs[TEXT_MASK]
    more = length - mask.shape[1]
    padded = {TEXT: nn.functional.pad(text, (0, 0, 0, more)), TEXT_MASK: nn.functional.pad(mask, (0, more))}
    return {**inputs, **padded}


def _digest(tensor: Tensor) -> str:
    return hashlib.blake2b(tensor.float().cpu().numpy().tobytes(), digest_size=8).hexdigest()


def _without_length(inputs: dict[str, Any]) -> dict[str, Any]:
    """What may not differ in a batch."""
    if TEXT_MASK not in inputs:
        return inputs
    return {name: value for name, value in inputs.items() if name not in (TEXT, TEXT_MASK)}


def changed_places(example: Example) -> Tensor:
    """Where the edit changes the latents: 0 or 1 for every place of a batch, as it broadcasts over the target.

    The source's latents are brought to the scale of the target's first, as some denoisers take them in another one: the
    median of how the two compare is that of what stays.
    """
    target, source = example.target.float(), example.source.float()
    over = tuple(range(1, target.ndim))
    ratio = (target / torch.where(source == 0, torch.ones_like(source), source)).flatten(1).median(1).values
    scale = ratio.view(-1, *(1,) * (target.ndim - 1))
    features = 2 if target.ndim == 3 else 1  # tokens [B, n, c], or latents [B, c, h, w]
    difference = (target - scale * source).abs().mean(features, True)
    return (difference > _CHANGED * target.std(over, keepdim=True)).float()


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same with every tensor in it changed."""
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
        return torch.cat(values) if first.ndim and len(first) == 1 else first  # places of tokens are the same for all
    if isinstance(first, dict):
        return {name: _join([value[name] for value in values]) for name in first}
    if isinstance(first, tuple):
        return tuple(map(_join, map(list, zip(*values))))
    return first * len(values) if isinstance(first, list) and len(first) == 1 else first


def choose_rows(chosen: Tensor, ones: Any, others: Any) -> Any:
    """Rows of `ones` where `chosen` [B], of `others` elsewhere; what has no rows, or other ones, stays that of `others`."""
    if isinstance(others, dict):
        return {name: choose_rows(chosen, ones.get(name), value) for name, value in others.items()}
    if not isinstance(others, Tensor) or not isinstance(ones, Tensor) or ones.shape != others.shape or not others.ndim:
        return others
    if len(others) != len(chosen):
        return others
    return torch.where(chosen.to(others.device).view(-1, *(1,) * (others.ndim - 1)), ones, others)
