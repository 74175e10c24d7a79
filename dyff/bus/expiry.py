"""When a command expires, in the log's clock: that clock alone decides whether a command arrived in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

LIFE = timedelta(minutes=10)
"""A command that reaches the log later than this is dropped by the fold, and for that long repetitions are recognized."""

NEVER = datetime(9999, 12, 31, tzinfo=UTC)


def after(now: datetime, offset_s: float | None, life: timedelta = LIFE) -> datetime:
    """The expiry of a command that is published now. `now`: our time. `offset_s`: `Bus.clock_offset_s`.

    If the offset is not known yet (None), the command never expires. That is safer than an expiry in our clock, with which an
    accepted command could be dropped because the clocks differ. It concerns what is published before the first acknowledgement.
    """
    return NEVER if offset_s is None else now + timedelta(seconds=offset_s) + life
