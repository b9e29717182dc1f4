"""How busy a machine is in reinforcement: what editor, judge and policy took of it, and what was waiting.

On a CPU it is counted in processor time, so that a judge that sleeps is not at work. On a GPU, whose work takes none, it is the
clock's, without the time in which somebody else's server was waited for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

WORKERS = ("editor", "judge", "policy")
SERVERS = "servers"  # waiting for them is no work


def work_clock(*, remote: bool = False) -> float:
    """Seconds that the machine has worked for this process so far; differences count. remote: what runs between two of them is
    mostly on another machine."""
    if torch.cuda.is_available() and not remote:
        return time.monotonic()
    of_children = os.times()
    return (time.process_time() + of_children.children_user + of_children.children_system) / threads()


def threads() -> int:
    """Processor threads that torch may use at once."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, torch.get_num_threads())


def busy_shares(counts: Mapping[str, float], worked: float, seconds: float) -> dict[str, float]:
    """Shares of `seconds` in which the editor, the judge and the policy were at work, and in which servers were waited for, 0…1.

    counts: of `Rollouts`, with the seconds of all but the policy. worked: the seconds of all together, by `work_clock`; on a GPU
    what the steps took, waiting within it.
    """
    found = {who: counts.get(f"{who}_seconds", 0.0) for who in ("editor", "judge", SERVERS)}
    waited = found[SERVERS] if torch.cuda.is_available() else 0.0
    found["policy"] = max(0.0, worked - waited - found["editor"] - found["judge"])
    return {who: round(min(1.0, found[who] / max(seconds, 1e-9)), 3) for who in (*WORKERS, SERVERS)}


def mean_busy(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The shares of several records of a log, each as long as its seconds; of before servers were told apart, none."""
    counted = [record for record in records if SERVERS in record.get("busy", ())]
    total = sum(record["seconds"] for record in counted)
    if not total:
        return {}
    return {
        who: sum(record["busy"][who] * record["seconds"] for record in counted) / total for who in (*WORKERS, SERVERS)
    }


def describe_busy(busy: Mapping[str, float]) -> str:
    """How much of the machine was not idle, and who was at work."""
    at_work = {who: busy.get(who, 0.0) for who in WORKERS}
    words = [
        f"busy {sum(at_work.values()):.0%} of {_whole()}: " + ", ".join(f"{who} {at_work[who]:.0%}" for who in WORKERS)
    ]
    if busy.get(SERVERS):
        words.append(f"{busy[SERVERS]:.0%} of the time waiting for servers")
    return "; ".join(words)


def _whole() -> str:
    if torch.cuda.is_available():
        return "the time"
    return f"{threads()} processor threads" if threads() > 1 else "1 processor thread"
