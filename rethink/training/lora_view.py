"""A training as shown by a node or a report: facts, curves, saves and previews."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .best_save import Save, mean_scores
from .lora_curves import MOST_POINTS, loss_curves
from .lora_run import LoraRecord


def view_of(record: LoraRecord, losses: Sequence[float] | None = None) -> dict[str, Any]:
    """A training as JSON for a page. losses: those of all steps so far, since the record only has those up to the newest save.

    File names are relative to the run's folder. curves: lists of [step, value]; smooth: the smoothed losses; rates: where the
    learning rate changes.
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
    """The mean speed so far; 0 before the first step."""
    return record.step * _samples(record) / record.seconds if record.seconds else 0.0


def thin(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most as many points as a plot can show, always including the last."""
    every = -(-len(points) // MOST_POINTS) or 1
    return list(points[::-1][::every][::-1])


def _samples(record: LoraRecord) -> int:
    """The number of samples per step."""
    return record.settings.get("batch", 1) * record.settings.get("accumulate", 1)


def _save(save: Save) -> dict[str, Any]:
    shown = {name: value for name, value in vars(save).items() if name != "losses"}
    return shown | {"means": mean_scores(save.scores)}
