"""What was read from every run, one JSON line each, so that an interrupted dataset resumes and no judge is asked twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import RethinkError
from ..pairs.jsonl_log import JsonlLog, LatestIndex
from ..pairs.store import RUN_LOG
from ..progress import OnProgress, ignore_progress, progress_with_eta
from ..steps import Critique
from ..think_loop import fingerprint
from ..thinkers.asking import FailureStreak
from ..thinkers.critique import Thinker
from ..thinkers.loading import is_same_model
from ..thinkers.protocol import OnToken
from ..training.recorded_runs import read_run
from ..trajectory import Trajectory
from .runs import (
    RunFacts,
    facts_of,
    facts_record,
    find_runs,
    judge_steps,
    load_steps,
    read_facts_record,
    run_id,
    score_facts,
)

# Which edits of a run a judge rescores: all, or only the best, to see whether it agrees.
Judged = Literal["all", "best"]
# Reasons that may be temporary: files still being copied, an unmounted disk, an older Rethink.
PASSING = ("unreadable", "newer", "image")


@dataclass(frozen=True)
class RunReader:
    """Reads the runs in some folders and their subfolders, each once.

    judge: rescores their edits, all of them or only the best; None: the run's own scores count.
    on_token: called while the judge answers.
    """

    runs: tuple[Path, ...]
    judge: Thinker | None = None
    judged: Judged = "all"
    on_token: OnToken | None = None

    def read(self, folder: Path, on_progress: OnProgress = ignore_progress) -> ReadRuns:
        """Read what was not read yet into the log in a folder, which is locked for writing.

        A run for which the judge gives no answer is not logged, so the judge is asked again next time. A run that could not be
        read is tried again. Raises RethinkError if the judge fails several times in a row, or if there is no run.
        """
        log = open_log(folder)
        log.repair()
        known, ids = LatestIndex(log), {}
        unanswered: list[RunFacts] = []
        report, streak = progress_with_eta("runs read", on_progress), FailureStreak()
        total = sum(1 for _ in find_runs(self.runs))
        for done, run in enumerate(find_runs(self.runs), 1):
            id = run_id(run, self._judged_by)
            why = next(known.records([id]))["why"] if id in known else None
            if id not in ids and (why is None or why in PASSING):
                facts, answered = self._read(run, id)
                if not answered:
                    unanswered.append(facts)
                elif facts.why != why:
                    log.append(facts_record(facts))
                streak.record(not answered, f"judge: {facts.run} got no answer")
            if not unanswered or unanswered[-1].id != id:
                ids[id] = None
            report(done, total)
        if not total:
            places = ", ".join(map(str, self.runs))
            raise RethinkError(
                f"runs: there is no recorded run in {places} or its subfolders; run the thinking loop first, or give another folder."
            )
        known.refresh()
        return ReadRuns(log, known, tuple(ids), tuple(unanswered))

    @property
    def _judged_by(self) -> str:
        if self.judge is None:
            return ""
        return f"{self.judged} {self.judge.chat.name} {fingerprint(self.judge.template.encode())}"

    def _read(self, run: Path, id: str) -> tuple[RunFacts, bool]:
        """(the facts of a run, whether the judge, if any, answered for every edit it was asked about)."""
        trajectory, why = read_run(run)
        if trajectory is None or why:
            return RunFacts(id, str(run), why), True
        try:
            facts = facts_of(run, id, trajectory, None)
        except OSError:  # its files were just removed
            return RunFacts(id, str(run), "image"), True
        if self.judge is None or facts.best is None:
            return facts, True
        if self.judged == "best" and facts.best.semantic is None and not facts.chosen:  # nothing to agree with
            return facts, True
        indices = range(len(trajectory.steps)) if self.judged == "all" else [facts.best.index]
        try:
            images = load_steps(trajectory, indices)
        except RethinkError:
            return replace(facts, why="image"), True
        answers = judge_steps(trajectory, indices, images, self.judge, self.on_token)
        answered = all(answer.status != "failed" for answer in answers)
        return self._with_answers(facts, trajectory, dict(zip(indices, answers))), answered

    def _with_answers(self, facts: RunFacts, trajectory: Trajectory, answers: dict[int, Critique]) -> RunFacts:
        assert self.judge is not None, "who answered"
        scores = {
            str(index): (answer.semantic, answer.quality)
            for index, answer in answers.items()
            if answer.semantic is not None and answer.quality is not None
        }
        same = is_same_model(self.judge.chat.name, trajectory.options.get("thinker"))
        if self.judged == "all":  # in place of the run's own scores
            facts = score_facts(facts, trajectory, scores)
        return replace(facts, scores=scores, same_judge=same)


@dataclass(frozen=True)
class ReadRuns:
    """The requested runs, in the order of their folders; facts are read one by one, so there may be any number.

    ids: of the runs in the log; unanswered: runs for which the judge gave no answer.
    """

    log: JsonlLog
    index: LatestIndex
    ids: tuple[str, ...]
    unanswered: tuple[RunFacts, ...]

    def __iter__(self) -> Iterator[RunFacts]:
        """Every run once; copies of an earlier one have the reason “copy”."""
        seen: set[int] = set()
        for record in self.index.records(self.ids):
            facts = read_facts_record(record)
            if not facts.why:
                content = int(facts.content, 16)
                facts = replace(facts, why="copy") if content in seen else facts
                seen.add(content)
            yield facts
        yield from (replace(facts, why="judge") for facts in self.unanswered)


def open_log(folder: Path) -> JsonlLog:
    """The log in a folder."""
    return JsonlLog(folder / RUN_LOG, _check)


def _check(record: dict) -> None:
    try:
        facts = read_facts_record(record)
        valid = all(isinstance(text, str) for text in (facts.id, facts.run, facts.why, facts.content, facts.kind))
        numbers: Iterable[object] = (number for turn in facts.turns for number in turn)
        if not valid or not all(isinstance(number, (int, float)) for number in numbers):
            raise TypeError("a value has the wrong type")
        if facts.scores is not None and not isinstance(facts.scores, dict):
            raise TypeError("its scores have the wrong type")
    except (TypeError, KeyError) as error:
        raise RethinkError(f"it is not a record of a run's facts ({error!r:.80})") from error
