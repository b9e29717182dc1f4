"""Measure the edits of a comparison, once each: everything Score Edit measures, and the match with a known target. What could not be
measured is left out, never given as a number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evaluation.learned_measures import LearnedMeasure
from ..evaluation.measures import DIRECTION, OVERALL, TARGET_KEPT, TARGET_REACHED
from ..evaluation.target_match import match_target
from ..images import load_image, to_pixels
from ..pairs.jsonl_log import JsonlLog, fields_are
from ..scoring.edited_part import EditedPart, measure_by_clip
from ..scoring.further import NO_FURTHER, FurtherMeasures
from ..scoring.judge import judge_edits
from ..scoring.record import EditScores, Measurement
from ..thinkers.critique import Thinker
from .edits import Edit, source_file
from .tasks import CompareTask

if TYPE_CHECKING:
    from torch import Tensor

    from ..evaluation.clip_similarity import Clip
    from ..pairs.models import ModelSource
    from ..thinkers.protocol import OnToken

LOG = "scores.jsonl"
MOST_FAILURES = 5  # edits in a row without any answer, after which the judge is considered unavailable
BEST_BY = (OVERALL, DIRECTION, TARGET_REACHED)  # measures that an editor that does nothing cannot win
Scores = dict[str, float]  # by the measure's id


@dataclass(frozen=True)
class Scored:
    """Scores by task and variant. unchanged: edits in which nothing changed. notes: what could not be measured, and why."""

    scores: Mapping[tuple[str, str], Scores]
    unchanged: frozenset[tuple[str, str]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scorer:
    """Measures edits. clip, judge: None to do without. further: measures that need models of their own. on_token: called while the judge
    answers; what it raises ends the job."""

    folder: Path
    clip: ModelSource[Clip] | None = None
    judge: Thinker | None = None
    further: FurtherMeasures = NO_FURTHER
    on_token: OnToken | None = None

    def run(
        self,
        tasks: Sequence[CompareTask],
        found: Mapping[tuple[str, str], Edit],
        on_done: Callable[[int, int], None] = lambda done, total: None,
    ) -> Scored:
        """Measure what has not been measured yet, task by task, and log it. Only one further measure is open at a time."""
        log = JsonlLog(self.folder / LOG, fields_are(id=str, values=dict))
        log.repair()
        known = {record["id"]: _numbers(record["values"]) for record in log}
        judging, notes = _Judging(self.judge, self.on_token), []
        rounds = [
            self._first_round(judging),
            *([_further_kind(self.further, row, notes)] for row in self.further.rows()),
        ]
        scores: dict[tuple[str, str], Scores] = {}
        for number, kinds in enumerate(rounds):
            for done, task in enumerate(tasks, 1):
                edits = [edit for (id, _), edit in found.items() if id == task.id]
                opened = _Opened(self.folder, task)
                for kind in kinds:
                    by = kind.by(opened)
                    names = {edit: f"{task.id} {edit.digest} {kind.name} {by}" for edit in edits} if by else {}
                    fresh = {name: edit for edit, name in names.items() if name not in known}
                    for name, values in zip(fresh, kind.compute(opened, list(fresh.values())) if fresh else ()):
                        if values is not None:
                            known[name] = values
                            log.append({"id": name, "values": values})
                    for edit, name in names.items():
                        scores.setdefault((task.id, edit.variant), {}).update(known.get(name, {}))
                on_done(number * len(tasks) + done, len(rounds) * len(tasks))
            kinds.clear()  # frees a model that one of them holds before the next one is opened
        unchanged = frozenset(place for place, values in scores.items() if values.pop("unchanged", 0))
        return Scored(scores, unchanged, (*judging.notes, *dict.fromkeys(notes)))

    def _first_round(self, judging: _Judging) -> list[_Kind]:
        """The measures that need to look at a task's images only once."""
        clip = self.clip.load() if self.clip else None
        name = self.clip.name if self.clip else ""
        return [
            _Kind("outside", _region_digest, _measure_outside),
            _Kind(
                "clip", lambda opened: f"{name} {opened.task.captions}" if name else "", partial(_measure_clip, clip)
            ),
            _Kind("target", _target_digest, _measure_target),
            _Kind("judge", lambda opened: judging.identity, judging.score),
        ]


@dataclass(frozen=True)
class _Kind:
    """Values that are measured together. by: everything they depend on besides the edit; "" if they are not measured. compute: gives
    the values of every edit, None for one to try again in the next run."""

    name: str
    by: Callable[[_Opened], str]
    compute: Callable[[_Opened, Sequence[Edit]], Iterable[Scores | None]]


