"""The result of a comparison: means with intervals, verdicts as sentences, votes, time and memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

from ..evaluation.measures import MEASURES
from ..evaluation.preferences import Rating
from ..evaluation.statistics import (
    NOT_MEASURED,
    Interval,
    Verdict,
    format_difference,
    mean_interval,
    paired_difference,
)
from ..progress import format_bytes, format_count
from .edits import Edits, source_file
from .measures import BEST_BY, Scored
from .tasks import NAME_LENGTH, CompareTask
from .variants import Variant
from .votes import Poll

SCHEMA = 1
MOST_LISTED = 10  # faults listed in a report
OPPOSITE: dict[Verdict, Verdict] = {"better": "worse", "worse": "better", "cannot tell": "cannot tell"}


@dataclass(frozen=True)
class Row:
    """A variant in the table. means: by measure. seconds: the median per edit; memory: the peak over all edits, in bytes. settings: the
    settings its edits used, as text."""

    variant: Variant
    edits: int
    unchanged: int
    means: Mapping[str, Interval]
    seconds: float | None
    memory: int | None
    settings: str = ""


@dataclass(frozen=True)
class CompareReport:
    """The report of a comparison. differences: by measure and two variants' keys: how much higher the first scores. page: the HTML file."""

    title: str
    tasks: tuple[CompareTask, ...]
    rows: tuple[Row, ...]
    differences: Mapping[str, Mapping[tuple[str, str], Interval]]
    edits: Edits
    scored: Scored
    poll: Poll
    page: Path
    notes: tuple[str, ...] = ()

    @property
    def measures(self) -> list[str]:
        """The ids of the measures that were taken, in the order of the table."""
        return [each.id for each in MEASURES if any(each.id in row.means for row in self.rows)]

    @property
    def headline(self) -> str:
        """What decides which is best: "votes", or a measure; "" if nothing does."""
        if self.poll.votes:
            return "votes"
        return next((each.id for each in BEST_BY if each.id in self.measures), "")

    @property
    def best(self) -> str:
        """The name of the best variant; "" if nothing decides it."""
        if not self.headline:
            return ""
        names = {row.variant.key: row.variant.name for row in self.rows}
        if self.headline == "votes":
            return names[self.poll.ranking.ratings[0].name]
        scored = [row for row in self.rows if self.headline in row.means]
        return max(scored, key=lambda row: row.means[self.headline].mean).variant.name

    @property
    def ratings(self) -> dict[str, Rating]:
        """Ratings by variant key; empty without votes."""
        return {rating.name: rating for rating in self.poll.ranking.ratings} if self.poll.votes else {}

    @property
    def table(self) -> list[list[str]]:
        """Column titles, then one line per variant."""
        shown, ratings = [each for each in MEASURES if each.id in self.measures], self.ratings
        head = ["", "edits", *(each.title for each in shown), *(["votes won", "score"] if ratings else [])]
        lines = [[*head, "seconds", "memory"]]
        for row in self.rows:
            cells = [row.variant.name, str(row.edits)]
            cells += [
                found.text(each.digits, each.unit) if (found := row.means.get(each.id)) else NOT_MEASURED
                for each in shown
            ]
            if ratings:
                cells += _rating_cells(ratings[row.variant.key])
            seconds = NOT_MEASURED if row.seconds is None else f"{row.seconds:.2f}"
            memory = NOT_MEASURED if row.memory is None else format_bytes(row.memory)
            lines.append([*cells, seconds, memory])
        return lines

    @property
    def sentences(self) -> list[str]:
        """Which variant is better, how certain that is, and what went wrong."""
        return [*self._verdicts(), *self._settings(), *self._cautions(), *self.notes, *self._faults()]

    def _settings(self) -> list[str]:
        """The settings every editor used: its own defaults, unless others were chosen."""
        by_settings: dict[str, list[str]] = {}
        for row in self.rows:
            if row.settings:
                by_settings.setdefault(row.settings, []).append(row.variant.name)
        found = [f"{', '.join(names)} ({text})" for text, names in by_settings.items()]
        return [f"Settings: {', '.join(found)}."] if found else []

    def _verdicts(self) -> list[str]:
        names = {row.variant.key: row.variant.name for row in self.rows}
        lines = []
        if self.poll.votes:
            lines += _poll_sentences(self.poll, names)
        else:
            lines.append(f"No votes yet: open {self.page.name} and vote by keyboard.")
        first, *others = self.rows
        for each in MEASURES:
            found = [
                (row, self.differences.get(each.id, {}).get((row.variant.key, first.variant.key))) for row in others
            ]
            known = [(row.variant.name, difference) for row, difference in found if difference is not None]
            lines += [
                f"{each.title}: {name} is {difference.verdict} than {first.variant.name}, {difference.words}, "
                f"{format_count(difference.items, 'edit')} of {format_count(difference.clusters, 'source')}."
                for name, difference in known
                if difference.verdict != "cannot tell"
            ]
            unknown = [
                f"{name} ({format_difference(difference.mean)})"
                for name, difference in known
                if difference.verdict == "cannot tell"
            ]
            if unknown:
                lines.append(f"{each.title}: cannot tell from {first.variant.name}: {', '.join(unknown)}.")
        return lines

    def _cautions(self) -> list[str]:
        lines = [
            f"{row.variant.name} changed nothing in {row.unchanged} of {format_count(row.edits, 'edit')}; an edit that changes nothing keeps everything."
            for row in self.rows
            if row.unchanged
        ]
        alike = count_alike(self.edits)
        if alike:
            pairs = format_count(alike, "pair of edits is", "pairs of edits are")
            lines.append(f"{pairs} identical in every pixel and not voted on.")
        return lines

    def _faults(self) -> list[str]:
        names = {row.variant.key: row.variant.name for row in self.rows}
        instructions = {task.id: task.instruction for task in self.tasks}
        failed = [
            f"Not edited: {names[variant]}, “{instructions[task][:60]}”: {why}"
            for (task, variant), why in self.edits.failed.items()
            if variant in names
        ]
        faults = [*failed, *self.scored.notes, *self.poll.damaged]
        lines = faults[:MOST_LISTED]
        if len(faults) > MOST_LISTED:
            lines.append(f"{len(faults) - MOST_LISTED} more of these.")
        if self.poll.strangers:
            votes = format_count(self.poll.strangers, "vote is", "votes are")
            lines.append(f"{votes} on edits that are not in this comparison, and not counted.")
        return lines

    def __str__(self) -> str:
        table = self.table
        widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
        lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths)).rstrip() for line in table]
        return "\n".join([self.title, *lines, "", *self.sentences])

    @property
    def markdown(self) -> str:
        """The table and the sentences, for a model card."""
        head, *lines = [[cell.replace("|", "\\|") for cell in line] for line in self.table]
        rule = ["---", *["---:"] * (len(head) - 1)]
        rows = [f"| {' | '.join(line)} |" for line in (head, rule, *lines)]
        return "\n".join([f"## {self.title}", "", *rows, "", *(f"- {line}" for line in self.sentences)]) + "\n"

    def as_dict(self) -> dict[str, Any]:
        """Everything the page shows, as JSON values; images are given by file name."""
        return {
            "schema": SCHEMA,
            "id": comparison_id(self.tasks, self.rows),
            "title": self.title,
            "measures": [
                {"id": each.id, "title": each.title, "help": each.help, "digits": each.digits, "unit": each.unit}
                for each in MEASURES
                if each.id in self.measures
            ],
            "variants": [_row_record(row) for row in self.rows],
            "tasks": [_task_record(task, self.page.parent) for task in self.tasks],
            "edits": [self._edit_record(place) for place in self.edits.found],
            "failed": [
                {"task": task, "variant": variant, "why": why}
                for (task, variant), why in self.edits.failed.items()
                if any(row.variant.key == variant for row in self.rows)
            ],
            "differences": [
                {
                    "measure": name,
                    "variant": first,
                    "against": second,
                    **_interval_record(found),
                    "verdict": found.verdict,
                }
                for name, by_pair in self.differences.items()
                for (first, second), found in by_pair.items()
            ],
            "sentences": self._cautions() + list(self.notes) + self._faults(),
        }

    def _edit_record(self, place: tuple[str, str]) -> dict[str, Any]:
        edit = self.edits.found[place]
        return {
            "task": edit.task,
            "variant": edit.variant,
            "file": edit.file,
            "digest": edit.digest,
            "seconds": edit.seconds,
            "memory": edit.memory,
            "size": [edit.size[1], edit.size[0]],
            "unchanged": place in self.scored.unchanged,
            "scores": dict(self.scored.scores.get(place, {})),
        }


