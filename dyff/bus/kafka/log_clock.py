"""How far the brokers' clocks are from ours, from the acknowledgements of what we write anyway."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dyff.kernel import clock

LOG_APPEND_TIME = 1
"""The type of a timestamp that the broker set."""


class LogClock:
    """The latest comparison. A broker appends between our sending and its acknowledgement, so only what is outside of that counts:
    a slow broker is not a wrong clock.
    """

    def __init__(self, ours: clock.Clock) -> None:
        """Nothing is known yet."""
        self._ours = ours
        self.offset_s: float | None = None

    def now_ms(self) -> int:
        """Our time, to be passed to `compare`."""
        return clock.epoch_ms(self._ours.now())

    def compare(self, sent_ms: int, acknowledged: Iterable[Any]) -> None:
        """Take acknowledgements that came just now. `sent_ms`: our time before they were requested."""
        now_ms = self.now_ms()
        for each in acknowledged:
            if each.timestamp_type == LOG_APPEND_TIME and each.timestamp is not None and each.timestamp >= 0:
                self.offset_s = (min(each.timestamp - sent_ms, 0) + max(each.timestamp - now_ms, 0)) / 1000