class _Opened:
    """The images of a task, each read when first needed."""

    def __init__(self, folder: Path, task: CompareTask):
        self._folder, self.task = folder, task
        self._images: dict[str, Tensor] = {}
        self._parts: dict[str, EditedPart] = {}

    @property
    def source(self) -> Tensor:
        return self._read(source_file(self.task))

    def edited(self, edit: Edit) -> Tensor:
        return self._read(edit.file)

    def part(self, edit: Edit) -> EditedPart:
        if edit.file not in self._parts:
            self._parts[edit.file] = EditedPart.of(self.source, self.edited(edit), self.region())
        return self._parts[edit.file]

    def region(self) -> Tensor | None:
        return self.task.load_region() if self.task.load_region else None

    def _read(self, file: str) -> Tensor:
        if file not in self._images:
            self._images[file] = load_image(self._folder / file, "output")
        return self._images[file]


def _values(measurements: Iterable[Measurement]) -> Scores:
    return {each.measure.id: round(each.value, 5) for each in measurements if each.value is not None}


def _measure_outside(opened: _Opened, edits: Sequence[Edit]) -> Iterator[Scores]:
    for edit in edits:
        part = opened.part(edit)
        yield _values(part.measurements()) | {"unchanged": float(part.unchanged)}


def _measure_clip(clip: Clip | None, opened: _Opened, edits: Sequence[Edit]) -> Iterator[Scores]:
    assert clip is not None, "it is asked only where there is one"
    images = [opened.part(edit).edited for edit in edits]
    # An edit that changed nothing has no direction: leaving it out of its editor's mean would cost the editor nothing.
    idle = {DIRECTION.id: 0.0} if opened.task.captions else {}
    for found in measure_by_clip(clip, opened.source, images, opened.task.captions):
        yield idle | _values(found)


def _measure_target(opened: _Opened, edits: Sequence[Edit]) -> Iterator[Scores]:
    assert opened.task.load_target is not None, "it is asked only where there is one"
    target = opened.task.load_target()
    for edit in edits:
        found = match_target(opened.source, target, opened.edited(edit))
        yield _values([Measurement(TARGET_REACHED, found.changed), Measurement(TARGET_KEPT, found.kept)])


def _further_kind(further: FurtherMeasures, row: LearnedMeasure, notes: list[str]) -> _Kind:
    """notes: collects the reasons for what is not measured."""
    open_once = cache(lambda: further.open(row))

    def compute(opened: _Opened, edits: Sequence[Edit]) -> Iterator[Scores | None]:
        measure = open_once()
        for edit in edits:
            part = opened.part(edit)
            found = measure(opened.source, part, opened.task.instruction)
            if found.value is None and found.why != part.why:
                notes.append(f"{row.name} was not measured: {found.why}.")
                yield None
            else:
                yield _values([found])

    return _Kind(row.measure.id, _region_digest, compute)


class _Judging:
    """Asks the judge until it is considered unavailable."""

    def __init__(self, judge: Thinker | None, on_token: OnToken | None):
        self._judge, self._on_token, self._in_a_row = judge, on_token, 0
        self.notes: list[str] = []

    @property
    def identity(self) -> str:
        """What the judge's scores depend on; "" without a judge."""
        judge = self._judge
        if judge is None:
            return ""
        template = hashlib.sha256(judge.template.encode()).hexdigest()[:12]
        return f"{judge.chat.name} {judge.max_tokens} {judge.temperature:g} {template} four scores"

    def score(self, opened: _Opened, edits: Sequence[Edit]) -> list[Scores | None]:
        """Scores of each edit, all asked as one batch; None for an edit without scores, which is asked about again in the next run."""
        judge, task = self._judge, opened.task
        if judge is None or self._in_a_row >= MOST_FAILURES:
            return [None] * len(edits)
        images = [opened.edited(edit) for edit in edits]
        found = judge_edits(judge, opened.source, images, task.instruction, 1, 0, self._on_token)
        return [self._read(task, scores) for scores in found]

    def _read(self, task: CompareTask, scores: EditScores) -> Scores | None:
        self._in_a_row = self._in_a_row + 1 if scores.unanswered else 0
        overall = scores.find(OVERALL)
        if overall.value is not None:
            return _values(scores.measurements)
        self.notes.append(f"Not judged: {task.name}, “{task.instruction[:60]}”: {overall.why}")
        if self._in_a_row == MOST_FAILURES:
            self.notes.append(
                "The judge does not answer and is not asked again in this run; run again when it answers, and it resumes."
            )
        return None


def _region_digest(opened: _Opened) -> str:
    """What the measures of the unchanged part depend on besides the images."""
    region = opened.region()
    return "everywhere" if region is None else hashlib.sha256(region.numpy().tobytes()).hexdigest()[:12]


def _target_digest(opened: _Opened) -> str:
    if opened.task.load_target is None:
        return ""
    return hashlib.sha256(to_pixels(opened.task.load_target()[0]).tobytes()).hexdigest()[:12]


def _numbers(values: Mapping[str, Any]) -> Scores:
    return {name: float(value) for name, value in values.items() if isinstance(value, (int, float))}
