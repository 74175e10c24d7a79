"""Clocks that differ: what is measured, and when `/ready` reports it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from dyff.bus.kafka.log_clock import LogClock
from dyff.kernel import degradation
from dyff.serve import log_clock

START = datetime(2026, 11, 3, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)


class Wall:
    """A clock that a test moves."""

    def __init__(self):
        self.time = START

    def now(self):
        return self.time

    def monotonic(self):
        return 0.0


def acknowledged(at_s, kind=1):
    return SimpleNamespace(timestamp=START_MS + int(at_s * 1000), timestamp_type=kind)


CASES = {
    "within the time of the append": (5.0, 2.0, 0.0),
    "at its ends": (5.0, 5.0, 0.0),
    "a slow append is no difference": (59.0, 58.0, 0.0),
    "the log is ahead": (5.0, 95.0, 90.0),
    "the log is behind": (5.0, -600.0, -600.0),
}


@pytest.mark.parametrize("name", CASES)
def test_only_what_an_append_cannot_explain_is_a_difference(name):
    """The case's name is the rule: how long the append took, when the broker says that it was, and the offset."""
    took_s, at_s, want = CASES[name]
    wall = Wall()
    subject = LogClock(wall)
    assert subject.offset_s is None
    sent_ms = subject.now_ms()
    wall.time += timedelta(seconds=took_s)
    subject.compare(sent_ms, [acknowledged(at_s)])
    assert subject.offset_s == want


def test_a_time_that_the_broker_did_not_set_says_nothing():
    """It is ours, or none."""
    subject = LogClock(Wall())
    subject.compare(subject.now_ms(), [acknowledged(500.0, kind=0), SimpleNamespace(timestamp=-1, timestamp_type=1)])
    assert subject.offset_s is None


@pytest.mark.parametrize(
    ("offset_s", "reported"),
    [(None, None), (0.0, None), (59.9, None), (-59.9, None), (60.0, "60 seconds behind"), (-600.0, "600 seconds ahead of")],
)
def test_a_minute_is_reported_with_its_seconds(offset_s, reported):
    """As a trouble that is over when the clocks agree again."""
    troubles = degradation.Troubles()
    bus = SimpleNamespace(clock_offset_s=lambda: offset_s)
    log_clock.check(bus, troubles)
    assert [reported in each.reason for each in troubles.current()] == ([True] if reported else [])
    bus.clock_offset_s = lambda: 0.0
    log_clock.check(bus, troubles)
    assert troubles.current() == []
