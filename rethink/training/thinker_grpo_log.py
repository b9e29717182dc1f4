"""The log of a thinker's reinforcement learning: a line for people, and `log.jsonl` with everything."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..atomic import atomic_write
from ..pairs.jsonl_log import JsonlLog
from ..steps import Critique
from .process_group import is_first_process
from .thinker_busy import busy_shares, describe_busy, mean_busy, work_clock
from .thinker_page import LOG
from .thinker_rewards import GroupCounts, Reward, warn_of_equal_rewards, warn_of_questions
from .thinker_rollouts import Rollouts, Scored
from .thinker_steps import ThinkerStep
from .thinker_watch import HeldOut, is_better, read_held_out, warn_of_reward

_COUNTED = {
    "failed_edits": "failed edits",
    "failed_judgments": "failed judgments",
    "repeated": "repeated prompts",
    "cached": "from cache",
}
_PASSED_ON = ("loss", "grad_norm", "kl", "entropy", "completions/mean_length", "completions/clipped_ratio")


@dataclass(frozen=True)
class Sample:
    """An answer to show in the report."""

    instruction: str
    last_prompt: str
    answer: str
    next_prompt: str
    before: tuple[float, float] | None
    after: tuple[float, float] | None
    reward: float | None

    @staticmethod
    def of(step: ThinkerStep, text: str, answer: Critique, scored: Scored, reward: Reward | None) -> Sample:
        before, after = (
            None if scores is None else (scores.semantic, scores.quality) for scores in (scored.before, scored.after)
        )
        value = None if reward is None else reward.value
        return Sample(step.instruction, step.last_prompt, text, answer.next_prompt, before, after, value)


class GRPOLog:
    """Collects the results of the steps and logs them.

    work: the folder of `log.jsonl`; records after the step `after`, where a run resumes, are removed from it. total: steps of the
    whole run. report: prints a line. note: a sentence about the latest failure.
    """

    def __init__(self, work: Path, rollouts: Rollouts, total: int, report: Callable[[str], None], *, after: int = 0):
        self._file, self._rollouts = JsonlLog(work / LOG), rollouts
        self._total, self._report = total, report
        self._is_main = is_first_process()
        self._groups: list[GroupCounts] = []
        self._parts: list[dict[str, float]] = []
        self._samples: list[Sample] = []
        self._rewards: list[float] = []
        self._last_step, self._since, self._worked = after, 0.0, work_clock()
        self._judged, self._warned = (0, 0), False
        self._seen, self._skipped, self._rewarded, self.note = 0, 0, False, ""
        if self._is_main:
            _cut(self._file, after)
        self.measured = [read_held_out(record["held_out"]) for record in self._file if _is_measured(record, after)]
        self.best: HeldOut | None = None
        for record in self._file:
            if _is_kept(record, after):
                self._count(record)

    @property
    def last_measured(self) -> int | None:
        return self.measured[-1].step if self.measured else None

    def start(self, now: float) -> None:
        """Start the clock for the first step. now: in seconds."""
        self._since, self._worked = now, work_clock()

    def pause(self, seconds: float, worked: float) -> None:
        """Exclude time that was spent measuring, which is not part of a step. worked: by `work_clock`."""
        self._since += seconds
        self._worked += worked

    def add(self, groups: GroupCounts, rewards: Sequence[Reward]) -> None:
        """Add the rewards of a batch. rewards: those of answers that have one."""
        self._groups.append(groups)
        self._parts += [reward.parts for reward in rewards]
        self._rewards += [reward.value for reward in rewards]

    def keep_samples(self, samples: Sequence[Sample]) -> None:
        self._samples = list(samples)

    def write(self, step: int, logs: Mapping[str, Any], now: float, is_main: bool) -> None:
        """Log everything since the last call; `logs` are trl's. All processes call this together."""
        from accelerate.utils import gather_object

        steps, seconds, worked = step - self._last_step, now - self._since, work_clock() - self._worked
        self._last_step, self._since, self._worked = step, now, work_clock()
        if torch.cuda.is_available():
            worked = (logs.get("step_time") or 0.0) * steps
        counts = _add_up(gather_object([self._rollouts.take_counts() | {"worked_seconds": worked}]))
        record = {
            "step": step,
            "reward": _finite(logs["reward"]),
            "reward_spread": _finite(logs.get("reward_std")),
            "parts": mean_parts(self._parts),
            "answers_without_reward": sum(each.unrewarded for each in self._groups),
            "groups": sum(each.groups for each in self._groups),
            "groups_skipped": sum(each.skipped + each.incomparable for each in self._groups),
            "groups_without_rewards": sum(each.incomparable for each in self._groups),
            "edits_judged": sum(each.judged for each in self._groups),
            "edits_accepted": sum(each.good for each in self._groups),
            **{name: int(counts.get(name, 0)) for name in ("edits", *_COUNTED)},
            "busy": busy_shares(counts, counts["worked_seconds"], seconds),
            "seconds": round(seconds, 3),
            **{name: _finite(logs[name]) for name in _PASSED_ON if name in logs},
            "note": self._rollouts.note,
            "samples": [vars(sample) for sample in self._samples],
        }
        self._groups, self._parts, self._samples = [], [], []
        self._count(record)
        if is_main:
            self._file.append(record)
            self._report(line_of(record, self._total))
            self._warn_once()

    def take_rewards(self) -> list[float]:
        """The rewards since the last call."""
        found, self._rewards = self._rewards, []
        return found

    def add_measurement(self, found: HeldOut | None) -> bool:
        """Log and report a measurement; → whether it is the best so far."""
        if found is None:
            self._say("held-out tasks: none could be measured; the editor or the judge is failing.")
            return False
        self.measured.append(found)
        better = is_better(found, self.best)
        self.best = found if better else self.best
        warning = warn_of_reward(self.measured)
        if self._is_main:
            self._file.append({"step": found.step, "held_out": found.record, "best": better, "warning": warning})
        self._say(f"step {found.step}: {found}{' · the best so far' if better else ''}")
        if warning:
            self._say(warning)
        return better

    def busy(self) -> dict[str, float]:
        """`busy_shares` of the whole run, weighted by the time its steps took; empty before the first step."""
        return mean_busy(list(self._file))

    @property
    def never_rewarded(self) -> bool:
        """Whether there were answers, but none had a reward."""
        return self._seen > 0 and not self._rewarded

    def warn_of_questions(self) -> str:
        """`thinker_rewards.warn_of_questions` of the whole run."""
        return warn_of_questions(*self._judged)

    def warnings(self) -> tuple[str, ...]:
        """Warnings about the whole run, a sentence each."""
        return tuple(filter(None, [self.warn_of_questions(), warn_of_equal_rewards(self._seen, self._skipped)]))

    def _count(self, record: dict[str, Any]) -> None:
        self.note = record.get("note") or self.note
        self._seen += record.get("groups", 0)
        self._skipped += record.get("groups_skipped", 0)
        self._rewarded |= record.get("reward") is not None
        judged, accepted = self._judged
        self._judged = judged + record.get("edits_judged", 0), accepted + record.get("edits_accepted", 0)

    def _warn_once(self) -> None:
        if not self._warned and (warning := self.warn_of_questions()):
            self._warned = True
            self._report(warning)

    def best_metadata(self) -> dict[str, str]:
        """The metadata for the file with the best weights."""
        assert self.best is not None, "weights are kept when they are measured"
        return {"held_out": json.dumps(self.best.record)}

    def read_best(self, file: Path) -> None:
        """Take over the measurement in a file with the best weights, if there is one and this run resumes."""
        if not self.measured or not file.is_file():
            return
        from safetensors import safe_open

        with safe_open(file, "pt") as weights:
            self.best = read_held_out(json.loads(weights.metadata()["held_out"]))

    def _say(self, text: str) -> None:
        if self._is_main:
            self._report(text)


