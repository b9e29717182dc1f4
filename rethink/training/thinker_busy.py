"""How busy a machine is in reinforcement learning: the shares of the editor, the judge and the policy, and of waiting.

On a CPU, this counts processor time, so that a sleeping judge does not count as work. On a GPU, whose work takes no processor
time, it counts wall-clock time without waiting for remote servers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

WORKERS = ("editor", "judge", "policy")
SERVERS = "servers"  # waiting for them does not count as work


def work_clock(*, remote: bool = False) -> float:
    """Seconds that the machine has worked for this process so far; only differences are meaningful. remote: most of the work
    measured is done on another machine."""
    if torch.cuda.is_available() and not remote:
        return time.monotonic()
    of_children = os.times()
    return (time.process_time() + of_children.children_user + of_children.children_system) / threads()


def threads() -> int:
    """The number of processor threads that torch may use at once."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, torch.get_num_threads())


def busy_shares(counts: Mapping[str, float], worked: float, seconds: float) -> dict[str, float]:
    """The shares of `seconds` that the editor, the judge and the policy worked, and that were spent waiting for servers, 0…1.

    counts: from `Rollouts`, with the seconds of all but the policy. worked: the total seconds by `work_clock`; on a GPU the
    duration of the steps, including waiting.
    """
    found = {who: counts.get(f"{who}_seconds", 0.0) for who in ("editor", "judge", SERVERS)}
    waited = found[SERVERS] if torch.cuda.is_available() else 0.0
    found["policy"] = max(0.0, worked - waited - found["editor"] - found["judge"])
    return {who: round(min(1.0, found[who] / max(seconds, 1e-9)), 3) for who in (*WORKERS, SERVERS)}


def mean_busy(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean shares over log records, weighted by their seconds, without older records that do not count servers separately."""
    counted = [record for record in records if SERVERS in record.get("busy", ())]
    total = sum(record["seconds"] for record in counted)
    if not total:
        return {}
    return {
        who: sum(record["busy"][who] * record["seconds"] for record in counted) / total for who in (*WORKERS, SERVERS)
    }


def describe_busy(busy: Mapping[str, float]) -> str:
    """How busy the machine was, and with what."""
    at_work = {who: busy.get(who, 0.0) for who in WORKERS}
    words = [
        f"busy {sum(at_work.values()):.0%} of {_whole()}: " + ", ".join(f"{who} {at_work[who]:.0%}" for who in WORKERS)
    ]
    if busy.get(SERVERS):
        words.append(f"waiting for servers {busy[SERVERS]:.0%} of the time")
    return "; ".join(words)


def _whole() -> str:
    if torch.cuda.is_available():
        return "the time"
    return f"{threads()} processor threads" if threads() > 1 else "1 processor thread"
