"""The job that makes pairs for editors from recorded runs, shared by the node and the command.

What took several turns of thinking becomes one example: the user's instruction and the source, with the best edit as the target.
The prompts in between are left out, so that the editor learns what the user means. The prompt of the best edit is kept in the
pair's parameters: a text encoder can learn to read the instruction as it reads that prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RethinkError
from ..evaluation.pixel_metrics import measure
from ..options import check_limits, option
from ..pairs.exporting import describe_store
from ..pairs.jsonl_log import DiskFull, LatestIndex
from ..pairs.pixels import read_pixels
from ..pairs.review.duplicates import THINKING, DuplicateFinder
from ..pairs.store import EditPair, PairStore
from ..pairs.whole_folder import require_free
from ..progress import OnProgress, format_count, ignore_progress, progress_with_eta
from ..text_files import one_line
from ..thinkers.critique import Thinker
from ..thinkers.protocol import OnToken
from ..trajectory import SOURCE_FILE, Trajectory
from .drops import Drops
from .preferences import Preference, write_preferences
from .runs import REASONS, RunFacts, reload_run, warn_of_same_judge

if TYPE_CHECKING:
    from .run_log import ReadRuns

RULES = {
    **REASONS,
    "unaccepted": "the best edit was not good enough",
    "unchanged": "the best edit changed nothing",
    "preservation": "too much else changed",
    "disagreement": "the judge disagrees",
    "gone": "went missing or changed meanwhile",
    "broken": "an image cannot be read, or differs in size from the source",
    "duplicate": "nearly the same as another pair",
}


@dataclass(frozen=True)
class RunPairRules:
    """Which runs become pairs."""

    score: float = option(
        0.0,
        "Minimum for both scores of the best edit, out of 10. 0: what the run itself accepted. An edit that a person chose "
        "passes whatever its scores.",
        low=0,
        high=10,
        step=0.5,
    )
    preservation: float = option(
        20.0,
        "Minimum PSNR against the source outside the edit, in dB: 20 tolerates an autoencoder's softness, "
        "30 almost nothing. 0: no minimum.",
        low=0,
        high=99,
        step=1,
    )
    changed: float = option(
        1.0, "Maximum fraction of the image that may change. 1: no limit.", low=0, high=1, step=0.01
    )
    agreement: float = option(
        2.0, "How far the judge's lower score may fall below the run's lower score.", low=0, high=10, step=0.5
    )
    duplicates: int = option(
        2,
        "Keep only one of several pairs with the same instruction whose targets differ in at most this many of the 64 bits "
        "of a hash. -1: keep all.",
        low=-1,
        high=3,
        advanced=True,
    )
    margin: float = option(
        1.0,
        "For preferences: how much higher the best edit of a run must score than the worst.",
        low=0,
        high=10,
        step=0.5,
        advanced=True,
    )

    def __post_init__(self):
        check_limits(self)


def reject_reason(facts: RunFacts, rules: RunPairRules) -> str:
    """A key of RULES: why a run does not become a pair, by its facts; "" if it does."""
    best = facts.best
    if (facts.why and facts.why not in ("failed", "unscored")) or best is None:
        return facts.why or "unscored"
    own = [score for score in (best.semantic, best.quality) if score is not None]
    if not facts.chosen:
        if not own:
            return facts.why or "unscored"
        if not facts.accepted if rules.score == 0 else min(own) < rules.score:
            return "unaccepted"
    if best.unchanged:
        return "unchanged"
    if best.outside_psnr < rules.preservation or best.changed > rules.changed:
        return "preservation"
    if facts.scores is None:
        return ""
    judged = facts.scores.get(str(best.index))
    if judged is None:
        return "judge"
    return "disagreement" if min(judged) < min(own, default=rules.score) - rules.agreement else ""


@dataclass(frozen=True)
class RunPairsJob:
    """Make pairs from recorded runs.

    runs: folders with runs, in them or in their subfolders. store: the folder of the pairs, new or existing; existing pairs are
    not made again. judge: a second opinion on the best edit of every run. preferences: a folder for the best and the worst edit
    of every run that became a pair, for preference training; None: none are written.
    """

    runs: tuple[Path, ...]
    store: Path
    rules: RunPairRules = field(default_factory=RunPairRules)
    judge: Thinker | None = None
    preferences: Path | None = None

    def run(self, on_progress: OnProgress = ignore_progress, on_token: OnToken | None = None) -> RunPairsReport:
        """Read, judge, filter, write. An interrupted job resumes.

        on_token: called while the judge answers; what it raises ends the job.
        """
        from .run_log import RunReader

        if self.preferences is not None:  # before the judge is asked
            if self.preferences.resolve() == self.store.resolve():
                raise RethinkError(
                    f"preferences: {self.preferences} is the folder of the pairs; choose another folder."
                )
            require_free(self.preferences, replace=True)
        with PairStore(self.store).writing() as store:
            runs = RunReader(self.runs, self.judge, "best", on_token).read(self.store, on_progress)
            maker = _PairMaker(store, self.rules, _left_out(store, runs, self.rules))
            report = progress_with_eta("runs checked", on_progress)
            total = len(runs.ids) + len(runs.unanswered)
            for done, facts in enumerate(runs, 1):
                maker.take(facts)
                report(done, total)
            if not maker.kept:
                raise RethinkError(
                    f"runs: none of {total} became a pair: {maker.reasons}; loosen the rule that drops the most."
                )
            describe_store(store)
        pairs = PairStore(self.store, maker.kept)
        return RunPairsReport(pairs, total, maker.made, maker.dropped, maker.same_judge, self._preferences(pairs, runs))

    def _preferences(self, pairs: PairStore, runs: ReadRuns) -> int | None:
        """The number written; None if none were requested."""
        if self.preferences is None:
            return None
        return write_preferences(_preferences(pairs, runs, self.rules.margin), self.preferences)


def _left_out(store: PairStore, runs: Iterable[RunFacts], rules: RunPairRules) -> set[str]:
    """The ids of pairs in the store whose runs are present but have changed since then, or no longer pass the rules.

    A judge that does not answer for a run now says nothing about its pair.
    """
    passing, seen = set(), set()
    for facts in runs:
        seen.add((Path(facts.run).name, facts.source))
        if reject_reason(facts, rules) in ("", "judge"):
            passing.add(pair_id(facts))
    return {
        pair.id
        for pair in store
        if pair.operation == THINKING and pair.id not in passing and (pair.parameters.get("run"), pair.source) in seen
    }


class _PairMaker:
    """Makes a pair from every run that passes the rules and whose pair is not nearly the same as another; pairs already in
    the store, except those in `left_out`, take precedence.

    kept: ids of the pairs; made: how many of them are new.
    """

    def __init__(self, store: PairStore, rules: RunPairRules, left_out: Collection[str]):
        self._store, self._rules = store, rules
        self._measured, self._duplicates = LatestIndex(store.scores), DuplicateFinder(rules.duplicates)
        pairs = (pair for pair in store if pair.operation == THINKING and pair.id not in left_out)
        self._stored = {pair.id for pair in pairs if self._is_new(pair)}
        self.kept: set[str] = set()
        self.dropped = Drops()
        self.made = self.same_judge = 0

    @property
    def reasons(self) -> str:
        return "; ".join(self.dropped.describe(RULES))

    def take(self, facts: RunFacts) -> None:
        self.same_judge += facts.same_judge
        why = reject_reason(facts, self._rules) or self._add(facts)
        if why:
            self.dropped.add(why, facts.run)

    def _add(self, facts: RunFacts) -> str:
        """Why it does not become a pair after all, by its pixels; "" if it is now in the store."""
        try:
            trajectory = reload_run(facts)
        except RethinkError:
            return "gone"
        try:
            pair = pair_of(facts, trajectory, self._store)
            scores = self._measure(pair, facts, trajectory)
            if "hash_edit" not in scores:
                return "broken"
            if pair.id not in self._stored and self._duplicates.reject_reasons(scores, pair):
                return "duplicate"
            if pair.id not in self._store:
                for path, pixels in zip((pair.input, pair.target), _read_sides(facts, trajectory)):
                    self._store.write_image(path, pixels)
                self._store.add(pair)
                self.made += 1
        except (RethinkError, FileNotFoundError) as error:
            if isinstance(error, DiskFull):
                raise
            return "broken"
        self.kept.add(pair.id)
        return ""

    def _is_new(self, pair: EditPair) -> bool:
        """Whether a pair of the store is not nearly the same as an earlier one; the pair is remembered."""
        scores = self._known_scores(pair.id)
        return bool(scores) and not self._duplicates.reject_reasons(scores, pair)

    def _known_scores(self, id: str) -> dict[str, Any]:
        """The measurements of a pair; empty if it was not measured."""
        scores = next(self._measured.records([id])) if id in self._measured else {}
        return scores if "hash_edit" in scores else {}

    def _measure(self, pair: EditPair, facts: RunFacts, trajectory: Trajectory) -> dict[str, Any]:
        """The scores that filters use, measured once."""
        if known := self._known_scores(pair.id):
            return known
        scores = {"id": pair.id, **measure(*_read_sides(facts, trajectory), None)}
        self._store.scores.append(scores)
        self._measured.refresh()
        return scores


def _read_sides(facts: RunFacts, trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Source and best edit, uint8 [H, W, 3]."""
    assert facts.best is not None, "checked by the rules"
    names = SOURCE_FILE, trajectory.steps[facts.best.index].file
    before, after = (read_pixels(trajectory.folder / name) for name in names)
    return before, after


