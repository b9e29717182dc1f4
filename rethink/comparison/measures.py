"""What is measured of the edits of a comparison, once each: what was kept, CLIP's similarities, the match with a known target, and a
judge's scores. What could not be measured is not there, and never a number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evaluation.clip_similarity import similarities
from ..evaluation.preservation import measure
from ..evaluation.target_match import match_target
from ..images import load_image, to_pixels
from ..pairs.jsonl_log import JsonlLog, fields_are
from ..thinkers.critique import Thinker, critique
from .edits import Edit, source_file
from .tasks import CompareTask

if TYPE_CHECKING:
    from torch import Tensor

    from ..evaluation.clip_similarity import Clip
    from ..pairs.models import ModelSource
    from ..steps import Critique
    from ..thinkers.protocol import OnToken

LOG = "scores.jsonl"
MOST_FAILURES = 5  # answers in a row that never came, after which the judge is taken to be gone
Scores = dict[str, float]


@dataclass(frozen=True)
class Measure:
    """id: in records. unit: behind a number. digits: behind its point."""

    id: str
    title: str
    help: str
    digits: int = 2
    unit: str = ""


# In the order in which a table has them; the first that was measured says which edits are best where nobody has voted.
MEASURES = (
    Measure("judge", "Judge", "√(instruction followed × looks natural), each 0 to 10, as the judge scores them.", 1),
    Measure(
        "judge_semantic",
        "Followed",
        "Judge: whether the instruction was followed and nothing else changed, 0 to 10.",
        1,
    ),
    Measure("judge_quality", "Natural", "Judge: natural, without artifacts, 0 to 10.", 1),
    Measure("clip_direction", "CLIP direction", "Whether the image changed as the captions did: 1 exactly so."),
    Measure("target_changed", "Target reached", "How much of the known target's change is there, 0 to 1."),
    Measure("clip_image", "CLIP image", "Similarity to the source by CLIP: 1 for the same image.", 3),
    Measure(
        "outside_psnr",
        "Kept",
        "What did not change, against the source, in decibels: above 35 nobody sees a difference.",
        1,
        " dB",
    ),
    Measure("target_kept", "Target kept", "Share of what the known target leaves alone that was left alone."),
)
BEST_BY = ("judge", "clip_direction", "target_changed")  # what an editor that does nothing does not win


@dataclass(frozen=True)
class Scored:
    """scores: by task and variant. unchanged: edits in which nothing has changed. notes: what could not be measured, and why."""

    scores: Mapping[tuple[str, str], Scores]
    unchanged: frozenset[tuple[str, str]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scorer:
    """clip, judge: None to do without. on_token: called while the judge answers; what it raises ends the job."""

    folder: Path
    clip: ModelSource[Clip] | None = None
    judge: Thinker | None = None
    on_token: OnToken | None = None

    def run(
        self,
        tasks: Sequence[CompareTask],
        found: Mapping[tuple[str, str], Edit],
        on_done: Callable[[int, int], None] = lambda done, total: None,
    ) -> Scored:
        """Measure what has not been measured yet, task by task, and write it down."""
        log = JsonlLog(self.folder / LOG, fields_are(id=str, values=dict))
        log.repair()
        known = {record["id"]: _numbers(record["values"]) for record in log}
        judging = _Judging(self.judge, self.on_token)
        clip = self.clip.load() if self.clip else None
        scores: dict[tuple[str, str], Scores] = {}
        for done, task in enumerate(tasks, 1):
            edits = [edit for (id, _), edit in found.items() if id == task.id]
            opened = _Opened(self.folder, task)
            for kind, by, compute in (
                ("kept", _region_digest(opened), _measure_kept),
                ("clip", f"{self.clip.name} {task.captions}" if self.clip else "", partial(_measure_clip, clip)),
                ("target", _target_digest(task), _measure_target),
                ("judge", judging.identity, judging.score),
            ):
                names = {edit: f"{task.id} {edit.digest} {kind} {by}" for edit in edits} if by else {}
                fresh = {name: edit for edit, name in names.items() if name not in known}
                for name, values in zip(fresh, compute(opened, list(fresh.values())) if fresh else ()):
                    if values is not None:
                        known[name] = values
                        log.append({"id": name, "values": values})
                for edit, name in names.items():
                    scores.setdefault((task.id, edit.variant), {}).update(known.get(name, {}))
            on_done(done, len(tasks))
        unchanged = frozenset(place for place, values in scores.items() if values.pop("unchanged", 0))
        return Scored(scores, unchanged, tuple(judging.notes))


class _Opened:
    """The images of a task, each read when it is first needed."""

    def __init__(self, folder: Path, task: CompareTask):
        self._folder, self.task = folder, task
        self._images: dict[str, Tensor] = {}

    @property
    def source(self) -> Tensor:
        return self._read(source_file(self.task))

    def edited(self, edit: Edit) -> Tensor:
        return self._read(edit.file)

    def region(self) -> Tensor | None:
        return self.task.load_region() if self.task.load_region else None

    def _read(self, file: str) -> Tensor:
        if file not in self._images:
            self._images[file] = load_image(self._folder / file, "output")
        return self._images[file]


def _measure_kept(opened: _Opened, edits: Sequence[Edit]) -> Iterator[Scores]:
    for edit in edits:
        found = measure(opened.source, opened.edited(edit), opened.region())[0]
        numbers = {"outside_psnr": round(found.outside_psnr, 3), "changed": round(found.changed, 4)}
        yield numbers | {"unchanged": float(found.unchanged)}


def _measure_clip(clip: Clip | None, opened: _Opened, edits: Sequence[Edit]) -> Iterator[Scores]:
    assert clip is not None, "it is asked only where there is one"
    pixels = [to_pixels(image[0]) for image in (opened.source, *map(opened.edited, edits))]
    features, captions = clip.images(pixels), opened.task.captions
    texts = clip.texts(captions)[:, None] if captions else None
    names = {"clip_sim_image": "clip_image", "clip_sim_dir": "clip_direction"}
    for number in range(1, len(pixels)):
        found = similarities(features[[0, number]][:, None], texts)[0]
        yield {name: found[theirs] for theirs, name in names.items() if theirs in found}


def _measure_target(opened: _Opened, edits: Sequence[Edit]) -> Iterator[Scores]:
    assert opened.task.load_target is not None, "it is asked only where there is one"
    target = opened.task.load_target()
    for edit in edits:
        found = match_target(opened.source, target, opened.edited(edit))
        kept = {} if found.kept is None else {"target_kept": round(found.kept, 4)}
        yield {"target_changed": round(found.changed, 4)} | kept


class _Judging:
    """Asks the judge, until it is taken to be gone."""

    def __init__(self, judge: Thinker | None, on_token: OnToken | None):
        self._judge, self._on_token, self._in_a_row = judge, on_token, 0
        self.notes: list[str] = []

    @property
    def identity(self) -> str:
        """What its scores depend on; "" where it is not asked."""
        judge = self._judge
        if judge is None:
            return ""
        template = hashlib.sha256(judge.template.encode()).hexdigest()[:12]
        return f"{judge.chat.name} {judge.max_tokens} {judge.temperature:g} {template}"

    def score(self, opened: _Opened, edits: Sequence[Edit]) -> list[Scores | None]:
        """Of each edit, all asked about as one batch; None where it gave no scores, for which it is asked again in the next run."""
        judge, task = self._judge, opened.task
        if judge is None or self._in_a_row >= MOST_FAILURES:
            return [None] * len(edits)
        texts, seeds = [task.instruction] * len(edits), [0] * len(edits)
        images = [opened.edited(edit) for edit in edits]
        found = critique(judge, opened.source, images, task.instruction, texts, seeds, on_token=self._on_token)
        return [self._read(task, verdict) for verdict in found]

    def _read(self, task: CompareTask, verdict: Critique) -> Scores | None:
        if verdict.overall is None or verdict.semantic is None or verdict.quality is None:
            self._in_a_row = self._in_a_row + 1 if verdict.status == "failed" else 0
            self.notes.append(f"Not judged: {task.name}, “{task.instruction[:60]}”: {verdict.note or verdict.status}")
            if self._in_a_row == MOST_FAILURES:
                self.notes.append(
                    "The judge does not answer and is asked nothing more; run again when it does, it goes on."
                )
            return None
        self._in_a_row = 0
        names = {"judge": verdict.overall, "judge_semantic": verdict.semantic, "judge_quality": verdict.quality}
        return {name: round(value, 3) for name, value in names.items()}


def _region_digest(opened: _Opened) -> str:
    """What the measure of what was kept depends on besides the images."""
    region = opened.region()
    return "everywhere" if region is None else hashlib.sha256(region.numpy().tobytes()).hexdigest()[:12]


def _target_digest(task: CompareTask) -> str:
    if task.load_target is None:
        return ""
    return hashlib.sha256(to_pixels(task.load_target()[0]).tobytes()).hexdigest()[:12]


def _numbers(values: Mapping[str, Any]) -> Scores:
    return {name: float(value) for name, value in values.items() if isinstance(value, (int, float))}
