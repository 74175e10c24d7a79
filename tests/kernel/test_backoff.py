"""How long to wait before the next try."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import anyio
import pytest

from dyff.kernel import backoff
from tests.narrowing import sure

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "want"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("3", 3.0),
        (" 3 ", 3.0),
        ("2.5", 2.5),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("1e3", None),
        ("1_000", None),
        ("٣", None),
        ("soon", None),
        ("9" * 400, backoff.MAX_ASKED_S),
        ("9" * 100, backoff.MAX_ASKED_S),
        ("Thu, 01 Jan 2026 00:00:05 GMT", 5.0),
        ("Wed, 31 Dec 2025 00:00:05 GMT", None),
        ("Thu, 01 Jan 2026 00:00:05 -0000", 5.0),
        ("Thu, 31 Dec 9999 23:59:59 GMT", backoff.MAX_ASKED_S),
        ("Thu, 99 Jan 2026 00:00:05 GMT", None),
    ],
)
def test_what_the_other_side_asks_for_is_a_time_between_bounds(header, want):
    """A number or a date; anything else says nothing."""
    assert backoff.asked_s(header, NOW) == want


@pytest.mark.parametrize(
    ("own", "asked", "want"),
    [
        (0.5, None, 0.5),
        (0.5, 0.0, 0.5),
        (0.5, 3.0, 3.0),
        (0.5, 1e9, 30.0),
        (0.0, 0.0, backoff.MIN_PAUSE_S),
        (0.0, None, backoff.MIN_PAUSE_S),
    ],
)
def test_no_pause_is_shorter_than_our_own_or_longer_than_the_ceiling(own, asked, want):
    """A server that asks for a pause of zero gets no hot loop."""
    assert backoff.pause_s(own, asked, 30.0) == want


def test_delays_grow_to_the_ceiling_and_spread():
    """Each is at most twice the one before, and drawn from the upper half."""
    found = backoff.delays(1.0, ceiling_s=8.0, jitter=random.Random(1))
    for most in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert most / 2 <= next(found) <= most


@pytest.mark.virtual_time
async def test_each_key_has_delays_of_its_own():
    """One that fails again and again is not due, and holds up no other."""
    keyed: backoff.Keyed[str] = backoff.Keyed(1.0, ceiling_s=4.0)
    assert [keyed.failed("a") for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]
    assert keyed.failed("b", asked=3.0) == 3.0
    assert keyed.left_s("a") > keyed.left_s("b") > keyed.left_s("c") == 0.0
    assert sure(keyed.next_s()) <= 3.0
    await anyio.sleep(0.01)
    assert keyed.failing_s("a") > 0.0 == keyed.failing_s("c")
    keyed.over("a")
    assert (keyed.left_s("a"), keyed.failing_s("a"), keyed.failing) == (0.0, 0.0, ("b",))
    assert keyed.failed("a") == 1.0
