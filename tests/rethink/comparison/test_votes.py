"""Votes: lines that are only added, by any number of people at once."""

import json
import threading

import pytest

from rethink.comparison.votes import VOTES, append_votes, check_vote, count_votes, current_votes, vote_log
from rethink.errors import RethinkError

SOURCES = {f"t{number}": f"s{number}" for number in range(9)}


def line(number, winner="a", task="t0", a="one", b="two", voter="me"):
    return {
        "id": f"v{number}",
        "voter": voter,
        "task": task,
        "a": a,
        "b": b,
        "winner": winner,
        "at": "2026-01-31T12:00:00Z",
    }


def undo(number, of, voter="me"):
    return {"id": f"v{number}", "voter": voter, "undo": f"v{of}"}


def test_the_last_vote_on_two_edits_counts_until_it_is_taken_back():
    lines = [line(1), line(2, "b", a="two", b="one"), line(3, voter="you"), line(1)]
    assert [vote["id"] for vote in current_votes(lines)] == ["v2", "v3"], "whoever was on the left"
    assert [vote["id"] for vote in current_votes([*lines, undo(4, 2)])] == ["v1", "v3"]
    assert [vote["id"] for vote in current_votes([*lines, undo(5, 3)])] == ["v2", "v3"], "a vote is its voter's"


def test_two_who_vote_at_once_lose_nothing(tmp_path):
    def vote_often(voter):
        for number in range(50):
            append_votes(tmp_path, [line(f"{voter}{number}", voter=voter, task=f"t{number}")])

    threads = [threading.Thread(target=vote_often, args=(voter,)) for voter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(current_votes(vote_log(tmp_path))) == 200


def test_broken_lines_are_said_and_cost_no_other_vote(tmp_path):
    append_votes(tmp_path, [line(1)])
    with open(tmp_path / VOTES, "ab") as file:
        file.write(b'{"id": "v9", "winner": "c"}\nno json\n{"id": "torn')
    append_votes(tmp_path, [line(2, task="t1")])
    poll = count_votes(tmp_path, SOURCES, ["one", "two"])
    assert poll.votes == 2 and poll.voters == 1
    assert len(poll.damaged) == 3 and "line 2 is damaged" in poll.damaged[0]


def test_votes_on_what_is_not_compared_do_not_count(tmp_path):
    append_votes(tmp_path, [line(1), line(2, task="gone"), line(3, a="three", task="t1")])
    poll = count_votes(tmp_path, SOURCES, ["one", "two"])
    assert (poll.votes, poll.strangers) == (1, 2)
    assert {rating.name for rating in poll.ranking.ratings} == {"one", "two"}


def test_intervals_are_of_images_where_there_are_enough(tmp_path):
    append_votes(tmp_path, [line(number, task="t0", voter=f"w{number}") for number in range(30)])
    few = count_votes(tmp_path, SOURCES, ["one", "two"])
    assert few.few_sources and few.ranking.decided, "thirty who agree on one image"
    append_votes(tmp_path, [line(100 + number, task=f"t{number}", voter="w") for number in range(9)])
    assert not count_votes(tmp_path, SOURCES, ["one", "two"]).few_sources


def test_nothing_else_is_written(tmp_path):
    append_votes(tmp_path, [line(1) | {"more": "x" * 1000}])
    assert json.loads((tmp_path / VOTES).read_text()) == line(1)
    for bad in (
        "text",
        [3],
        [{}],
        [line(1, winner="c")],
        [line(1, b="one")],
        [line(1) | {"id": "../x"}],
        [line(1) | {"at": "<b>"}],
        [undo(1, "no id")],
        [line(1), {}],
    ):
        with pytest.raises(RethinkError):
            append_votes(tmp_path, bad)
    assert (tmp_path / VOTES).read_text().count("\n") == 1, "all or none"
    check_vote(undo(1, 2))
