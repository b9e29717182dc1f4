"""The HTML report of a thinker's reinforcement learning: rewards and their parts, held-out success and turns by save, and answers."""

from __future__ import annotations

import html
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..atomic import atomic_write
from ..pairs.jsonl_log import JsonlLog
from ..records import replace_surrogates
from .thinker_busy import describe_busy, mean_busy

PAGE = "report.html"
LOG = "log.jsonl"
LATEST = 3  # number of steps whose samples are shown
_SUMS = ("groups_skipped", "groups", "answers_without_reward")

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top }
.steps td { font-variant-numeric: tabular-nums } .best { font-weight: 600 } .scroll { overflow-x: auto }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font: inherit } article { margin: 1.5rem 0 } small { opacity: .75 }
"""


def write_page(work: Path, every: int) -> None:
    """Write `report.html` next to the log in `work`. every: steps per row of the table."""
    records = list(JsonlLog(work / LOG))
    steps = [record for record in records if "groups" in record]
    measured = [record for record in records if "held_out" in record]
    sampled = [record for record in steps if record["samples"]][-LATEST:][::-1]
    parts = [
        _table(steps, measured, every),
        _explain(steps),
        *(_sample(record["step"], each) for record in sampled for each in record["samples"]),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(work.name)}</title>\n<style>{_STYLE}</style>\n<h1>{html.escape(work.name)}</h1>\n"
        + "\n".join(parts)
        + "\n"
    )
    with atomic_write(work / PAGE) as part:
        part.write_text(replace_surrogates(page), encoding="utf-8")


def _table(steps: Sequence[dict[str, Any]], measured: Sequence[dict[str, Any]], every: int) -> str:
    """A row for the start, if it was measured, and one for every `every` steps with the measurement at their end."""
    names = list(dict.fromkeys(name for record in steps for name in record["parts"]))
    best = max((record["step"] for record in measured if record["best"]), default=None)
    rows: dict[int, list[dict[str, Any]]] = {-(-record["step"] // every): [] for record in (*measured, *steps)}
    for record in steps:
        rows[-(-record["step"] // every)].append(record)
    heads = "".join(f"<th>{html.escape(name)}" for name in names)
    lines = [
        _row(rows[row], [each for each in measured if -(-each["step"] // every) == row], names, best)
        for row in sorted(rows)
    ]
    return (
        f'<div class="scroll"><table class="steps"><tr><th>steps<th>reward{heads}<th>questions skipped<th>answers without reward'
        f"<th>held-out success<th>turns{''.join(lines)}</table></div>"
    )


def _row(
    steps: Sequence[dict[str, Any]], measured: Sequence[dict[str, Any]], names: Sequence[str], best: int | None
) -> str:
    first, last = (steps[0]["step"], steps[-1]["step"]) if steps else (0, measured[-1]["step"])
    of_parts = [_mean([record["parts"].get(name) for record in steps]) for name in names]
    skipped, groups, unrewarded = (sum(record[name] for record in steps) for name in _SUMS)
    held_out = measured[-1]["held_out"] if measured else None
    is_best = bool(measured) and measured[-1]["step"] == best
    cells = [
        f"{first}–{last}" if first < last else str(last),
        _number(_mean([record["reward"] for record in steps])),
        *map(_number, of_parts),
        f"{skipped} of {groups}" if steps else "–",
        str(unrewarded) if steps else "–",
        "–" if held_out is None else f"{held_out['success']:.0%} of {held_out['tasks']}{' ★' if is_best else ''}",
        "–" if held_out is None else f"{held_out['turns']:.1f}",
    ]
    return f"<tr{' class=best' if is_best else ''}>" + "".join(f"<td>{cell}" for cell in cells)


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are not None."""
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _explain(steps: Sequence[dict[str, Any]]) -> str:
    busy = mean_busy(steps)
    lines = [
        "Rewards and their parts are 0…1. ★ marks the best thinker on held-out tasks, which is kept. A question is skipped if no two "
        "answers have different rewards. An answer whose edit or judgment failed has no reward, which is not the same as zero."
    ]
    if busy:
        lines.append(
            f"Over all steps: {describe_busy(busy)}. For processor threads, this is the share of their total time spent working; with a "
            "GPU, it is the share of wall-clock time that each took. Waiting for a server does not count as work."
        )
    return "".join(f"<p><small>{html.escape(line)}</small></p>" for line in lines)


def _sample(step: int, sample: dict[str, Any]) -> str:
    """A sample: the question, the answer and its result."""
    rows = {
        "prompt before": sample["last_prompt"],
        "answer": sample["answer"],
        "next prompt": sample["next_prompt"],
        "judge before": _scores(sample["before"]),
        "judge after": _scores(sample["after"]),
        "reward": _number(sample["reward"]),
    }
    cells = "".join(f"<tr><th>{name}<td><pre>{html.escape(str(text))}</pre>" for name, text in rows.items())
    return f"<article><h2>Step {step}: {html.escape(sample['instruction'])}</h2><table>{cells}</table></article>"


def _scores(scores: Sequence[float] | None) -> str:
    return "–" if scores is None else f"semantic {scores[0]:g}, quality {scores[1]:g}"
