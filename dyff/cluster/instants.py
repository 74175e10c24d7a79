"""Times of log lines, which are finer than a clock's."""

from __future__ import annotations

import re

from dyff.kernel import clock

_FRACTION = re.compile(r"\.(\d+)")


def instant(text: str) -> str:
    """RFC 3339 in whatever precision and zone as UTC with nanoseconds, whose text order is time order.

    Raises:
        ValueError: it is no such time.
    """
    seconds = clock.parse_iso(text).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = _FRACTION.search(text)
    return f"{seconds}.{fraction[1] if fraction else '':0<9.9}Z"
