"""The clock of the API server, by the header Date of its answers. Times in objects are by that clock, so deadlines are, too."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime, timedelta

from dyff.kernel import clock

_TOLERANCE_S = 2.0
"""A smaller difference can come from the resolution of the header, which has whole seconds."""
_MAX_ROUND_TRIP_S = 2.0
"""An answer that took longer says too little about the time."""


class ServersClock:
    """The difference between two clocks, as of the last answer that says it."""

    def __init__(self, own: clock.Clock) -> None:
        """`own`: our clock. Until there is an answer both are taken to be the same."""
        self._own = own
        self._ahead = timedelta()

    def heard(self, date: str | None, sent: datetime) -> None:
        """Note the header of an answer to a request that was sent at `sent` by our clock. One that cannot be read is ignored."""
        now = self._own.now()
        if date is None or not timedelta() <= now - sent <= timedelta(seconds=_MAX_ROUND_TRIP_S):
            return
        try:
            moment = email.utils.parsedate_to_datetime(date)
            ahead = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) + timedelta(seconds=0.5) - (sent + (now - sent) / 2)
        except (OverflowError, TypeError, ValueError):
            return
        self._ahead = ahead if abs(ahead.total_seconds()) > _TOLERANCE_S else timedelta()

    def now(self) -> datetime:
        """The present time by the server's clock."""
        return self._own.now() + self._ahead
