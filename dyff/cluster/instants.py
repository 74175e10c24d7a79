"""Times of log lines, which have a finer resolution than the clock's."""

from __future__ import annotations

import re

from dyff.kernel import clock

_FRACTION = re.compile(r"\.(\d+)")


def instant(text: str) -> str:
    """Convert an RFC 3339 time of any precision and zone to UTC with nanoseconds, whose text order is the time order.

    Raises:
        ValueError, OverflowError: the text is not an RFC 3339 time, or has no equivalent in UTC.
    """
    seconds = clock.parse_iso(text).replace(microsecond=0, tzinfo=None).isoformat()  # strftime does not pad the year
    fraction = _FRACTION.search(text)
    return f"{seconds}.{fraction[1] if fraction else '':0<9.9}Z"