def pair_of(facts: RunFacts, trajectory: Trajectory, store: PairStore) -> EditPair:
    """The pair that a run becomes."""
    assert facts.best is not None, "checked by the rules"
    id = pair_id(facts)
    return EditPair(
        id,
        store.image_path(id, "input"),
        store.image_path(id, "target"),
        one_line(trajectory.instruction),
        operation=THINKING,
        parameters=_parameters(facts, trajectory),
        seed=trajectory.steps[facts.best.index].seed,
        source=facts.source,  # pairs of one image are held out together
    )


def pair_id(facts: RunFacts) -> str:
    """The id of a run's pair: the same for a copy of the run, a different one for a different best edit."""
    best = facts.best and facts.best.index
    return hashlib.sha256(f"{facts.content} {best}".encode()).hexdigest()[:16]


def _parameters(facts: RunFacts, trajectory: Trajectory) -> dict[str, Any]:
    """How the run went, for people who review pairs."""
    assert facts.best is not None, "checked by the rules"
    step = trajectory.steps[facts.best.index]
    models = {name: trajectory.options.get(name, "") for name in ("editor", "thinker", "judge")}
    base = trajectory.options.get("rules", {}).get("base", "")  # the image that each turn edited
    how = {"prompt": step.prompt, "turn": step.turn, "base": base, "score": facts.best.score}
    return {"run": Path(facts.run).name, **how, **models}


