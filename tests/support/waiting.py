"""Waiting for what other threads and processes do: for a condition, never for a while."""

import time

PATIENCE = 100  # seconds, after which a thing counts as never coming: on a busy machine anything may take long


def wait_until(condition):
    """What `condition()` is, once that is true."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)
    return found
