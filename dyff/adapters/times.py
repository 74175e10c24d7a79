"""Exact texts of dates, times and spans of time, from the whole numbers that Arrow stores. Pure.

Python's own types end at the year 9999 and at microseconds, so numbers are formatted directly.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""The number of units in a second, by the name of the unit."""

_DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY, _LAST_DAY = date.min.toordinal() - _EPOCH.toordinal(), date.max.toordinal() - _EPOCH.toordinal()
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")
_ZONES_KEPT = 256

Text = Callable[[int], str]
"""From a number of units to its text. It raises ValueError, with the reason, for a number that has none."""


def day(days: int) -> str:
    """Return a date such as `2024-02-29`. `days`: since 1970-01-01.

    Raises:
        ValueError: the year has not four digits.
    """
    if not _FIRST_DAY <= days <= _LAST_DAY:
        raise ValueError(f"{days} days from 1970-01-01 is {_outside(days)}")
    return date.fromordinal(_EPOCH.toordinal() + days).isoformat()


def time_of_day(unit: str) -> Text:
    """Return the text of times such as `13:05:00` or `13:05:00.000000001`. `unit`: of the numbers, since midnight."""
    per_s = PER_S[unit]

    def text(value: int) -> str:
        if not 0 <= value < _DAY_S * per_s:
            raise ValueError(f"{value} {unit} is no time of a day")
        return _clock(value, per_s)

    return text


def instant(unit: str, zone: str | None) -> Text:
    """Return the text of times such as `2024-02-29T13:05:00Z`, in RFC 3339. `unit`: of the numbers, since 1970.

    `zone`: the name of a time zone or an offset; None for a local time, whose text has no offset. The text is in UTC if the zone is not
    known, or has an offset with seconds there, which RFC 3339 cannot say: it is the same instant.
    """
    per_s = PER_S[unit]
    known = _zone(zone) if zone else None

    def text(value: int) -> str:
        seconds, rest = divmod(value, per_s)
        days = seconds // _DAY_S
        if not _FIRST_DAY <= days <= _LAST_DAY:
            raise ValueError(f"{value} {unit} from 1970 is {_outside(days)}")
        offset_s = 0 if known is None else _offset_s(known, seconds)
        days, local = divmod((seconds + offset_s) * per_s + rest, _DAY_S * per_s)
        return f"{day(days)}T{_clock(local, per_s)}{_shown(offset_s) if zone else ''}"

    return text


def span(unit: str) -> Text:
    """Return the text of spans such as `P1DT3661.5S`, in ISO 8601. `unit`: of the numbers."""
    per_s = PER_S[unit]

    def text(value: int) -> str:
        days, rest = divmod(abs(value), _DAY_S * per_s)
        seconds, fraction = divmod(rest, per_s)
        digits = f"{fraction:0{len(str(per_s)) - 1}}".rstrip("0") if fraction else ""
        clock = f"T{seconds}{f'.{digits}' if digits else ''}S" if rest else ""
        return f"{'-' if value < 0 else ''}P{f'{days}D' if days or not rest else ''}{clock}"

    return text


def _outside(days: int) -> str:
    where = "after the year 9999" if days > 0 else "before the year 1"
    return f"{where}, which a time in RFC 3339 cannot say"


def _clock(value: int, per_s: int) -> str:
    """The time of a day, with no fraction, six digits of it, or nine if it needs them."""
    seconds, rest = divmod(value, per_s)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if not rest:
        return text
    nanoseconds = rest * (10**9 // per_s)
    return f"{text}.{nanoseconds:09}" if nanoseconds % 1000 else f"{text}.{nanoseconds // 1000:06}"


def _shown(offset_s: int) -> str:
    if not offset_s:
        return "Z"
    minutes = abs(offset_s) // 60
    return f"{'-' if offset_s < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


@lru_cache(_ZONES_KEPT)
def _zone(name: str) -> tzinfo | None:
    """The time zone; None if it is not known."""
    if found := _OFFSET.fullmatch(name):
        minutes = int(found[2]) * 60 + int(found[3])
        is_offset = int(found[3]) < 60 and minutes < 24 * 60
        return timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes)) if is_offset else None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not in the database, a path that leaves it, or one of its folders
        return None


def _offset_s(zone: tzinfo, seconds: int) -> int:
    """The zone's offset at an instant; 0 if it has seconds, or if the local time is outside the years 1 to 9999."""
    try:
        offset = (_EPOCH + timedelta(seconds=seconds)).astimezone(zone).utcoffset()
    except (OverflowError, ValueError):
        return 0
    found = 0 if offset is None else round(offset.total_seconds())
    return 0 if found % 60 else found