def _preferences(pairs: PairStore, runs: ReadRuns, margin: float) -> Iterator[Preference]:
    """The best and the worst edit of every run whose pair in `pairs` was not rejected."""
    left = {pair.id for pair in pairs.accepted()}
    for facts in runs:
        best, worst = facts.best, facts.worst
        if pair_id(facts) not in left or best is None or worst is None:
            continue
        if best.index == worst.index or best.score is None or worst.score is None or best.score - worst.score < margin:
            continue
        with suppress(RethinkError):  # it went missing or changed meanwhile
            yield Preference(reload_run(facts), best.index, worst.index, best.score, worst.score)
            left.discard(pair_id(facts))  # a copy of the run adds no other preference


@dataclass(frozen=True)
class RunPairsReport:
    """The result of a job. pairs: the store, narrowed to the pairs of the runs, made now or before. runs: how many there are;
    made: how many pairs are new; dropped: runs by the key of RULES; same_judge: runs whose judge is their own thinker.
    preferences: how many were written; None if none were requested."""

    pairs: PairStore
    runs: int
    made: int
    dropped: Drops
    same_judge: int
    preferences: int | None

    def __str__(self) -> str:
        kept = len(self.pairs.subset_ids)
        lines = [
            f"{format_count(kept, 'pair')} from {format_count(self.runs, 'run')}, {self.made} made now → {self.pairs.folder}"
        ]
        lines += self.dropped.describe(RULES)
        if self.preferences is not None:
            lines.append(f"{format_count(self.preferences, 'preference')}, the best edit of a run against its worst.")
        return "\n".join(filter(None, [*lines, warn_of_same_judge(self.same_judge)]))