def summarize(
    title: str,
    tasks: Sequence[CompareTask],
    variants: Sequence[Variant],
    edits: Edits,
    scored: Scored,
    poll: Poll,
    page: Path,
    notes: Sequence[str] = (),
) -> CompareReport:
    """Compute means, intervals and verdicts over paired items; items of one source count as one cluster."""
    rows = tuple(_row(variant, tasks, edits, scored) for variant in variants)
    sources = {task.id: task.source for task in tasks}
    differences: dict[str, dict[tuple[str, str], Interval]] = {}
    for each in MEASURES:
        values = {
            variant.key: {
                task.id: scored.scores[task.id, variant.key][each.id]
                for task in tasks
                if each.id in scored.scores.get((task.id, variant.key), {})
            }
            for variant in variants
        }
        for first, second in combinations(values, 2):
            found = paired_difference(values[first], values[second], sources)
            if found is not None and each.better != "neither":
                found = replace(found, verdict=OPPOSITE[found.verdict]) if each.better == "lower" else found
                by_pair = differences.setdefault(each.id, {})
                by_pair[first, second], by_pair[second, first] = found, _turned(found)
    return CompareReport(title, tuple(tasks), rows, differences, edits, scored, poll, page, tuple(notes))


def _turned(found: Interval) -> Interval:
    """The same difference with the two sides swapped."""
    low, high = (None if end is None else 0 - end for end in (found.high, found.low))
    return Interval(0 - found.mean, low, high, found.items, found.clusters, OPPOSITE[found.verdict])


