"""Votes between two edits, one line each in an append-only file, so that any number of people can vote at once; an undo is a line
too.

    {"id": "…", "voter": "…", "task": "…", "a": VARIANT, "b": VARIANT, "winner": "a" | "b" | "tie", "at": "2026-01-31T12:00:00Z"}
    {"id": "…", "voter": "…", "undo": THE ID OF A VOTE, "at": "…"}
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RethinkError
from ..evaluation.statistics import FEWEST_CLUSTERS
from ..pairs.jsonl_log import JsonlLog

if TYPE_CHECKING:
    from ..evaluation.preferences import Ranking, Vote

VOTES = "votes.jsonl"
MOST_AT_ONCE = 2000  # votes per request
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_WHEN = re.compile(r"[0-9A-Za-z:.+-]{0,40}")
WINNERS = ("a", "b", "tie")


def check_vote(record: Mapping[str, Any]) -> None:
    """Raise RethinkError with the reason for a record that is neither a vote nor an undo."""
    ids = ("id", "voter", "undo") if "undo" in record else ("id", "voter", "task", "a", "b")
    for name in ids:
        value = record.get(name)
        if not isinstance(value, str) or not _ID.fullmatch(value):
            raise RethinkError(f"not a vote: its “{name}” is missing or malformed")
    if not isinstance(at := record.get("at", ""), str) or not _WHEN.fullmatch(at):
        raise RethinkError("not a vote: its “at” is not a time")
    if "undo" not in record and (record.get("winner") not in WINNERS or record["a"] == record["b"]):
        raise RethinkError("not a vote: its “winner” is not a, b or tie, or its “a” and “b” are the same")


def vote_log(folder: Path) -> JsonlLog:
    """The votes of a comparison."""
    return JsonlLog(folder / VOTES, check_vote)


def append_votes(folder: Path, records: object) -> int:
    """Append votes, all or none; → their number. Needs no lock. Raises RethinkError for invalid votes."""
    if not isinstance(records, list) or len(records) > MOST_AT_ONCE:
        raise RethinkError(f"votes: expected a list of at most {MOST_AT_ONCE}.")
    lines = []
    for record in records:
        if not isinstance(record, dict):
            raise RethinkError("votes: expected records.")
        check_vote(record)
        names = ("id", "voter", "undo", "at") if "undo" in record else ("id", "voter", "task", "a", "b", "winner", "at")
        lines.append({name: record[name] for name in names if name in record})
    log = vote_log(folder)
    log.end_line()
    log.append(*lines)
    return len(lines)


def current_votes(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The votes that count: not undone, and only a voter's last vote on the same two edits. A duplicate line counts once."""
    votes: dict[str, Mapping[str, Any]] = {}
    undone = set()
    for record in records:
        if "undo" in record:
            undone.add((record["voter"], record["undo"]))
        else:
            votes.setdefault(record["id"], record)
    latest = {}
    for vote in votes.values():
        if (vote["voter"], vote["id"]) not in undone:
            latest[vote["voter"], vote["task"], frozenset((vote["a"], vote["b"]))] = vote
    return list(latest.values())


@dataclass(frozen=True)
class Poll:
    """The result of the votes. ranking: by variant keys. strangers: votes on edits that are not in this comparison. damaged: sentences
    about invalid lines. few_sources: whether there are too few images to generalize, so that the intervals apply only to these."""

    ranking: Ranking
    votes: int
    voters: int
    strangers: int
    damaged: tuple[str, ...]
    few_sources: bool


def count_votes(folder: Path, sources: Mapping[str, str], variants: Sequence[str]) -> Poll:
    """Rank variants by the votes in the folder. sources: the image of every task."""
    from ..evaluation.preferences import rank

    log = vote_log(folder)
    votes, strangers = counted(current_votes(log), sources, variants)
    clusters = {vote.cluster for vote in votes} - {None}
    voters = len({record["voter"] for record in current_votes(log)}) if votes else 0
    few = len(clusters) < FEWEST_CLUSTERS
    return Poll(rank(votes, variants), len(votes), voters, strangers, tuple(log.damage()), few)


def counted(
    records: Iterable[Mapping[str, Any]], sources: Mapping[str, str], variants: Collection[str]
) -> tuple[list[Vote], int]:
    """(the votes on these variants and tasks, how many are on others). Votes on one image form a cluster; with too few images for
    that, each vote counts on its own."""
    from ..evaluation.preferences import Vote

    every = list(records)
    known = [
        record for record in every if record["task"] in sources and record["a"] in variants and record["b"] in variants
    ]
    few = len({sources[record["task"]] for record in known}) < FEWEST_CLUSTERS
    return [
        Vote(
            record["b"] if record["winner"] == "b" else record["a"],
            record["a"] if record["winner"] == "b" else record["b"],
            record["winner"] == "tie",
            None if few else sources[record["task"]],
        )
        for record in known
    ], len(every) - len(known)
