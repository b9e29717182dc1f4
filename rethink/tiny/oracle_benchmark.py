"""The built-in world as a benchmark with an exact oracle, like the published ones: `rethink bench tiny -o FOLDER`."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import atomic_write
from ..benchmarking.editing import FIRST_TURN, TURNS
from ..errors import RethinkError
from ..evaluation.benchmarks.core import (
    Benchmark,
    Figure,
    Item,
    Items,
    Judged,
    Prompts,
    Replies,
    Results,
    Scores,
    Summary,
    count,
    mean_figure,
)
from ..evaluation.statistics import paired_difference
from ..images import to_pil
from ..text_files import read_json
from .oracle import judge
from .scene import Scene, render
from .tasks import LEVELS, Task, sample_task

if TYPE_CHECKING:
    from torch import Tensor

PER_LEVEL = 100
RESULTS = "oracle.json"
SUCCESS, DONE, KEPT = "success", "done", "kept"
MEASURES = (SUCCESS, DONE, KEPT)


def read_items(folder: Path, language: str = "en") -> Items:
    """The tasks of all levels in wordings that the built-in models were not trained on. folder: unused."""
    tasks = {
        f"{level}-{number:03}": sample_task(number * len(LEVELS) + place, level, wording="held_out")
        for place, level in enumerate(LEVELS)
        for number in range(PER_LEVEL)
    }
    return Items(
        tuple(
            Item(name, task.level, task.instruction, {"source": _Draw(task.source)}, {"task": task, "kind": task.kind})
            for name, task in tasks.items()
        )
    )


@dataclass(frozen=True)
class _Draw:
    """A scene as a PNG, drawn on demand."""

    scene: Scene

    def __call__(self) -> bytes:
        file = io.BytesIO()
        to_pil(render([self.scene]))[0].save(file, "PNG")
        return file.getvalue()


def measure(item: Item, edited: Tensor) -> Scores:
    """Whether it was done and all else kept, 0 or 1 each. Raises RethinkError for an image of another size."""
    task = item.tags["task"]
    assert isinstance(task, Task)
    expected = render([task.source]).shape
    if edited.shape != expected:
        raise RethinkError(
            f"its edit has {edited.shape[2]} × {edited.shape[1]} pixels, not {expected[2]} × {expected[1]}"
        )
    verdict = judge(edited, task)
    return {SUCCESS: float(verdict.success), DONE: float(verdict.done), KEPT: float(verdict.kept)}


def summarize(items: Sequence[Item], judged: Judged) -> Summary:
    """Success in percent, overall, by level and by kind of edit; for thinking runs, also that of their first turns."""
    known = [(item, scores) for item in items if (scores := judged.get(item.id)) is not None]
    groups = {"all": known} | {level: [row for row in known if row[0].group == level] for level in LEVELS}
    kinds = sorted({str(item.tags["kind"]) for item, _ in known if "kind" in item.tags})
    groups |= {kind: [row for row in known if row[0].tags.get("kind") == kind] for kind in kinds}
    figures = [figure for name, rows in groups.items() if rows for figure in _figures(name, [s for _, s in rows])]
    return Summary(tuple(figures), *count(items, judged), _notes(known))


def _figures(name: str, rows: Sequence[Scores]) -> list[Figure]:
    figures = [mean_figure(name, measure, _percent(rows, measure)) for measure in MEASURES]
    if first := _percent(rows, FIRST_TURN + SUCCESS):
        figures.insert(1, mean_figure(name, FIRST_TURN + SUCCESS, first))
        figures.append(mean_figure(name, TURNS, [turns for row in rows if (turns := row.get(TURNS)) is not None]))
    return figures


def _percent(rows: Sequence[Scores], name: str) -> list[float]:
    return [100 * value for row in rows if (value := row.get(name)) is not None]


def _notes(rows: Sequence[tuple[Item, Scores]]) -> tuple[str, ...]:
    """Whether thinking is better than its own first turns."""
    first = {item.id: 100 * value for item, scores in rows if (value := scores.get(FIRST_TURN + SUCCESS)) is not None}
    last = {item.id: 100 * value for item, scores in rows if (value := scores.get(SUCCESS)) is not None}
    found = paired_difference(last, first)
    if found is None:
        return ()
    return (
        f"Thinking compared with its first turns, over {found.items} tasks, in percent: {found.verdict}, {found.words}.",
    )


def _score(item: Item, scores: Scores) -> float | None:
    value = scores.get(SUCCESS)
    return None if value is None else 100 * value


def headline_terms(items: Sequence[Item], judged: Judged) -> dict[str, tuple[float, float]]:
    """100 or 0 for every measured task, all with the same weight."""
    rows = [(item, scores) for item in items if (scores := judged.get(item.id)) is not None]
    return {item.id: (value, 1.0) for item, scores in rows if (value := _score(item, scores)) is not None}


def read_results(folder: Path, items: Sequence[Item]) -> Results | None:
    """What an earlier run measured."""
    if not (folder / RESULTS).is_file():
        return None
    record = read_json(folder / RESULTS, "results")
    known = {item.id for item in items}
    rows = record.items() if isinstance(record, dict) else ()
    return Results(tuple(items), {name: row for name, row in rows if name in known and isinstance(row, dict)})


def write_results(
    folder: Path, model: str, items: Sequence[Item], replies: Mapping[str, Replies], judged: Judged
) -> None:
    """Write the scores of every task to one JSON file."""
    with atomic_write(folder / RESULTS) as part:
        part.write_text(
            json.dumps({name: row and dict(row) for name, row in judged.items()}, indent=1), encoding="utf-8"
        )


def _no_reply(item: Item, question: str, reply: str) -> Scores:
    raise AssertionError("nobody is asked")


def _no_prompts(code: Path) -> Prompts:
    return {}


BENCHMARK = Benchmark(
    id="tiny",
    title="Built-in world",
    read_items=read_items,
    result_names=lambda item: (f"{item.id}.png",),
    read_prompts=_no_prompts,
    questions=lambda item, prompts: (),
    read_reply=_no_reply,
    item_score=_score,
    summarize=summarize,
    read_results=read_results,
    write_results=write_results,
    headline=("all", SUCCESS, ""),
    headline_terms=headline_terms,
    judge="its exact oracle",
    max_tokens=1,
    temperature=0.0,
    measure=measure,
)
