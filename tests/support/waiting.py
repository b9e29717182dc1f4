"""Waiting for what other threads and processes do: for a condition, never for a while."""

import time

SOON = 100  # seconds, in which a busy machine gets to whatever waits for nothing else
LATE = 200  # seconds, after which comes what must not be waited for


def wait_until(condition):
    """What `condition()` is, once that is true."""
    end = time.monotonic() + SOON
    while not (found := condition()):
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)
    return found
