"""How recorded runs went: by their own scores, or by a judge that rescores their first and their winning edit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import RethinkError
from ..progress import format_count
from ..steps import Critique, Step, best_of
from ..think_loop import is_accepted
from ..thinkers.asking import FailureStreak
from ..thinkers.critique import Thinker
from ..thinkers.protocol import OnToken
from ..trajectory import Trajectory
from .runs import config_of, has_succeeded, judge_steps, load_steps


@dataclass(frozen=True)
class RunOutcome:
    """How a run went.

    turns: how many it took. right: whether its result is good enough; at_once: whether turn 1 was; both None if the judge gave no
    scores. score: of the best edit. best: its image file. judged: whether the verdict is a judge's, not from the run's own scores.
    """

    turns: int
    right: bool | None
    at_once: bool | None
    score: float | None
    best: Path
    judged: bool = False

    @property
    def harmed(self) -> bool | None:
        """Whether turn 1 was right but the winning edit is not. None where that is unknown: by its own scores, a run ends at its
        first right edit, which wins."""
        if not self.judged or self.at_once is None:
            return None
        return self.at_once and not self.right

    def __str__(self) -> str:
        score = "no score" if self.score is None else f"{self.score:.1f}"
        verdict = ", not accepted" if self.right is False else ""
        return f"{format_count(self.turns, 'turn')}, {score}{verdict}{', though turn 1 was' if self.harmed else ''}"


def own_outcome(run: Trajectory) -> RunOutcome:
    """The outcome of a run with steps, by its own scores and by the person who chose an edit."""
    config, best = config_of(run), _best(run)
    at_once = any(is_accepted(step, config) for step in _first_turn(run))
    return RunOutcome(run.steps[-1].turn, has_succeeded(run), at_once, best.score, run.folder / best.file)


class OutcomeJudge:
    """Tells how runs went from a judge's scores of two edits: the best of turn 1 and the winner.

    on_token: called while the judge answers. Raises RethinkError if it fails to answer several times in a row.
    """

    def __init__(self, judge: Thinker, on_token: OnToken | None = None):
        self._judge, self._on_token, self._streak = judge, on_token, FailureStreak()

    def outcome(self, run: Trajectory) -> RunOutcome:
        """The outcome of a run with steps; it has no scores if an image does not open or the judge gives none."""
        best, first = _best(run), _first_turn(run)
        indices = [run.steps.index(first[best_of(first)]), run.steps.index(best)]
        answers = self._ask(run, sorted(set(indices)))
        unjudged = RunOutcome(run.steps[-1].turn, None, None, None, run.folder / best.file, True)
        if not answers or any(answer.overall is None for answer in answers.values()):
            return unjudged
        config = config_of(run)
        at_once, right = (is_accepted(replace(run.steps[index], judge=answers[index]), config) for index in indices)
        return replace(unjudged, right=right, at_once=at_once, score=answers[indices[1]].overall)

    def _ask(self, run: Trajectory, indices: list[int]) -> dict[int, Critique]:
        try:
            images = load_steps(run, indices)
        except RethinkError:
            return {}
        answers = judge_steps(run, indices, images, self._judge, self._on_token)
        failed = any(answer.status == "failed" for answer in answers)
        self._streak.record(failed, f"judge: {run.folder} got no answer")
        return dict(zip(indices, answers))


def _best(run: Trajectory) -> Step:
    assert run.best is not None, "runs without steps are left out"
    return run.steps[run.best]


def _first_turn(run: Trajectory) -> list[Step]:
    return [step for step in run.steps if step.turn == run.steps[0].turn]
