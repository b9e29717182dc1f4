"""The job of making pairs for editors of recorded runs: what the node and the command share.

What needed several turns of thinking becomes one example: the user's own wording and the source, and the best edit as the
target. The prompts in between are left out: the editor is to learn what the user means. The one that made the best edit stands in
the pair's parameters: a text encoder can learn to read the user's words as it reads that prompt.
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
    "unchanged": "the best edit has changed nothing",
    "preservation": "too much else was changed",
    "disagreement": "the judge does not agree",
    "gone": "went missing or changed meanwhile",
    "broken": "an image cannot be read, or has another size than the source",
    "duplicate": "nearly the same as another pair",
}


@dataclass(frozen=True)
class RunPairRules:
    """Which runs become pairs."""

    score: float = option(
        0.0,
        "Both scores of the best edit are at least this, of ten. 0: what the run itself accepted. An edit that a person took "
        "counts as it is.",
        low=0,
        high=10,
        step=0.5,
    )
    preservation: float = option(
        20.0,
        "What was not edited differs from the source by a PSNR of at least this many dB: 20 lets an autoencoder's softness "
        "pass, 30 hardly anything. 0: any.",
        low=0,
        high=99,
        step=1,
    )
    changed: float = option(
        1.0, "At most this fraction of the image has changed. 1: all of it may.", low=0, high=1, step=0.01
    )
    agreement: float = option(
        2.0, "The judge's lower score is at most this far below the run's own.", low=0, high=10, step=0.5
    )
    duplicates: int = option(
        2,
        "Of pairs with one instruction, whose targets differ in at most this many of 64 bits of a hash, one is kept. "
        "-1: all.",
        low=-1,
        high=3,
        advanced=True,
    )
    margin: float = option(
        1.0,
        "Preferences: the best edit of a run scores at least this much more than the worst.",
        low=0,
        high=10,
        step=0.5,
        advanced=True,
    )

    def __post_init__(self):
        check_limits(self)


def reject_reason(facts: RunFacts, rules: RunPairRules) -> str:
    """A key of RULES: why a run is no pair, by what was read of it; "" where it is one."""
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
    """Make pairs of recorded runs.

    runs: folders with runs in them or below. store: the folder of the pairs, new or begun; pairs that exist are not made
    again. judge: a second opinion on the best edit of every run. preferences: a folder for the best and the worst edit of
    every run that became a pair, for trainers that learn from preferences; None: none are written.
    """

    runs: tuple[Path, ...]
    store: Path
    rules: RunPairRules = field(default_factory=RunPairRules)
    judge: Thinker | None = None
    preferences: Path | None = None

    def run(self, on_progress: OnProgress = ignore_progress, on_token: OnToken | None = None) -> RunPairsReport:
        """Read, judge, filter, write. A run that was stopped goes on.

        on_token: called while the judge answers; what it raises ends the job.
        """
        from .run_log import RunReader

        if self.preferences is not None:  # before judges are asked
            if self.preferences.resolve() == self.store.resolve():
                raise RethinkError(f"preferences: {self.preferences} is the folder of the pairs; choose another one.")
            require_free(self.preferences, replace=True)
        with PairStore(self.store).writing() as store:
            runs = RunReader(self.runs, self.judge, "best", on_token).read(self.store, on_progress)
            maker = _PairMaker(store, self.rules, _left_out(store, runs, self.rules))
            report = progress_with_eta("runs looked at", on_progress)
            total = len(runs.ids) + len(runs.unanswered)
            for done, facts in enumerate(runs, 1):
                maker.take(facts)
                report(done, total)
            if not maker.kept:
                raise RethinkError(
                    f"runs: none of {total} became a pair: {maker.reasons}; loosen the rule that drops most."
                )
            describe_store(store)
        pairs = PairStore(self.store, maker.kept)
        return RunPairsReport(pairs, total, maker.made, maker.dropped, maker.same_judge, self._preferences(pairs, runs))

    def _preferences(self, pairs: PairStore, runs: ReadRuns) -> int | None:
        """How many were written; None where none were asked for."""
        if self.preferences is None:
            return None
        return write_preferences(_preferences(pairs, runs, self.rules.margin), self.preferences)


def _left_out(store: PairStore, runs: Iterable[RunFacts], rules: RunPairRules) -> set[str]:
    """The ids of pairs in the store whose runs are there, but have changed since then, or are no longer let pass by the rules.

    That a judge does not answer for a run now says nothing about its pair.
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
    """Makes a pair of every run that the rules let pass and whose pair is not nearly the same as another, of which those in
    the store, but for the ones in `left_out`, go first.

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
        """Why it is no pair after all, looking at the pixels; "" where it is in the store now."""
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
        """Whether a pair of the store, which is remembered, is not nearly the same as one before it."""
        scores = self._known_scores(pair.id)
        return bool(scores) and not self._duplicates.reject_reasons(scores, pair)

    def _known_scores(self, id: str) -> dict[str, Any]:
        """What was measured of a pair; empty where it was not."""
        scores = next(self._measured.records([id])) if id in self._measured else {}
        return scores if "hash_edit" in scores else {}

    def _measure(self, pair: EditPair, facts: RunFacts, trajectory: Trajectory) -> dict[str, Any]:
        """The scores that filters go by, measured once."""
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
    """The pair that a run is."""
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
    """The id of the pair that a run is: the same for a copy of the run, another one for another best edit."""
    best = facts.best and facts.best.index
    return hashlib.sha256(f"{facts.content} {best}".encode()).hexdigest()[:16]


def _parameters(facts: RunFacts, trajectory: Trajectory) -> dict[str, Any]:
    """How its run went, for those who look through pairs."""
    assert facts.best is not None, "checked by the rules"
    step = trajectory.steps[facts.best.index]
    models = {name: trajectory.options.get(name, "") for name in ("editor", "thinker", "judge")}
    base = trajectory.options.get("rules", {}).get("base", "")  # what each turn has edited
    how = {"prompt": step.prompt, "turn": step.turn, "base": base, "score": facts.best.score}
    return {"run": Path(facts.run).name, **how, **models}


def _preferences(pairs: PairStore, runs: ReadRuns, margin: float) -> Iterator[Preference]:
    """The best and the worst edit of every run among `pairs` that nobody rejected."""
    left = {pair.id for pair in pairs.accepted()}
    for facts in runs:
        best, worst = facts.best, facts.worst
        if pair_id(facts) not in left or best is None or worst is None:
            continue
        if best.index == worst.index or best.score is None or worst.score is None or best.score - worst.score < margin:
            continue
        with suppress(RethinkError):  # it has gone or changed meanwhile
            yield Preference(reload_run(facts), best.index, worst.index, best.score, worst.score)
            left.discard(pair_id(facts))  # a copy of the run prefers nothing else


@dataclass(frozen=True)
class RunPairsReport:
    """The result of a job. pairs: the store, narrowed to the runs' pairs, made now or before. runs: how many there are;
    made: how many pairs are new; dropped: runs by the key of RULES; same_judge: runs whose judge is their own thinker.
    preferences: how many were written; None where none were asked for."""

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
            lines.append(f"{format_count(self.preferences, 'preference')}, the best against the worst of a run.")
        return "\n".join(filter(None, [*lines, warn_of_same_judge(self.same_judge)]))
