"""From prompts to scores: an editor runs every prompt of a policy, and an independent judge scores the edit.

All prompts for one source and instruction are edited in one batch, with one seed and the source encoded once, and judged in one
batch. Results are looked up by (source, instruction, prompt, seed), never by position, so no failure can shift a result to another
row. Failures become None and are counted; a server that goes down costs rewards, not the run.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from ..editors.settings import Settings
from ..errors import EditorUnavailable, RethinkError
from ..evaluation.preservation import measure
from ..images import as_image, load_image
from ..steps import Critique
from ..think_loop import quantize_to_8bit
from ..thinkers.critique import Thinker, critique
from ..threads import DaemonThreads, ends_within
from .step_progress import StepProgress
from .thinker_busy import SERVERS, work_clock
from .thinker_rewards import Scores
from .thinker_steps import ThinkerStep

if TYPE_CHECKING:
    from ..editors.protocol import Editor

T = TypeVar("T")
Key = tuple[str, str, str, str]  # source, instruction, the existing edited image or "", prompt
GIVE_UP = 20  # groups in a row without any edit or score, after which the editor or judge counts as gone for good
MOST_CACHED = 2**17


@dataclass(frozen=True)
class Scored:
    """The judge's scores that an answer is rewarded by: those of the edit it is about and of the edit it led to; None if the editor
    or the judge failed, or if there was no prompt."""

    before: Scores | None
    after: Scores | None


class TimeLimit:
    """Runs calls that may hang. seconds: limit of one call, 0 for none. A call that exceeds it keeps running in its thread; no other
    starts until it ends."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._threads = DaemonThreads(1)
        self._late: Any = None

    def call(self, do: Callable[[], T]) -> T:
        """What `do` returns or raises. Raises TimeoutError if it takes too long, or an earlier call is still running."""
        if not self._seconds:
            return do()
        if self._late is not None and not self._late.done():
            raise TimeoutError("an earlier call has not finished yet")
        self._late = None
        future = self._threads.submit(_on_this_device(do))
        if not ends_within(future, self._seconds):
            self._late = future
            raise too_late(self._seconds)
        return future.result()


def too_late(seconds: float) -> TimeoutError:
    """The error for something that takes longer than `seconds`, raised wherever it is noticed first."""
    return TimeoutError(f"took longer than {seconds:g} seconds")


def _on_this_device(do: Callable[[], T]) -> Callable[[], T]:
    """`do` for another thread, with “cuda” meaning the same GPU as in this one."""
    if not torch.cuda.is_available():
        return do
    device = torch.cuda.current_device()

    def run() -> T:
        torch.cuda.set_device(device)
        return do()

    return run


