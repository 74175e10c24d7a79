"""What people read while a run retries calls or waits for answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dyff.workflows import items, troubles

CALLS = [items.Call(number, "r", b"") for number in range(4)]


class Time:
    """A clock that is moved by hand."""

    def __init__(self):
        self.s = 0.0

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.s)

    def monotonic(self):
        return self.s


@pytest.fixture
def time():
    """At midnight."""
    return Time()


def test_a_retry_has_what_how_often_after_which_answer_and_until_when(time):
    """Item, failures, status and body, the next try, the number of errors and the time that end it."""
    board = troubles.Board(time, lambda: 3600.0)
    board.put(CALLS[0], 2, "status 500: boom", 5.0, "after 4 such answers")
    board.put(CALLS[1], 7, "status 503: overloaded", 30.0, "after 121 errors in a row")
    assert board.message() == (
        "trying again at 2026-01-01T00:00:30Z: item 1, replication r, which has failed 7 times; "
        "the last time: status 503: overloaded "
        "(given up after 121 errors in a row, or at 2026-01-01T01:00:00Z with client.totalTimeoutSeconds) (and 1 more)"
    )
    board.remove(CALLS[1])
    assert "item 0" in board.message()
    board.remove(CALLS[0])
    assert board.message() == ""


@pytest.mark.parametrize("reason", ["status 503: overloaded", "status 500: " + "x" * 10_000])
def test_a_line_of_the_log_is_short(time, reason):
    """It is repeated every few seconds, so it has names and values only; the whole story is in the progress."""
    board = troubles.Board(time, lambda: 3600.0)
    board.put(CALLS[1], 7, reason, 30.0, "after 121 errors in a row with client.transientErrorRetryLimit")
    line = board.log_line(CALLS[1], errors=12)
    assert line.startswith("retry: index=1 replication=r failures=7 errors=12 next=2026-01-01T00:00:30Z reason=status 50")
    assert len(line) < 200


@pytest.mark.parametrize("left_s", [None, lambda: float("inf")])
def test_a_run_without_a_time_limit_names_none(time, left_s):
    """Only the number of errors ends it."""
    board = troubles.Board(time, left_s)
    board.put(CALLS[0], 1, "no answer", 5.0, "after 121 errors in a row")
    assert board.message().endswith("(given up after 121 errors in a row)")


def test_a_long_answer_is_cut(time):
    """The beginning is enough."""
    board = troubles.Board(time)
    board.put(CALLS[0], 1, "x" * 10_000, 5.0, "never")
    assert len(board.message()) < 600


def test_a_service_that_does_not_answer_is_reported_before_the_time_is_up(time):
    """Nothing has failed yet, but someone who looks must see what is awaited, and since when."""
    board = troubles.Board(time)
    for call in CALLS[:3]:
        board.sent(call)
        time.s += 4.0
    assert board.message() == "waiting for an answer since 2026-01-01T00:00:00Z: item 0, replication r"
    time.s += 8.0
    assert board.message().endswith("item 0, replication r (and 2 more)")
    for call in CALLS[:3]:
        board.answered(call)
    assert board.message() == ""
