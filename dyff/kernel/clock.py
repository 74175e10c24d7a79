"""Time as a port, so that pure code never reads a clock and a simulation can own time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

_ENCODER = msgspec.json.Encoder()


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The time of day, with the zone UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def iso(moment: datetime) -> str:
    """`moment` in the one spelling that we store: UTC, microseconds, `Z`; so text order is time order.

    Raises:
        ValueError: it has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    text = _ENCODER.encode(in_utc)[1:-1].decode()  # several times faster than isoformat, but it leaves zeros out
    return text if in_utc.microsecond else f"{text[:-1]}.000000Z"


def parse_iso(text: str) -> datetime:
    """The moment that `iso` wrote (any RFC 3339 text with a zone is understood).

    Raises:
        ValueError: it is no such text.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def epoch_ms(moment: datetime) -> int:
    """Milliseconds since 1970, as Kafka stamps its records."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
