"""What the commands tell: a line that is rewritten on a terminal, a line now and then elsewhere."""

import io
import os
from types import SimpleNamespace

import pytest

from rethink.cli import progress
from rethink.cli.progress import ProgressLine, complain, print_counts, print_result
from rethink.progress import JobProgress


@pytest.fixture
def clock(monkeypatch):
    """The time, as the test sets it."""
    clock = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    return clock


@pytest.fixture
def terminal(monkeypatch):
    """What is written to an error stream that is a terminal."""
    terminal = io.StringIO()
    terminal.isatty, terminal.fileno = lambda: True, lambda: 99
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=terminal))
    monkeypatch.setattr(progress.os, "get_terminal_size", {99: os.terminal_size((12, 9))}.__getitem__)
    return terminal


def test_on_a_terminal_one_line_is_rewritten(terminal, clock):
    line = ProgressLine()
    for done, seconds in ((1, 0), (2, progress.TTY_INTERVAL / 2), (3, progress.TTY_INTERVAL)):
        clock[0] = 1000 + seconds
        line(JobProgress(done, 9, f"{done} of 9"))
    clock[0] += 9
    line(JobProgress(4, 9, "4 of 9, which is longer than the line"))
    assert terminal.getvalue() == "\r1 of 9     \r3 of 9     \r4 of 9, whi"  # no codes: consoles of Windows show them


def test_elsewhere_a_line_comes_now_and_then(clock, capsys):
    line = ProgressLine()
    for done, seconds in ((1, 0), (2, 1), (3, progress.LOG_INTERVAL + 1)):
        clock[0] = 1000 + seconds
        line(JobProgress(done, 9, f"{done} of 9"))
    assert capsys.readouterr().err == "1 of 9\n3 of 9\n"


def test_a_result_and_a_complaint_take_the_place_of_the_line(terminal, capsys):
    print_result("made", "done")
    complain("it is gone.")
    assert capsys.readouterr().out == "made\ndone\n"
    assert terminal.getvalue() == f"\r{'':11}\r" * 2 + "rethink: it is gone.\n"


@pytest.mark.parametrize("is_file", [True, False])
def test_a_terminal_that_does_not_know_its_width_is_taken_for_a_usual_one(terminal, monkeypatch, is_file):
    monkeypatch.setattr(progress.os, "get_terminal_size", lambda _: os.terminal_size((0, 0)))
    if not is_file:
        del terminal.fileno
    complain("it is gone.")
    assert terminal.getvalue() == f"\r{'':79}\rrethink: it is gone.\n"


def test_where_nobody_watches_nothing_is_cleared(capsys):
    print_result("made")
    complain("it is gone.")
    assert capsys.readouterr() == ("made\n", "rethink: it is gone.\n")


def test_the_commonest_are_counted(capsys):
    print_counts("operation", [(f"{number}", 99 - number) for number in range(20)])
    print_counts("nothing", [])
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "operation:" and len(lines) == 12 and lines[0].split() == ["99", "0"]
