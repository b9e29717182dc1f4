"""Orders of people to a running loop: what is taken, when it counts, and where it comes from."""

import threading

import pytest

from rethink.errors import RethinkError
from rethink.steering import Steering, SteeringFile
from rethink.steps import Continue, RunStopped, Stop
from rethink.thinkers.critique import Thinker
from tests.support.thinking import SOURCE, Looks, Painter, drained, said, start_thinking, thinker

OWN = Continue("the thinker's", "thinker")


def make_steps(turns, candidates=1):
    critic = thinker(said(2, 2)) if candidates == 1 else Thinker(Looks())
    run = start_thinking(Painter(), critic, SOURCE, "make it red", turns=turns, candidates=candidates)
    return drained(run)[0]


STEPS = make_steps(2)


def test_without_an_order_the_loop_does_as_it_would():
    told = []
    steering = Steering(on_decision=lambda *decision: told.append(decision))
    assert steering.steer(STEPS, OWN) == OWN and steering.steer(STEPS, Stop("accepted")) == Stop("accepted")
    assert told == [(STEPS, OWN, False, "")]


def test_a_prompt_counts_once_and_also_where_the_run_would_end():
    steering = Steering()
    steering.command("prompt", "  my way ")
    assert steering.steer(STEPS, Stop("accepted")) == Continue("my way", "human")
    assert steering.steer(STEPS, OWN) == OWN


def test_accept_and_stop_end_it_after_a_turn_and_in_the_middle_of_one():
    steering = Steering()
    steering.stop_if_ordered()
    steering.command("accept", step=1, steps=2)
    with pytest.raises(RunStopped) as ended:
        steering.stop_if_ordered()
    assert ended.value.stop == Stop("human", chosen=1) == steering.steer(STEPS, OWN)
    steering.command("stop")
    assert steering.steer(STEPS, OWN) == Stop("human")


def test_who_holds_the_run_is_waited_for():
    told = []
    go_on = threading.Thread(target=lambda: steering.command("go_on"))  # before it waits, it would let go of nothing

    def tell(steps, proposal, waits, ends):
        told.append((waits, ends))
        if waits:
            go_on.start()

    steering = Steering(pause=True, on_decision=tell)
    assert steering.steer(STEPS, Stop("accepted")).prompt_by == "user"  # the same words again, with another seed
    assert told == [(True, "accepted"), (False, "")]
    go_on.join()


def test_what_is_looked_for_while_it_waits_may_end_the_run():
    looks = iter([None, None, KeyboardInterrupt()])

    def poll():
        if (found := next(looks)) is not None:
            raise found

    with pytest.raises(KeyboardInterrupt):
        Steering(pause=True, poll=poll).steer(STEPS, OWN)


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        (("dance",), "action: “dance” is unknown; use hold, go_on, prompt, accept, or stop"),
        ((None,), "action: “None” is unknown"),
        (("prompt", " "), "prompt: is empty"),
        (("prompt", 5), "prompt: is empty"),
        (("accept", None, 2, 2), "step: the run has no step 2"),
        (("accept", None, True, 2), "step: the run has no step True"),
    ],
)
def test_mistakes_are_one_sentence_and_change_nothing(order, sentence):
    steering = Steering()
    with pytest.raises(RethinkError, match=sentence):
        steering.command(*order)
    assert not steering.is_ordered and steering.steer(STEPS, OWN) == OWN


# The file


@pytest.fixture
def orders(tmp_path):
    return tmp_path / "orders.txt"


def by_file(orders, steps, complaints=None):
    file = SteeringFile(orders, (complaints if complaints is not None else []).append)
    steering = Steering(poll=lambda: file.poll(steering, steps))
    return steering


def test_lines_are_taken_in_order_one_decision_a_turn(orders):
    orders.write_text("# a script\n\nprompt make it ünicode\nprompt then this\nstop\n", encoding="utf-8")
    steering = by_file(orders, STEPS)
    taken = [steering.steer(STEPS, OWN) for _ in range(4)]
    assert taken == [Continue("make it ünicode", "human"), Continue("then this", "human"), Stop("human"), OWN]


def test_what_powershell_writes_is_read(orders):
    """In UTF-16, by > and >>, of which half a character may be there."""
    data = "prompt make it ünicode\r\nprompt then this\r\n".encode("utf-16")
    steering = by_file(orders, STEPS)
    for end, taken in ((-33, Continue("make it ünicode", "human")), (None, Continue("then this", "human"))):
        orders.write_bytes(data[:end])
        assert steering.steer(STEPS, OWN) == taken


def test_a_line_counts_once_it_ends_and_later_ones_are_read_later(orders):
    steering = by_file(orders, STEPS)
    assert steering.steer(STEPS, OWN) == OWN, "a file that is not there yet says nothing"
    orders.write_text("prompt half a li")
    assert steering.steer(STEPS, OWN) == OWN
    orders.write_text("prompt half a line\n")
    assert steering.steer(STEPS, OWN) == Continue("half a line", "human")
    assert steering.steer(STEPS, OWN) == OWN
    orders.write_text("stop\n")
    assert steering.steer(STEPS, OWN) == Stop("human"), "a file that was written anew is read anew"


def test_hold_waits_until_the_file_says_how_to_go_on(orders):
    orders.write_text("hold\n")
    timer = threading.Timer(0.3, orders.write_text, ["hold\nprompt at last\n"])
    timer.start()
    assert by_file(orders, STEPS).steer(STEPS, OWN) == Continue("at last", "human")
    timer.join()


def test_accept_names_a_turn_and_a_candidate_or_takes_the_best(orders):
    steps = make_steps(2, candidates=3)
    best = max(range(6), key=lambda index: (steps[index].score, -index))
    of_turn_2 = max(range(3, 6), key=lambda index: (steps[index].score, -index))
    for line, index in (("accept", best), ("accept 2", of_turn_2), ("accept 1.2", 2), ("accept 2.0", 3)):
        orders.write_text(f"{line}\n")
        assert by_file(orders, steps).steer(steps, OWN) == Stop("human", chosen=index), line


def test_lines_that_cannot_be_done_are_said_and_the_next_one_counts(orders):
    complaints = []
    orders.write_text("dance\naccept 9\nprompt\nprompt this\n")
    assert by_file(orders, STEPS, complaints).steer(STEPS, OWN) == Continue("this", "human")
    assert ["“dance” is unknown" in complaints[0], "“9”" in complaints[1], "is empty" in complaints[2]] == [True] * 3


def test_a_folder_in_place_of_the_file_is_one_sentence(tmp_path):
    with pytest.raises(RethinkError, match="--steer: .* cannot be read"):
        by_file(tmp_path, STEPS).steer(STEPS, OWN)
