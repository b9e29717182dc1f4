"""The job of a comparison, shared by Compare Editors and `rethink compare`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_write
from ..benchmarking.reply_log import hold_folder
from ..errors import RethinkError
from ..progress import JobProgress, OnProgress, ignore_progress, progress_with_eta
from ..records import json_text, read_json_file, replace_surrogates
from ..scoring.further import NO_FURTHER, FurtherMeasures
from .page import PAGE, write_page
from .votes import count_votes

if TYPE_CHECKING:
    from torch import Tensor

    from ..evaluation.clip_similarity import Clip
    from ..pairs.models import ModelSource
    from ..thinkers.critique import Thinker
    from ..thinkers.protocol import OnToken
    from .edits import Edits
    from .measures import Scored
    from .summary import CompareReport
    from .tasks import CompareTask
    from .variants import Variant

RECORD, TABLE, LOCK = "comparison.json", "table.md", ".lock"


@dataclass(frozen=True)
class CompareJob:
    """Edit every task with every variant, measure the edits, and make the page to view and vote on.

    output: the results folder, new or existing: existing edits and scores are reused, and votes are kept. clip: measures the CLIP
    similarities. judge: scores the edits. further: measures with models of their own. title: of the page.
    """

    tasks: Sequence[CompareTask]
    variants: Sequence[Variant]
    output: Path
    clip: ModelSource[Clip] | None = None
    judge: Thinker | None = None
    further: FurtherMeasures = NO_FURTHER
    title: str = "Comparison"

    def __post_init__(self):
        from .variants import check_variants

        check_variants(self.variants)
        if not self.tasks:
            raise RethinkError("images: there is nothing to edit; give images with instructions.")

    def run(
        self,
        on_progress: OnProgress = ignore_progress,
        on_token: OnToken | None = None,
        announce: Callable[[str], None] = lambda text: None,
    ) -> CompareReport:
        """Make what is missing and write the folder. What on_progress or on_token (called while the judge answers) raises ends the
        job; everything made so far is kept. announce: gets a sentence for everything that cannot be done, as soon as it is known."""
        from .measures import Scorer

        with hold_folder(self.output, LOCK, "output"):
            self._check_folder()
            if self.clip:
                self.clip.load()  # and release it: a folder that is not a CLIP is reported before hours of editing
            edits = self._edit(on_progress)
            names = {variant.key: variant.name for variant in self.variants}
            for key, why in edits.absent.items():
                announce(f"{names[key]} was left out: {why}")
            self._check_edits(edits)
            measured = progress_with_eta("tasks measured", on_progress)
            scored = Scorer(self.output, self.clip, self.judge, self.further, on_token).run(
                self.tasks, edits.found, measured
            )
            return self._write(edits, scored)

    def _edit(self, on_progress: OnProgress) -> Edits:
        from .edits import make_edits

        shown: list[Tensor] = []

        def with_preview(step: JobProgress) -> None:
            on_progress(JobProgress(step.done, step.total, step.line, lambda: shown[0] if shown else None))

        report = progress_with_eta("edits", with_preview)

        def on_edit(done: int, total: int, image: Tensor) -> None:
            shown[:] = [image]
            report(done, total)

        return make_edits(self.tasks, self.variants, self.output, on_edit)

    def _check_edits(self, edits: Edits) -> None:
        """Raise RethinkError if there are not two to compare."""
        present = {variant for _, variant in edits.found}
        if len(present) < 2:
            why = next(iter([*edits.absent.values(), *edits.failed.values()]), "there are no edits")
            raise RethinkError(f"editors: fewer than two of them made edits: {why}")

    def _write(self, edits: Edits, scored: Scored) -> CompareReport:
        from .summary import summarize

        sources = {task.id: task.source for task in self.tasks}
        variants = [variant for variant in self.variants if any(key == variant.key for _, key in edits.found)]
        poll = count_votes(self.output, sources, [variant.key for variant in variants])
        notes = [f"{name} was left out: {why}" for name, why in self._absent(edits, variants)]
        if self.judge and any(_thinks_with(variant, self.judge.chat.name) for variant in variants):
            notes.append(
                f"The judge is also the thinker ({self.judge.chat.name}), so it favors what it asked for; use another judge."
            )
        report = summarize(self.title, self.tasks, variants, edits, scored, poll, self.output / PAGE, notes)
        record = report.as_dict()
        write_page(self.output, record)
        for name, text in ((TABLE, report.markdown), (RECORD, json_text(record))):
            with atomic_write(self.output / name) as part:
                part.write_text(replace_surrogates(text), encoding="utf-8")
        return report

    def _absent(self, edits: Edits, present: Sequence[Variant]) -> Iterator[tuple[str, str]]:
        """(name, reason) for variants without a single edit."""
        keys = {variant.key for variant in present}
        for variant in self.variants:
            if variant.key not in keys:
                reasons = (why for (_, key), why in edits.failed.items() if key == variant.key)
                yield variant.name, edits.absent.get(variant.key) or next(reasons, "it made no edit")

    def _check_folder(self) -> None:
        """Raise RethinkError for a folder of another comparison, or of something else."""
        file = self.output / RECORD
        if not file.is_file():
            names = [each.name for each in self.output.iterdir()]
            strange = [
                name for name in names if name not in OWN and not name.startswith(".")
            ]  # left by a run that was killed
            if strange:
                raise RethinkError(
                    f"output: {self.output} contains {strange[0]}, which does not belong to a comparison; choose another folder."
                )
            return
        record = read_record(self.output)
        if not {task["id"] for task in record["tasks"]} & {task.id for task in self.tasks}:
            raise RethinkError(
                f"output: {self.output} contains a comparison of other images or instructions; choose another folder."
            )


OWN = {TABLE, PAGE, "sources", "edits", "thinking", "edits.jsonl", "scores.jsonl", "votes.jsonl"}


def read_record(folder: Path) -> dict[str, Any]:
    """The record in the folder of a comparison: `CompareReport.as_dict`. Raises RethinkError if there is none."""
    from .summary import SCHEMA

    file = folder / RECORD
    try:
        record = read_json_file(file)
        if record["schema"] > SCHEMA:
            raise RethinkError(f"output: {file} was written by a newer version of Rethink; update Rethink to read it.")
        if not all(isinstance(task["id"], str) and isinstance(task["source"], str) for task in record["tasks"]):
            raise ValueError("tasks")
        if not all(isinstance(each["key"], str) and isinstance(each["name"], str) for each in record["variants"]):
            raise ValueError("variants")
        return record
    except RethinkError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RethinkError(
            f"output: {folder} contains no comparison ({RECORD} cannot be read: {error}); choose another folder."
        ) from error


def _thinks_with(variant: Variant, name: str) -> bool:
    thinking = variant.record.get("thinking")
    return bool(thinking) and name in (thinking["thinker"], thinking["judge"])


def describe_poll(folder: Path) -> str:
    """The current result of the votes in a folder, as text."""
    from .summary import describe_votes

    record = read_record(folder)
    names = {each["key"]: each["name"] for each in record["variants"]}
    poll = count_votes(folder, {task["id"]: task["source"] for task in record["tasks"]}, list(names))
    return describe_votes(poll, names)
