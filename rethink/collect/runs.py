"""Find recorded runs and read the few facts of each that the rules of a dataset need.

Runs come from anyone: whatever is wrong with one costs only that one, and has a name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..errors import RethinkError
from ..progress import format_count
from ..steps import Critique, Step
from ..text_files import MOST_CHARACTERS
from ..think_loop import LoopConfig, is_accepted
from ..thinkers.critique import Thinker, critique
from ..thinkers.protocol import OnToken
from ..trajectory import RECORD_FILE, SOURCE_FILE, Trajectory, load_trajectory

READING = 3  # version of the facts read from a run; when their meaning changes, they are read again

# Why a run teaches nothing: the text for each value of `RunFacts.why`, in the order in which the reasons are checked.
REASONS = {
    "unreadable": "no readable record of a run",
    "newer": "written by a newer Rethink",
    "image": "an image is missing or truncated",
    "unfinished": "not finished: interrupted, or still running",
    "wordless": f"an instruction that is empty, has control characters, or has more than {MOST_CHARACTERS:,} characters",
    "failed": "the thinker failed before any edit had a score",
    "unscored": "no scores",
    "judge": "the judge gave no scores",
    "copy": "a copy of another run",
}


class TurnFacts(NamedTuple):
    """The step of a turn to learn from: its index in the run, and its scores, 0…10."""

    index: int
    semantic: float
    quality: float
    overall: float


@dataclass(frozen=True)
class EditFacts:
    """An edit of a run: the scores of its own thinker or judge, None without any, and how well the source was preserved."""

    index: int
    semantic: float | None
    quality: float | None
    score: float | None
    outside_psnr: float
    changed: float
    unchanged: bool


@dataclass(frozen=True)
class RunFacts:
    """The facts of a run that the rules use.

    id: of the record as it was read, and of who scored. run: its folder. content, source: 16 hex digits of its record with
    its source, and of the source alone. why: a key of REASONS, or "". turns: those that have scores to learn. best, worst: of
    all edits; chosen: whether a person chose the best; accepted: whether its scores satisfy the run's own rules (a judge's scores
    where it scored all edits). scores: [semantic, quality] given by a judge, by the index of the step. same_judge: whether that
    judge is the run's own thinker. harmed: whether that judge accepts an edit of the first turn but not the best.
    """

    id: str
    run: str
    why: str = ""
    content: str = ""
    source: str = ""
    kind: str = ""
    stopped: str = ""
    turns: tuple[TurnFacts, ...] = ()
    best: EditFacts | None = None
    worst: EditFacts | None = None
    chosen: bool = False
    accepted: bool = False
    scores: Mapping[str, tuple[float, float]] | None = None
    same_judge: bool = False
    harmed: bool = False

    @property
    def best_turn(self) -> int:
        """The position of the best in `turns`, the earliest of equals."""
        overall = [turn.overall for turn in self.turns]
        return overall.index(max(overall))


def facts_record(facts: RunFacts) -> dict[str, Any]:
    """The facts as plain JSON values."""
    return asdict(facts)


def read_facts_record(record: Mapping[str, Any]) -> RunFacts:
    """The facts of a record that `facts_record` made. Raises TypeError for any other."""
    edits = {name: record[name] and EditFacts(**record[name]) for name in ("best", "worst")}
    turns = tuple(TurnFacts(*turn) for turn in record["turns"])
    return RunFacts(**{**record, **edits, "turns": turns})


def find_runs(folders: Iterable[Path]) -> Iterator[Path]:
    """The folders of all runs in these folders and their subfolders, in the order of their names, without hidden ones.

    Raises RethinkError for a folder that does not exist.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise RethinkError(
                f"runs: there is no folder {folder}; give one with recorded runs, in it or in its subfolders."
            )
        yield from _walk(str(folder))


def _walk(folder: str) -> Iterator[Path]:
    """Keep only the names of folders in memory, as there may be many runs side by side; skip what cannot be read."""
    inner = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name == RECORD_FILE:
                    yield Path(folder)
                elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    inner.append(entry.name)
    except OSError:
        return
    for name in sorted(inner):
        yield from _walk(os.path.join(folder, name))


def run_id(folder: Path, judged_by: str) -> str:
    """16 hex digits that stay the same as long as the record, the judge, and the way the record is read do."""
    try:
        state = os.stat(folder / RECORD_FILE)
        stamp = f"{state.st_size} {state.st_mtime_ns}"
    except OSError:
        stamp = "gone"
    text = "\n".join([os.path.abspath(folder), stamp, judged_by, str(READING)])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def reload_run(facts: RunFacts) -> Trajectory:
    """The run that the facts were read from. Raises RethinkError if it is gone or has changed since then."""
    trajectory = load_trajectory(facts.run)
    require_unchanged(facts, trajectory.folder / SOURCE_FILE)
    return trajectory


def require_unchanged(facts: RunFacts, source: Path) -> None:
    """Raise RethinkError if a run that was just loaded has changed since its facts were read. source: the file of its
    source, or a copy."""
    try:
        unchanged = content_of(Path(facts.run) / RECORD_FILE, source) == facts.content
    except OSError:
        unchanged = False
    if not unchanged:
        raise RethinkError(f"runs: {facts.run} is gone or has changed since it was read; run again.")


def load_steps(trajectory: Trajectory, indices: Sequence[int]) -> list[Tensor]:
    """The source and the edits of some steps, IMAGE [1, H, W, 3] each. Raises RethinkError for a file that is no image."""
    return [trajectory.source, *(trajectory.image(trajectory.steps[index]) for index in indices)]


