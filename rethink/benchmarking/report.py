"""The report of a benchmark run: figures with their variants and coverage, how certain they are, and what went wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import RethinkError
from ..evaluation.benchmarks.core import Benchmark, Figure, Item, Judged, Published, Results, Summary
from ..evaluation.statistics import NOT_MEASURED, Interval, mean_interval, paired_difference
from ..progress import format_count
from .judging import Judgments

MOST_LISTED = 10  # faults of one kind listed in a report


@dataclass(frozen=True)
class BenchmarkReport:
    """The report of a benchmark run.

    left_out: how many items, or files of items, are missing from the data or broken. interval: of the headline figure. difference:
    from the results it is compared with, over the items in both.
    """

    title: str
    headline: tuple[str, str, str]
    summary: Summary
    judgments: Judgments
    interval: Interval | None
    difference: Interval | None
    notes: tuple[str, ...]
    published: tuple[Published, ...]
    record: Mapping[str, Any]
    left_out: int = 0

    def __str__(self) -> str:
        rows = [
            (title_text(figure), number_text(figure.value), format_count(figure.items, "item"))
            for figure in self.summary.figures
        ]
        width = max((len(row[0]) for row in rows), default=0)
        table = [f"{name:<{width}}  {value:>8}  {items:>12}" for name, value, items in rows]
        return "\n".join([self.title, *table, "", *self.sentences])

    @property
    def sentences(self) -> list[str]:
        """Sentences on coverage, certainty and faults."""
        summary = self.summary
        text = f"Scores for {summary.read} of {format_count(summary.judged + summary.missing, 'item')} ({summary.coverage:.1%})"
        unread = summary.judged - summary.read
        text += f"; {unread} with unreadable replies" if unread else ""
        text += f"; {summary.missing} not judged" if summary.missing else ""
        lines = [f"{text}."]
        if self.left_out:
            lines.append(
                f"Missing from the data or broken, and not counted: {self.left_out}. This is not the whole benchmark."
            )
        if self.interval is not None and self.interval.low is not None and self.interval.high is not None:
            found = self.interval
            lines.append(f"{_name(self.headline)}: {found.mean:.3g}, 95% between {found.low:.3g} and {found.high:.3g}.")
        if self.difference is not None:
            words = self.difference.words
            lines.append(
                f"Against the other results, over {format_count(self.difference.items, 'item')}: {self.difference.verdict}, {words}."
            )
        return lines + list(self.notes)

    @property
    def markdown(self) -> str:
        """The table for a model card."""
        lines = [f"## {self.title}", "", "| figure | value | items |", "|---|---:|---:|"]
        lines += [
            f"| {title_text(figure)} | {number_text(figure.value)} | {figure.items} |"
            for figure in self.summary.figures
        ]
        lines += ["", *(f"- {sentence}" for sentence in self.sentences)]
        if self.published:
            lines += [
                "",
                "Published by others:",
                "",
                "| editor | figure | value | judge | source |",
                "|---|---|---:|---|---|",
            ]
            lines += [f"| {p.editor} | {p.figure} | {p.value:g} | {p.judge} | {p.source} |" for p in self.published]
        return "\n".join(lines) + "\n"

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        summary, name = self.summary, _name(self.headline)
        return {
            "bench": self.record.get("benchmark"),
            "headline": {"name": name, "value": summary.value(*self.headline)},
            "interval": _interval(self.interval),
            "difference": _interval(self.difference),
            "coverage": summary.coverage,
            "judged": summary.judged,
            "read": summary.read,
            "missing": summary.missing,
            "left_out": self.left_out,
            "calls": self.judgments.calls,
            "tokens": asdict(self.judgments.usage),
            "money": self.judgments.money,
            "figures": [
                {"name": f.name, "measure": f.measure, "variant": f.variant, "value": f.value, "items": f.items}
                for f in summary.figures
            ],
            "run": dict(self.record),
            "notes": list(self.notes),
        }


def make_report(  # more than eight: everything that a run found comes together here
    benchmark: Benchmark,
    items: Sequence[Item],
    judged: Judged,
    judgments: Judgments,
    problems: Sequence[tuple[str, str]],
    failures: Sequence[tuple[str, str]],
    notes: Sequence[str],
    record: Mapping[str, Any],
    other: Results | None,
) -> BenchmarkReport:
    """Summarize a run. problems: of the data; failures: of editing: (what, reason). other: the results to compare with."""
    summary = benchmark.summarize(items, judged)
    terms = benchmark.headline_terms(items, judged)
    clusters = {item.id: source_digest(item) for item in items if item.id in terms}
    interval = difference = None
    if terms:
        values, weights = zip(*terms.values())
        interval = mean_interval(values, [clusters[id] for id in terms], weights)
    if other is not None:
        theirs = benchmark.headline_terms(other.items, other.judged)
        difference = paired_difference(
            {id: value for id, (value, _) in terms.items()},
            {id: value for id, (value, _) in theirs.items()},
            clusters,
            {id: weight for id, (_, weight) in terms.items()},
        )
    lines = [
        *notes,
        *summary.notes,
        *_beyond_scale(benchmark, judged),
        *_costs(judgments),
        *_faults(judgments, problems, failures),
    ]
    if record.get("thinking"):
        lines.append("The prompts were rewritten by thinking; some leaderboards list such runs separately.")
    return BenchmarkReport(
        benchmark.title,
        benchmark.headline,
        summary,
        judgments,
        interval,
        difference,
        tuple(lines),
        benchmark.published,
        record,
        len(problems),
    )


def source_digest(item: Item) -> str:
    """A digest that is the same for items that edit the same image; the item's own id if the image cannot be read."""
    try:
        return hashlib.sha256(item.sources[0]()).hexdigest() if item.sources else item.id
    except (OSError, RethinkError):
        return item.id


