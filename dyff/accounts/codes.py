"""Codes that sign a person in once: for the link that `dyff serve` prints on a terminal (ADR 48).

The process that prints a link is the one that serves it, so a code is only in its memory, as a hash.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from dyff.kernel import clock

LIFE = timedelta(minutes=5)


class Codes:
    """At most one code at a time. Each is good once, for `LIFE`."""

    def __init__(self, clock: clock.Clock) -> None:
        """No code is known yet."""
        self._clock = clock
        self._known: tuple[bytes, datetime] | None = None

    def make(self) -> str:
        """Make a new code; an earlier one is no longer good. It is returned only here, has 256 random bits and fits into a URL."""
        code = secrets.token_urlsafe(32)
        self._known = (_hashed(code), self._clock.now() + LIFE)
        return code

    def take(self, code: str) -> bool:
        """Whether `code` is the one that was made, is not too old, and was not taken before."""
        if self._known is None:
            return False
        hashed, end = self._known
        if not hmac.compare_digest(hashed, _hashed(code)):
            return False
        self._known = None
        return self._clock.now() < end


def _hashed(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "replace")).digest()
