"""What a training looks like from outside: the facts, curves, saves and previews that a node and a report show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .best_save import Save, mean_scores
from .lora_curves import MOST_POINTS, loss_curves
from .lora_run import LoraRecord


def view_of(record: LoraRecord, losses: Sequence[float] | None = None) -> dict[str, Any]:
    """A training as JSON that a page draws. losses: of all steps so far, where the record has those of the newest save.

    Files are named as in the run's folder. curves: [step, value] each; smooth: the losses smoothed; rates: where the learning
    rate changes.
    """
    raw, smooth = loss_curves(record.losses if losses is None else losses)
    speed = samples_per_second(record)
    left = (record.steps - record.step) * _samples(record) / speed if speed else None
    return {
        "title": record.title,
        "editor": record.editor,
        "pairs": record.pairs,
        "held_out": len(record.held_out),
        "step": record.step,
        "steps": record.steps,
        "seconds": round(record.seconds, 1),
        "seconds_left": left and round(left, 1),
        "samples_per_second": speed and float(f"{speed:.3g}"),
        "memory": record.memory,
        "curves": {"raw": raw, "smooth": smooth, "rates": thin(record.rates)},
        "saves": [_save(save) for save in record.saves],
        "shown": [vars(pair) | {"means": mean_scores([pair.scores])} for pair in record.preview_pairs],
        "preview_editor": record.preview_editors,
        "best": record.best,
        "why": record.why,
        "stopped": record.stopped,
    }


def samples_per_second(record: LoraRecord) -> float:
    """How fast it has been so far; 0 before the first step."""
    return record.step * _samples(record) / record.seconds if record.seconds else 0.0


def thin(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """As many of the points as a plot can show, the last among them."""
    every = -(-len(points) // MOST_POINTS) or 1
    return list(points[::-1][::every][::-1])


def _samples(record: LoraRecord) -> int:
    """Of a step."""
    return record.settings.get("batch", 1) * record.settings.get("accumulate", 1)


def _save(save: Save) -> dict[str, Any]:
    shown = {name: value for name, value in vars(save).items() if name != "losses"}
    return shown | {"means": mean_scores(save.scores)}