def comparison_id(tasks: Sequence[CompareTask], rows: Sequence[Row]) -> str:
    """The id under which a browser keeps the votes: the same for the same tasks and variants."""
    names = sorted(task.id for task in tasks) + sorted(row.variant.key for row in rows)
    return hashlib.sha256(" ".join(names).encode()).hexdigest()[:NAME_LENGTH]


def count_alike(edits: Edits) -> int:
    """The number of pairs of edits of one task with the same pixels."""
    counts: dict[tuple[str, str], int] = {}
    for (task, _), edit in edits.found.items():
        counts[task, edit.digest] = counts.get((task, edit.digest), 0) + 1
    return sum(count * (count - 1) // 2 for count in counts.values())


def _row(variant: Variant, tasks: Sequence[CompareTask], edits: Edits, scored: Scored) -> Row:
    mine = [(task, edits.found[task.id, variant.key]) for task in tasks if (task.id, variant.key) in edits.found]
    means = {}
    for each in MEASURES:
        values = [
            (scored.scores[task.id, variant.key][each.id], task.source)
            for task, _ in mine
            if each.id in scored.scores.get((task.id, variant.key), {})
        ]
        if values:
            means[each.id] = mean_interval([value for value, _ in values], [source for _, source in values])
    memory = [edit.memory for _, edit in mine if edit.memory is not None]
    return Row(
        variant,
        len(mine),
        sum((task.id, variant.key) in scored.unchanged for task, _ in mine),
        means,
        median(edit.seconds for _, edit in mine) if mine else None,
        max(memory) if memory else None,
        next((edit.settings for _, edit in mine if edit.settings), ""),
    )


def _poll_sentences(poll: Poll, names: Mapping[str, str]) -> list[str]:
    ranking = poll.ranking
    first, second = (names[rating.name] for rating in ranking.ratings[:2])
    if ranking.decided:
        text = f"Votes: {first} is better than {second}."
    elif ranking.more_votes is None:
        text = f"Votes: {first} against {second}: cannot tell; they are too similar for more votes to decide."
    else:
        text = f"Votes: {first} against {second}: cannot tell; about {format_count(ranking.more_votes, 'more vote')} would decide, if voting continues as before."
    people = f"{format_count(poll.votes, 'vote')} by {format_count(poll.voters, 'voter')}."
    few = ["The votes cover too few images to generalize: the intervals apply only to these images."]
    return [text, people, *(few if poll.few_sources else [])]


def describe_votes(poll: Poll, names: Mapping[str, str]) -> str:
    """One line per variant, and the result of the votes. names: by key."""
    if not poll.votes:
        return "No votes yet."
    lines = [f"{names[rating.name]}: {' · '.join(_rating_cells(rating))}" for rating in poll.ranking.ratings]
    return "\n".join([*lines, *_poll_sentences(poll, names)])


def _rating_cells(rating: Rating) -> list[str]:
    rate = rating.win_rate
    if rate is None:
        return ["no votes", "no votes"]
    return [
        f"{rate:.0%} of {rating.wins + rating.ties + rating.losses}",
        f"{rating.score:.0f} ({rating.low:.0f} … {rating.high:.0f})",
    ]


def _row_record(row: Row) -> dict[str, Any]:
    return {
        "key": row.variant.key,
        "name": row.variant.name,
        "record": dict(row.variant.record),
        "edits": row.edits,
        "unchanged": row.unchanged,
        "seconds": row.seconds,
        "memory": row.memory,
        "settings": row.settings,
        "means": {name: _interval_record(found) for name, found in row.means.items()},
    }


def _task_record(task: CompareTask, folder: Path) -> dict[str, Any]:
    from PIL import Image

    file = folder / source_file(task)
    size = []
    if file.is_file():
        with Image.open(file) as image:  # reads only the header
            size = list(image.size)
    return {
        "id": task.id,
        "instruction": task.instruction,
        "name": task.name,
        "source": task.source,
        "file": source_file(task),
        "size": size,
    }


def _interval_record(found: Interval) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("mean", "low", "high", "items", "clusters")}
