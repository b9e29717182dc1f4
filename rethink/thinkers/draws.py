"""A critique as the mean of several sampled answers, as EditScore (arXiv 2509.23909) averages its passes."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from torch import Tensor

from ..options import MAX_SEED
from ..steps import ChecklistItem, Critique
from .critique import Thinker, critique

TEMPERATURE = 0.7  # at least; at 0 every answer would be the same
AT_ONCE = 8  # answers that a local model writes as one batch, which takes memory
_STRIDE = 0x5DEECE66D  # between the seeds of draws, so that they do not collide with those of other candidates or turns


def critique_draws(
    thinker: Thinker,
    source: Tensor,
    edited: Sequence[Tensor],
    instruction: str,
    prompts: Sequence[str],
    seeds: Sequence[int],
    draws: int,
    **options: Any,  # more than eight parameters: those of `critique`, and how often
) -> list[Critique]:
    """`critique` with every image judged `draws` times and mean scores. options: for `critique`."""
    if draws == 1:
        return critique(thinker, source, edited, instruction, prompts, seeds, **options)
    thinker = replace(thinker, temperature=max(thinker.temperature, TEMPERATURE))
    asked = [
        (image, prompt, (seed + number * _STRIDE) % (MAX_SEED + 1))
        for image, prompt, seed in zip(edited, prompts, seeds, strict=True)
        for number in range(draws)
    ]
    size = max(AT_ONCE, len(edited), getattr(thinker.chat, "concurrency", 1))
    found: list[Critique] = []
    for start in range(0, len(asked), size):
        images, words, numbers = zip(*asked[start : start + size])
        found += critique(thinker, source, images, instruction, words, numbers, **options)
    return [mean_critique(found[start : start + draws]) for start in range(0, len(found), draws)]


def mean_critique(found: Sequence[Critique]) -> Critique:
    """Combine several critiques of one image: mean scores, the text of the critique nearest to them, and the majority
    for each checklist item. Without scores, it is the first of those that say most. There must be at least one."""
    scored = [each for each in found if each.semantic is not None and each.quality is not None]
    if not scored:
        return next((each for each in found if each.status == "unparsed"), found[0])
    draws = tuple((float(each.semantic or 0), float(each.quality or 0)) for each in scored)
    semantic, quality = (fmean(scores) for scores in zip(*draws))
    distances = [abs(s - semantic) + abs(q - quality) for s, q in draws]
    nearest = scored[distances.index(min(distances))]
    lost = len(found) - len(scored)
    note = f"{nearest.note} {lost} of {len(found)} answers had no scores.".strip() if lost else nearest.note
    status = "repaired" if lost else nearest.status
    items = tuple(map(_majority, zip(*(each.checklist for each in scored))))
    return replace(nearest, status=status, semantic=semantic, quality=quality, checklist=items, note=note, draws=draws)


def _majority(items: Sequence[ChecklistItem]) -> ChecklistItem:
    """One item as most critiques verified it; None if there is a tie."""
    votes = sum({True: 1, False: -1, None: 0}[item.passed] for item in items)
    return ChecklistItem(items[0].text, None if votes == 0 else votes > 0)
