"""The job of inventing edits for captions, as a node and a command start it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import RethinkError
from ...options import MAX_SEED, check_limits, option
from ...progress import JobProgress, OnProgress, eta, ignore_progress
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

    captions: a file of them, or the captions themselves. output: the file of the edits, new or begun; a caption that is
    there is not asked again. examples: shown to the thinker, none: the built-in ones. fine_tuning: where the examples go
    as a file to fine-tune a language model with, if anywhere.
    """

    captions: Path | Sequence[str]
    output: Path
    thinker: ModelSource[ChatFn]
    examples: tuple[CaptionEdit, ...] = ()
    seed: int = option(0, "Examples and answers are drawn from it.", low=0, high=MAX_SEED)
    fine_tuning: Path | None = None

    def __post_init__(self):
        check_limits(self)
        if not isinstance(self.captions, Path) and not self.captions:
            raise RethinkError("captions: is empty; write one caption a line, for example “a dog on a beach”.")

    def run(self, on_progress: OnProgress = ignore_progress, engine: Engine = LOCAL) -> CaptionReport:
        """Ask about the captions that are not in the output yet; a run that was stopped goes on."""
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
                lambda progress: on_progress(_watched(progress, total)),
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

    def captions_once(self) -> list[str]:
        """The captions, each once."""
        return list(dict.fromkeys(caption for caption, _ in self._captions()))


@dataclass(frozen=True)
class CaptionReport:
    """What a job has made."""

    job: CaptionJob
    progress: CaptionProgress

    def edits(self) -> list[CaptionEdit]:
        """The edits of the job's captions, made now or there from before, in the order of the file."""
        wanted = set(self.job.captions_once())
        records = {r["caption"]: r for r in edit_logs(self.job.output)[0] if r["caption"] in wanted}
        return [CaptionEdit(record["caption"], record["edit"], record["output"]) for record in records.values()]

    def __str__(self) -> str:
        wanted, found = set(self.job.captions_once()), {edit.input for edit in self.edits()}
        rejected = edit_logs(self.job.output)[1]
        whys = {record["caption"]: record["why"] for record in rejected if record["caption"] in wanted - found}
        lines = [f"{count} × {why}" for why, count in count_reasons(whys.values())]
        return "\n".join([f"{len(found)} of {len(wanted)} captions got an edit.", *lines])


def _watched(progress: CaptionProgress, total: int) -> JobProgress:
    rate = progress.made / progress.seconds if progress.seconds else 0
    left = eta(progress.made + progress.rejected, total - progress.seen, progress.seconds)
    line = (
        f"{progress.seen} of {total} captions · {progress.made} edits · {progress.rejected} rejected · "
        f"{rate:.2f} edits/s · {left} left"
    )
    return JobProgress(progress.seen, total, line)


def _open_inventor(load: Callable[[], ChatFn], examples: list[CaptionEdit], seed: int) -> Callable:
    return partial(edit_record, load(), examples, seed)


def _not_invented(job: tuple[str, str], why: str) -> dict:
    return {"caption": job[0], "why": why, "url": job[1]}
