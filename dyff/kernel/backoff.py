"""How long to wait before the next try. Every retry has a floor, a ceiling and jitter, whatever the other side asks for."""

from __future__ import annotations

import email.utils
import math
import random
import re
from collections.abc import Hashable, Iterator
from datetime import UTC, datetime
from typing import Generic, TypeVar

import anyio

MIN_PAUSE_S = 0.05
"""No retry comes earlier than this, also if the other side asks for a pause of zero."""
MAX_ASKED_S = 100 * 366 * 86400.0
"""A longer pause that is asked for counts as this long."""

_NUMBER = re.compile(r"[0-9]{1,4000}(\.[0-9]{1,4000})?")

Key = TypeVar("Key", bound=Hashable)


def delays(first_s: float = 0.1, *, factor: float = 2.0, ceiling_s: float = 30.0, jitter: random.Random | None = None) -> Iterator[float]:
    """Yield delays in seconds without end: `first_s`, then `factor` times the previous one, at most `ceiling_s`.

    `jitter`: if given, each delay is drawn from the upper half of its range, so that callers that failed together do
    not all retry together. None for the plain sequence.
    """
    delay = first_s
    while True:
        yield delay * jitter.uniform(0.5, 1.0) if jitter else delay
        delay = min(delay * factor, ceiling_s)


def asked_s(header: str | None, now: datetime) -> float | None:
    """The seconds that a header `Retry-After` asks for, a number or a date: between 0 and `MAX_ASKED_S`.

    None if it is absent or says nothing, for instance NaN, a negative number, or a date that is over.
    """
    text = (header or "").strip()
    seconds = float(text) if _NUMBER.fullmatch(text) else _until(text, now)
    return min(seconds, MAX_ASKED_S) if seconds >= 0 else None


def _until(text: str, now: datetime) -> float:
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    except (OverflowError, TypeError, ValueError):
        return math.nan


def pause_s(own_s: float, asked: float | None, ceiling_s: float) -> float:
    """The pause before the next try: what the other side asks for, but never less than our own growing delay, nor more than `ceiling_s`."""
    return min(max(own_s, asked or 0.0, MIN_PAUSE_S), max(ceiling_s, MIN_PAUSE_S))


class Keyed(Generic[Key]):
    """Growing delays for each key of work that failed, so that one that fails again and again holds up no other."""

    def __init__(self, first_s: float, *, ceiling_s: float, jitter: random.Random | None = None) -> None:
        """See `delays`."""
        self._first_s, self._ceiling_s, self._jitter = first_s, ceiling_s, jitter
        self._delays: dict[Key, Iterator[float]] = {}
        self._due: dict[Key, float] = {}
        self._since: dict[Key, float] = {}

    def failed(self, key: Key, asked: float | None = None) -> float:
        """Note a failure; returns the seconds until `key` is due again. `asked`: what the other side asks for; None for nothing."""
        now = anyio.current_time()
        if key not in self._delays:
            self._delays[key] = delays(self._first_s, ceiling_s=self._ceiling_s, jitter=self._jitter)
            self._since[key] = now
        wait_s = pause_s(next(self._delays[key]), asked, self._ceiling_s)
        self._due[key] = now + wait_s
        return wait_s

    def over(self, key: Key) -> None:
        """Note that `key` succeeded, or that it is not needed any more."""
        self._delays.pop(key, None)
        self._due.pop(key, None)
        self._since.pop(key, None)

    def left_s(self, key: Key) -> float:
        """Seconds until `key` is due; 0 if it is."""
        return max(self._due.get(key, 0.0) - anyio.current_time(), 0.0) if key in self._due else 0.0

    def failing_s(self, key: Key) -> float:
        """For how long `key` has been failing; 0 if it is not."""
        return anyio.current_time() - self._since[key] if key in self._since else 0.0

    def next_s(self) -> float | None:
        """Seconds until the first key is due; None if nothing fails."""
        return max(min(self._due.values()) - anyio.current_time(), 0.0) if self._due else None

    @property
    def failing(self) -> tuple[Key, ...]:
        """All keys that fail."""
        return tuple(self._due)
