"""One model of a server, as everything asks it: tries, waits, and what is left of an error."""

import threading

import pytest

from rethink.errors import RethinkError
from rethink.servers.client import ServerClient
from rethink.servers.exchange import ExchangeError, TimeIsUp
from rethink.servers.faults import Fault, find_fault, read_fault
from rethink.servers.trust import Trust

GATEWAY = {"error": {"code": 504, "message": "upstream timed out"}}
KEY = "sk-Zq7vKx93TmWp2Ld8"


def client(url="http://127.0.0.1:9/v1", **options):
    options = {"timeout": 5, "retries": 2, "concurrency": 1} | options
    return ServerClient(url, "m", "", **options)


def asked(outcomes, **options):
    """(what comes of these outcomes of tries, how many were made)."""
    tries = []

    def request(limit):
        outcome = outcomes[len(tries)]
        tries.append(limit)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    repeat_slow = options.pop("repeat_slow", True)
    return client(**options).ask(request, KEY, threading.Event(), repeat_slow=repeat_slow), tries


def test_what_may_pass_is_tried_again_after_pauses(pauses):
    result, tries = asked([Fault("busy", True), Fault("busy", True, wait=9.0), "fine"])
    assert result == "fine" and len(tries) == 3 and pauses == [1, 9]


@pytest.mark.parametrize("slow", [TimeIsUp(), read_fault(504, {}, b"", False), find_fault(GATEWAY, None)])
def test_what_may_still_be_made_is_asked_for_again_only_where_that_costs_nothing(pauses, slow):
    result, tries = asked([slow, "fine"])
    assert result == "fine" and len(tries) == 2
    result, tries = asked([ExchangeError("gone"), slow, "fine"], repeat_slow=False)
    assert result.retryable and result.slow and len(tries) == 2


def test_what_is_left_names_the_server_and_nothing_of_the_key(pauses):
    result, tries = asked([TimeIsUp(), ExchangeError("gone"), Fault(f"busy with {KEY}.", True)])
    assert result == Fault("m at http://127.0.0.1:9/v1: busy with … (after 3 tries).", True) and len(tries) == 3
    result, tries = asked([Fault("no")])
    assert result == Fault("m at http://127.0.0.1:9/v1: no.") and len(tries) == 1


def test_nobody_waits_for_a_pause_once_it_is_over():
    over, tries = threading.Event(), []
    over.set()
    result = client().ask(lambda limit: tries.append(limit) or Fault("busy", True, wait=60.0), "", over)
    assert isinstance(result, Fault) and len(tries) == 1


def test_a_try_has_the_limits_of_its_client():
    _, (limit,) = asked(["fine"], timeout=7, longest=123)
    assert limit.seconds == 7 and limit.longest == 123


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"timeout": 0}, "timeout: expected 1 to 3600"),
        ({"retries": 21}, "retries: expected 0 to 20"),
        ({"concurrency": 0}, "concurrency: expected 1 to 64"),
        ({"url": "http://192.0.2.1/v1", "trust": Trust(file=None)}, "is not this machine"),
    ],
)
def test_mistakes_are_said_before_anything_is_asked(options, why):
    with pytest.raises(RethinkError, match=why):
        client(**options)
