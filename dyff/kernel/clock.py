"""Time as a port, so that pure code never reads a clock and a simulation can control time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

_ENCODER = msgspec.json.Encoder()


class Clock(Protocol):
    """Source of the current time."""

    def now(self) -> datetime:
        """The current date and time, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, from an arbitrary origin."""
        ...


class SystemClock:
    """The system clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def iso(moment: datetime) -> str:
    """`moment` in the one format that we store: UTC, microseconds, `Z`. Text order is therefore time order.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    text = _ENCODER.encode(in_utc)[1:-1].decode()  # several times faster than isoformat, but it omits zero microseconds
    return text if in_utc.microsecond else f"{text[:-1]}.000000Z"


def iso_seconds(moment: datetime) -> str:
    """`moment` for a message that people read: UTC, whole seconds, `Z`. It is never stored as a time of its own.

    Raises:
        ValueError: `moment` has no time zone.
    """
    return f"{iso(moment)[:19]}Z"


def parse_iso(text: str) -> datetime:
    """Parse a text written by `iso`; any RFC 3339 text with a time zone is accepted.

    Raises:
        ValueError: the text has another format, or no time zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def epoch_ms(moment: datetime) -> int:
    """Milliseconds since 1970, as in Kafka's record timestamps."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def epoch_us(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