class Rollouts:
    """Edits and judges the prompts of a policy.

    seconds, counts: since the last `take_counts`; seconds by `work_clock`, and those spent waiting for an editor or a judge on a
    server. note: a sentence about the latest failure. progress: is polled throughout, and may end the training.
    """

    def __init__(
        self,
        editor: Editor,
        judge: Thinker,
        settings: Settings,
        seed: int = 0,
        time_limit: float = 0,
        progress: StepProgress | None = None,
    ):
        self.editor, self.judge, self.settings, self.seed = editor, judge, settings, seed
        self.limit = {"editor": TimeLimit(time_limit), "judge": TimeLimit(time_limit)}
        models = {"editor": editor, "judge": judge.chat}
        self._remote = {who for who, model in models.items() if getattr(model, "placement", "") == "elsewhere"}
        self.counts: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.note = ""
        self._progress = progress or StepProgress()
        self._cache: dict[Key, Scores] = {}
        self._barren = 0
        self._error: Exception | None = None

    def score(self, steps: Sequence[ThinkerStep], prompts: Sequence[str]) -> list[Scored]:
        """Score each step and the prompt that an answer to it proposes, "" for none.

        A prompt that repeats the last one means that the edit is good: it stays, and nothing is edited. Raises RethinkError if
        nothing has worked for GIVE_UP groups in a row.
        """
        groups: dict[tuple[str, str], list[tuple[ThinkerStep, str]]] = {}
        for step, prompt in zip(steps, prompts, strict=True):
            groups.setdefault((step.source_id, step.instruction), []).append((step, prompt))
        for rows in groups.values():
            self._fill(rows)
        return [
            Scored(self._cache.get(_key_before(step)), self._cache.get(_key_after(step, prompt)) if prompt else None)
            for step, prompt in zip(steps, prompts, strict=True)
        ]

    def take_counts(self) -> dict[str, float]:
        """The counts since the last call: edits, cached and repeated prompts, failures; seconds of editor, judge and servers."""
        found: dict[str, float] = {**self.counts, **{f"{name}_seconds": value for name, value in self.seconds.items()}}
        self.counts.clear()
        self.seconds.clear()
        return found

    def _fill(self, rows: Sequence[tuple[ThinkerStep, str]]) -> None:
        """Edit and judge what the cache does not have yet, for rows with one source and instruction."""
        before = {_key_before(step): step for step, _ in rows}
        after = dict.fromkeys(_key_after(step, prompt) for step, prompt in rows if prompt)
        self.counts["repeated"] += sum(_key_after(step, prompt) == _key_before(step) for step, prompt in rows if prompt)
        new = [key for key in after if key not in before and key not in self._cache]
        self.counts["cached"] += sum(key not in before and key in self._cache for key in after)
        old = [key for key in before if key not in self._cache]
        if not new and not old:
            return
        source = load_image(rows[0][0].source)
        images = dict(self._edit(source, rows[0][0], new))
        for key in old:
            images[key] = load_image(before[key].edited)
        found = self._judge(source, rows[0][0].instruction, images)
        if len(self._cache) + len(found) > MOST_CACHED:
            self._cache.clear()
        self._cache |= found
        self._barren = 0 if found else self._barren + 1
        if self._barren >= GIVE_UP:
            raise RethinkError(
                f"editor, judge: nothing could be edited and judged {GIVE_UP} times in a row; fix the cause and start again to resume "
                f"from the last checkpoint. Last failure: {self.note}"
            )

    def _edit(self, source: Tensor, step: ThinkerStep, keys: Sequence[Key]) -> Iterator[tuple[Key, Tensor]]:
        """(key, IMAGE [1, H, W, 3]) of what could be edited: all at once, or one by one if that fails."""
        if not keys:
            return
        seed = zlib.crc32(f"{self.seed} {step.source_id} {step.instruction}".encode())
        images = self._try("editor", lambda: self._run_editor(source, [key[3] for key in keys], seed))
        if images is not None:
            self.counts["edits"] += len(keys)
            yield from zip(keys, images.split(1), strict=True)
        elif len(keys) > 1 and not isinstance(self._error, (TimeoutError, EditorUnavailable)):
            for key in keys:
                yield from self._edit(source, step, [key])
        else:
            self.counts["failed_edits"] += len(keys)

    def _run_editor(self, source: Tensor, prompts: Sequence[str], seed: int) -> Tensor:
        with torch.inference_mode():  # in the thread that runs it
            prepared = self.editor.prepare(source)
            seeds = [seed] * len(prompts)
            edited = self.editor.edit(prepared, prompts, seeds, self.settings, on_step=self._progress.poll)
            edited = quantize_to_8bit(as_image(edited))
        if len(edited) != len(prompts):
            raise RethinkError(f"editor: made {len(edited)} edits for {len(prompts)} prompts.")
        return edited

    def _judge(self, source: Tensor, instruction: str, images: dict[Key, Tensor]) -> dict[Key, Scores]:
        """The scores of the images that the judge could score, asked as one batch."""
        if not images:
            return {}
        prompts, edited = [key[3] for key in images], list(images.values())
        found = self._try("judge", lambda: self._run_judge(source, edited, instruction, prompts))
        if found is None:
            self.counts["failed_judgments"] += len(images)
            return {}
        scores = {}
        for (key, image), verdict in zip(images.items(), found, strict=True):
            judged = _scores_of(verdict, measure(source, image)[0].unchanged)
            if judged is None:
                self.counts["failed_judgments"] += 1
                self.note = verdict.note or self.note
            else:
                scores[key] = judged
        return scores

    def _run_judge(
        self, source: Tensor, edited: Sequence[Tensor], instruction: str, prompts: Sequence[str]
    ) -> list[Critique]:
        seeds, poll = [self.seed] * len(prompts), self._progress.poll
        with torch.inference_mode():
            return critique(self.judge, source, edited, instruction, prompts, seeds, on_token=poll)

    def _try(self, who: str, do: Callable[[], T]) -> T | None:
        """The result of `do`, or None with the reason in `note` if it fails; an exception that ends the training passes through."""
        self._error = None
        try:
            with self._timed(who):
                return self.limit[who].call(do)
        except Exception as error:  # a server, a driver, out of memory: none of these may end a training of days
            if error is self._progress.error:
                raise
            self._error = error
            self.note = str(error) if str(error).startswith(who) else f"{who}: {error}"
            return None

    @contextmanager
    def _timed(self, who: str) -> Iterator[None]:
        remote = who in self._remote
        started, worked = time.perf_counter(), work_clock(remote=remote)
        try:
            yield
        finally:
            self.seconds[who] += work_clock(remote=remote) - worked
            self.seconds[SERVERS] += remote * (time.perf_counter() - started)


def _key_before(step: ThinkerStep) -> Key:
    return step.source_id, step.instruction, step.edited_id, _plain(step.last_prompt)


def _key_after(step: ThinkerStep, prompt: str) -> Key:
    """The key of the edit by a prompt; that of the existing edit if the prompt says that it is good."""
    if _plain(prompt) == _plain(step.last_prompt):
        return _key_before(step)
    return step.source_id, step.instruction, "", _plain(prompt)


def _plain(prompt: str) -> str:
    return prompt.strip()


def _scores_of(verdict: Critique, unchanged: bool) -> Scores | None:
    """The judge's scores; an edit that changed nothing did not do what was asked, whatever the judge says."""
    if verdict.semantic is None or verdict.quality is None:
        return None
    return Scores(0.0 if unchanged else verdict.semantic, verdict.quality)


def settings_for(editor: Editor, steps: int) -> Settings:
    """The settings for editing a policy's prompts: the editor's defaults, with `steps` steps if that is not 0."""
    return replace(editor.defaults, steps=steps) if steps else editor.defaults