def judge_steps(
    trajectory: Trajectory, indices: Sequence[int], images: Sequence[Tensor], judge: Thinker, on_token: OnToken | None
) -> list[Critique]:
    """A judge's critiques of some steps, asked as one batch. images: from `load_steps`."""
    steps, (source, *edited) = [trajectory.steps[index] for index in indices], images
    prompts, seeds = [step.prompt for step in steps], [step.seed for step in steps]
    return critique(judge, source, edited, trajectory.instruction, prompts, seeds, on_token=on_token)


def with_scores(trajectory: Trajectory, scores: Mapping[str, tuple[float, float]] | None) -> Trajectory:
    """The run with a new judge's scores; a step that the judge did not score has none."""
    if scores is None:
        return trajectory

    def judged(index: int, step: Step) -> Step:
        found = scores.get(str(index))
        return replace(step, judge=Critique("ok", *found) if found else Critique("failed", note="not judged"))

    return replace(trajectory, steps=tuple(judged(index, step) for index, step in enumerate(trajectory.steps)))


def facts_of(
    folder: Path, id: str, trajectory: Trajectory, scores: Mapping[str, tuple[float, float]] | None
) -> RunFacts:
    """The facts of a whole run; scores: from a judge, see `RunFacts`. Raises OSError if its files are gone."""
    from ..training.conversations import kind_of

    best = trajectory.best
    facts = RunFacts(
        id,
        str(folder),
        content=content_of(folder / RECORD_FILE, folder / SOURCE_FILE),
        source=content_of(folder / SOURCE_FILE),
        kind=kind_of(trajectory),
        stopped=trajectory.stopped,
        best=None if best is None else _edit_facts(best, trajectory.steps[best]),
        worst=_worst(trajectory),
        chosen=trajectory.chosen is not None,
    )
    return score_facts(facts, trajectory, scores)


def score_facts(facts: RunFacts, trajectory: Trajectory, scores: Mapping[str, tuple[float, float]] | None) -> RunFacts:
    """The facts of a run with its scores: its own, or those of a judge that scored all its edits."""
    from ..training.conversations import scored_steps

    judged = with_scores(trajectory, scores)
    places = {step: index for index, step in enumerate(judged.steps)}
    turns = tuple(_turn_facts(places[step], step) for step in scored_steps(judged))
    return replace(
        facts,
        why="" if turns else _why_unscored(trajectory, scores),
        turns=turns,
        accepted=accepts_result(judged),
        scores=scores,
        harmed=scores is not None and _is_harmed(judged),
    )


def content_of(*files: Path) -> str:
    """16 hex digits of some files of a run: the same for a copy, different for another run of the same name."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def has_succeeded(trajectory: Trajectory) -> bool:
    """Whether the best edit was good enough for the run itself, or for the person who chose it."""
    return trajectory.chosen is not None or accepts_result(trajectory)


def accepts_result(trajectory: Trajectory) -> bool:
    """Whether the scores of the best edit are good enough for the run itself, whatever made it stop."""
    return trajectory.best is not None and is_accepted(trajectory.steps[trajectory.best], config_of(trajectory))


def config_of(trajectory: Trajectory) -> LoopConfig:
    """The scores from which a run accepts an edit; the defaults if its record does not say."""
    try:
        return LoopConfig(accept=tuple(trajectory.options["rules"]["accept"]))
    except (KeyError, TypeError, ValueError):  # an older record, or one of another tool
        return LoopConfig()


def warn_of_same_judge(count: int) -> str:
    """The warning for `count` runs whose judge is their own thinker; "" for none."""
    if not count:
        return ""
    return (
        f"Not independent: in {format_count(count, 'run')}, the judge is the thinker itself, so it scores its own work."
    )


def _turn_facts(index: int, step: Step) -> TurnFacts:
    from ..training.conversations import score_of, scores_to_learn

    verdict = scores_to_learn(step)
    assert verdict.semantic is not None and verdict.quality is not None, "steps without scores are left out before"
    return TurnFacts(index, verdict.semantic, verdict.quality, score_of(step))


def _edit_facts(index: int, step: Step) -> EditFacts:
    verdict, kept = step.judge or step.critique, step.preservation
    return EditFacts(
        index, verdict.semantic, verdict.quality, step.score, kept.outside_psnr, kept.changed, kept.unchanged
    )


def _is_harmed(trajectory: Trajectory) -> bool:
    """Whether an edit of the first turn is accepted but the best, which has scores, is not."""
    best, config = trajectory.best, config_of(trajectory)
    if best is None or accepts_result(trajectory):
        return False
    result = trajectory.steps[best].judge or trajectory.steps[best].critique
    first = [step for step in trajectory.steps if step.turn == trajectory.steps[0].turn]
    return result.semantic is not None and any(is_accepted(step, config) for step in first)


def _worst(trajectory: Trajectory) -> EditFacts | None:
    """The edit with the lowest score, the latest of equals."""
    scored = [(step.score, -index) for index, step in enumerate(trajectory.steps) if step.score is not None]
    if not scored:
        return None
    index = -min(scored)[1]
    return _edit_facts(index, trajectory.steps[index])


def _why_unscored(trajectory: Trajectory, scores: Mapping[str, tuple[float, float]] | None) -> str:
    from ..training.conversations import scored_steps

    if scores is not None and scored_steps(trajectory):
        return "judge"
    first = [step.judge or step.critique for step in trajectory.steps if step.turn == 1]
    return "failed" if any(verdict.status == "failed" for verdict in first) or not first else "unscored"
