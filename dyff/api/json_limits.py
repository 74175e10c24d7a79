"""Limits on the JSON of requests, checked before it is decoded: decoding blocks all other work, and hostile JSON takes long.

A list costs a hundred times as much as a character of a string, and some numbers (1e308) cost a thousand times as much as others.
"""

from __future__ import annotations

MAX_VALUES = 250_000
"""The most commas and opening brackets outside strings, so about as many values. The largest sensible request has a third of that."""

MAX_COSTLY_NUMBERS = 1_000
"""The most numbers with an exponent, or with 18 digits or more. Decoding one can take 25 microseconds."""

_UNCHECKED_BYTES = 4 * MAX_COSTLY_NUMBERS
"""Shorter JSON cannot exceed a limit."""

_OUTLINE = bytes.maketrans(b"123456789.+-E", b"000000000000e")
"""Reduces all numbers to a few forms, which are then counted faster than by a regular expression."""

_TOO_MANY = f"has more than {MAX_VALUES} values"


def problem(data: bytes) -> str | None:
    """Why JSON is refused, as the end of a sentence; None if it may be decoded, whether or not it is valid.

    Its time is linear, some milliseconds for each megabyte.
    """
    if len(data) <= _UNCHECKED_BYTES:
        return None
    if _excess(data) is None:
        return None
    # Some of what was counted may be in strings. They are left out, after what is escaped in them.
    plain = data.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 4 * (MAX_VALUES + 1):  # at most two strings between two commas
        return _TOO_MANY
    return _excess(b"".join(plain.split(b'"')[::2]))


def _excess(data: bytes) -> str | None:
    """What `data` has too many of, if it has no strings; None if of nothing."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        return _TOO_MANY
    outline = data.translate(_OUTLINE)
    if outline.count(b"0e0") + outline.count(b"0" * 18) > MAX_COSTLY_NUMBERS:
        return f"has more than {MAX_COSTLY_NUMBERS} numbers with an exponent or with 18 digits and more"
    return None