def mean_parts(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each part over the rewards."""
    return {name: statistics.fmean(each[name] for each in parts) for name in (parts[0] if parts else ())}


def line_of(record: dict[str, Any], total: int) -> str:
    """A record as one line."""
    reward = "none" if record["reward"] is None else f"{record['reward']:.3f}"
    parts = ", ".join(f"{name} {value:.2f}" for name, value in record["parts"].items())
    words = [f"step {record['step']} of {total}", f"reward {reward}" + (f" ({parts})" if parts else "")]
    without = record["groups_without_rewards"]
    words.append(f"{record['groups_skipped'] - without} of {record['groups']} questions skipped (equal rewards)")
    if without:
        words.append(f"{without} without two rewards to compare")
    if record["answers_without_reward"]:
        words.append(f"{record['answers_without_reward']} answers without reward")
    words += [f"{record[name]} {text}" for name, text in _COUNTED.items() if record[name]]
    words.append(describe_busy(record["busy"]))
    if record["failed_edits"] or record["failed_judgments"]:
        words.append(record["note"])
    return " · ".join(words)


def _finite(value: Any) -> Any:
    """The value, or None for a float that is infinite or NaN, which JSON cannot express."""
    return value if not isinstance(value, float) or math.isfinite(value) else None


def _add_up(counts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Combine the counts of all processes: sums, but means for seconds."""
    sums: Counter[str] = Counter()
    for each in counts:
        sums.update(each)
    return {name: value / len(counts) if name.endswith("_seconds") else value for name, value in sums.items()}


def _is_measured(record: dict[str, Any], after: int) -> bool:
    """Whether a record is a measurement of the run being resumed. A new run has none, whatever an old log contains: all processes
    must find the same, even while the first one is cutting the log."""
    return "held_out" in record and _is_kept(record, after)


def _is_kept(record: dict[str, Any], after: int) -> bool:
    return after > 0 and isinstance(record.get("step"), int) and record["step"] <= after


def _cut(log: JsonlLog, after: int) -> None:
    """Keep only the records up to a step; those after it will be made again."""
    if not log.path.is_file():
        return
    kept = [record for record in log if _is_kept(record, after)]
    with atomic_write(log.path) as part:
        part.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