def _beyond_scale(benchmark: Benchmark, judged: Judged) -> list[str]:
    """A note on scores such as 11 out of 10, which the benchmarks' scripts let pass."""
    if benchmark.measure is not None:
        return []
    low, high = benchmark.scale
    values = {id: [value for value in (scores or {}).values() if value is not None] for id, scores in judged.items()}
    count = sum(any(not low <= value <= high for value in found) for found in values.values())
    if not count:
        return []
    return [
        f"{format_count(count, 'item has', 'items have')} scores outside {low:g} to {high:g}; they count as given, as in the benchmark's script."
    ]


def fault_text(where: str, why: str) -> str:
    """A fault as a sentence."""
    return f"{where}: {why.rstrip('.')}."


def _costs(judgments: Judgments) -> list[str]:
    """Sentences on the tokens and the cost of this run's calls."""
    usage, calls, lines = judgments.usage, judgments.calls, []
    if usage.answers:
        share = "" if usage.answers >= calls else f", as reported for {usage.answers} of them"
        lines.append(
            f"The judge read {usage.read:,} tokens and wrote {usage.written:,} in {format_count(calls, 'call')}{share}."
        )
    if judgments.money:
        how = "" if usage.answers >= calls else ", partly estimated" if usage.answers else ", estimated"
        lines.append(f"Judging cost {judgments.money:.2f}{how}.")
    return lines


def _faults(
    judgments: Judgments, problems: Sequence[tuple[str, str]], failures: Sequence[tuple[str, str]]
) -> list[str]:
    lines = []
    if judgments.left_out:
        lines.append(
            f"The budget of {judgments.stopped or 'this run'} is used up: {format_count(judgments.left_out, 'question is', 'questions are')} left; "
            "run again with a new budget to resume."
        )
    kinds = (
        ("Left out", problems),
        ("Not edited", failures),
        ("Unreadable", judgments.unreadable),
        ("No answer", judgments.failures),
    )
    for name, faults in kinds:
        lines += [f"{name}: {fault_text(where, why)}" for where, why in faults[:MOST_LISTED]]
        if len(faults) > MOST_LISTED:
            lines.append(f"{name}: {len(faults) - MOST_LISTED} more.")
    return lines


def _name(headline: tuple[str, str, str]) -> str:
    return ", ".join(part for part in headline if part)


def title_text(figure: Figure) -> str:
    """The name of a figure."""
    return _name((figure.name, figure.measure, figure.variant))


def number_text(value: float | None) -> str:
    """The value of a figure; NOT_MEASURED if there is none."""
    return NOT_MEASURED if value is None else f"{value:.3f}"


def _interval(found: Interval | None) -> dict[str, Any] | None:
    if found is None:
        return None
    names = ("mean", "low", "high", "items", "clusters", "verdict")
    return {name: getattr(found, name) for name in names}
