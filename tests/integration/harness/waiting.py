"""Waiting for conditions instead of for time."""

import select
import time


class NotInTime(AssertionError):
    pass


def wait_until(condition, timeout=20.0, what=None):
    """The first true value of condition(), asked again and again; fails when `timeout` seconds are over."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise NotInTime((what() if callable(what) else what) or f"{condition!r} did not become true in {timeout} s")
        select.select([], [], [], pause)
        pause = min(pause * 1.25, 0.04)  # who is asked has something to do
