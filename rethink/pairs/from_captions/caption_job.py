"""The job of inventing edits for captions, which the node and the command share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from ...options import MAX_SEED, check_limits, option
from ...progress import JobProgress, OnProgress, eta, format_count, ignore_progress
from ...thinkers.asking import ChatFn, thread_map
from ..engine import LOCAL, Engine
from ..models import ModelSource
from ..review.filters import count_reasons
from .caption_edits import (
    CaptionEdit,
    CaptionProgress,
    built_in_edits,
    captions_to_edits,
    edit_logs,
    edit_record,
    read_captions,
    write_fine_tuning_file,
)


@dataclass(frozen=True)
class CaptionJob:
    """Have a thinker invent an edit for every caption: an instruction, and the caption after the edit.

    captions: a file of captions, or the captions themselves. output: the file of the edits, new or existing; captions
    in it are not asked about again. examples: for the thinker; empty: the built-in ones. fine_tuning: a file to write
    the examples to, for fine-tuning a language model, or None.
    """

    captions: Path | Sequence[str]
    output: Path
    thinker: ModelSource[ChatFn]
    examples: tuple[CaptionEdit, ...] = ()
    seed: int = option(0, "Determines the examples and answers drawn.", low=0, high=MAX_SEED)
    fine_tuning: Path | None = None

    def __post_init__(self):
        check_limits(self)
        if not isinstance(self.captions, Path) and not self.captions:
            raise RethinkError("captions: is empty; write one caption per line, for example “a dog on a beach”.")

    def run(self, on_progress: OnProgress = ignore_progress, engine: Engine = LOCAL) -> CaptionReport:
        """Ask about the captions that are not in the output yet; a run that was stopped resumes."""
        total = sum(1 for _ in self._captions())
        examples = list(self.examples) or built_in_edits()
        with engine.started() as executor_for:
            executor = executor_for(
                "invent", partial(_open_inventor, self.thinker.load, examples, self.seed), _not_invented
            )
            done = captions_to_edits(
                None if executor else self.thinker.load(),
                self._captions(),
                self.output,
                examples,
                self.seed,
                lambda progress: on_progress(_job_progress(progress, total)),
                executor=executor,
                map_fn=thread_map(self.thinker.concurrency),
            )
        if self.fine_tuning and self.examples:
            write_fine_tuning_file(self.examples, self.fine_tuning)
        return CaptionReport(self, done)

    def _captions(self) -> Iterator[tuple[str, str]]:
        return (
            read_captions(self.captions) if isinstance(self.captions, Path) else ((text, "") for text in self.captions)
        )

    def distinct_captions(self) -> list[str]:
        """The captions without duplicates."""
        return list(dict.fromkeys(caption for caption, _ in self._captions()))


@dataclass(frozen=True)
class CaptionReport:
    """The result of a job."""

    job: CaptionJob
    progress: CaptionProgress

    def edits(self) -> list[CaptionEdit]:
        """The edits of the job's captions, made now or before, in the order of the file."""
        captions = set(self.job.distinct_captions())
        records = {r["caption"]: r for r in edit_logs(self.job.output)[0] if r["caption"] in captions}
        return [CaptionEdit(record["caption"], record["edit"], record["output"]) for record in records.values()]

    def __str__(self) -> str:
        captions, found = set(self.job.distinct_captions()), {edit.input for edit in self.edits()}
        rejected = edit_logs(self.job.output)[1]
        whys = {record["caption"]: record["why"] for record in rejected if record["caption"] in captions - found}
        lines = [f"{count} × {why}" for why, count in count_reasons(whys.values())]
        return "\n".join([f"{len(found)} of {len(captions)} captions got an edit.", *lines])


def _job_progress(progress: CaptionProgress, total: int) -> JobProgress:
    rate = progress.made / progress.seconds if progress.seconds else 0
    left = eta(progress.made + progress.rejected, total - progress.seen, progress.seconds)
    line = (
        f"{progress.seen} of {total} captions · {format_count(progress.made, 'edit')} · {progress.rejected} rejected · "
        f"{rate:.2f} edits/s · {left} left"
    )
    return JobProgress(progress.seen, total, line)


def _open_inventor(load: Callable[[], ChatFn], examples: list[CaptionEdit], seed: int) -> Callable:
    return partial(edit_record, load(), examples, seed)


def _not_invented(job: tuple[str, str], why: str) -> dict:
    return {"caption": job[0], "why": why, "url": job[1]}
