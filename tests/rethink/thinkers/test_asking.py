"""Many small questions to a thinker: retries with their own seeds, JSON within prose, refusals, several at once."""

import threading
import time

import pytest

from rethink.errors import RethinkError
from rethink.thinkers.asking import (
    MAX_ATTEMPTS,
    MAX_CONSECUTIVE_FAILURES,
    FailureStreak,
    ThinkerUnavailable,
    ask,
    find_json_object,
    is_refusal,
    message,
    strip_reasoning,
    thread_map,
)
from tests.support.pairs import ScriptedChat
from tests.support.waiting import SOON


def test_json_and_thoughts():
    assert find_json_object('x {"no": } y {"a": {"b": "}"}} z') == {"a": {"b": "}"}}
    assert strip_reasoning("<think>a</think>b") == strip_reasoning("a</think>b") == "b"
    assert strip_reasoning("<think>never ends") == ""
    with pytest.raises(RethinkError, match="contains no JSON object"):
        find_json_object("[1, 2]")


def test_every_attempt_has_its_own_seed_and_the_first_usable_answer_counts():
    chat = ScriptedChat(OSError("gone"), "no", "7")
    assert ask(chat, [message("user", "How many?")], [], 5, read_number) == 7
    assert [seed for _, _, seed in chat.asked] == [5, 6, 7]


def test_the_last_reason_is_raised():
    with pytest.raises(RethinkError, match="no number") as refused:
        ask(ScriptedChat(OSError("gone"), "no", "no"), [], [], 0, read_number)
    assert not isinstance(refused.value, ThinkerUnavailable)
    chat = ScriptedChat(OSError("gone"))
    with pytest.raises(ThinkerUnavailable, match="the thinker failed: OSError: gone"):
        ask(chat, [], [], 0, read_number)
    assert len(chat.asked) == MAX_ATTEMPTS


def read_number(answer):
    if not answer.isdigit():
        raise RethinkError("no number")
    return int(answer)


def test_a_run_ends_only_when_the_thinker_fails_many_times_in_a_row():
    streak = FailureStreak()
    for _ in range(3):
        for _ in range(MAX_CONSECUTIVE_FAILURES - 1):
            streak.record(True, "it is gone")
        streak.record(False, "")
    with pytest.raises(RethinkError, match=r"^it is gone \(20 times in a row\)"):
        for _ in range(MAX_CONSECUTIVE_FAILURES):
            streak.record(True, "it is gone")


def test_refusals_are_known_by_how_they_begin():
    assert is_refusal(" I’m sorry, but I cannot.") and is_refusal("As an AI model") and not is_refusal("A sorry dog.")


def test_threads_work_at_once_and_answer_in_order():
    both = threading.Barrier(2, timeout=SOON)

    def wait_for_the_other(number):
        both.wait()
        time.sleep(0.02 * (number == 0))
        return number

    assert list(thread_map(2)(wait_for_the_other, range(4))) == [0, 1, 2, 3]
    assert thread_map(1) is map
