"""Times of log lines, which are finer than a clock's."""

from __future__ import annotations

import re

from dyff.kernel import clock

_FRACTION = re.compile(r"\.(\d+)")


def instant(text: str) -> str:
    """A time in RFC 3339, in any precision and zone, in UTC with nanoseconds, so that text order is time order.

    Raises:
        ValueError, OverflowError: it is not such a time, or has no equivalent in UTC.
    """
    seconds = clock.parse_iso(text).replace(microsecond=0, tzinfo=None).isoformat()  # strftime does not pad the year
    fraction = _FRACTION.search(text)
    return f"{seconds}.{fraction[1] if fraction else '':0<9.9}Z"
