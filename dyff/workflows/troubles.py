"""What a run is retrying at the moment, for people."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta

import msgspec

from dyff.kernel import clock
from dyff.workflows.items import Call

_SHOWN = 300
_SHOWN_IN_LOG = 80
"""Of the reason, in a line that is repeated."""

SLOW_S = 10.0
"""An answer that takes longer is reported."""

_ENDLESS_S = 100 * 365 * 86400.0


class _Retry(msgspec.Struct, frozen=True):
    """`failures`: how often the call has failed. `until_s`: the monotonic time of the next try. `limit`: when it is given up."""

    call: Call
    failures: int
    reason: str
    until_s: float
    limit: str


class Board:
    """The calls that have failed and will be retried, and those that wait for an answer.

    `left_s`: returns the seconds that are left to the run; None if it has no limit of its own.
    """

    def __init__(self, time: clock.Clock, left_s: Callable[[], float] | None = None) -> None:
        self._clock, self._left_s = time, left_s
        self._retries: dict[int, _Retry] = {}
        self._sent: dict[int, tuple[Call, float]] = {}

    def put(self, call: Call, failures: int, reason: str, delay_s: float, limit: str) -> None:
        """Record that a call is retried after `delay_s`.

        `failures`: how often it has failed. `reason`: of the last time. `limit`: when it is given up, apart from the time limit.
        """
        self._retries[id(call)] = _Retry(call, failures, reason, self._clock.monotonic() + delay_s, limit)

    def sent(self, call: Call) -> None:
        """Record that the request was sent, and an answer is awaited."""
        self._sent[id(call)] = call, self._clock.monotonic()

    def answered(self, call: Call) -> None:
        """Record that nothing is awaited any more."""
        self._sent.pop(id(call), None)

    def remove(self, call: Call) -> None:
        """Record that a call is no longer retried. It is no error if it was not."""
        self._retries.pop(id(call), None)

    def line(self, call: Call) -> str:
        """Describe the retry of a call: what, how often, after which answer, until when."""
        found = self._retries[id(call)]
        left_s = max(0.0, found.until_s - self._clock.monotonic())
        reason = found.reason if len(found.reason) <= _SHOWN else f"{found.reason[:_SHOWN]}..."
        said = f"trying again at {self._time(left_s)}: {found.call}, which has failed {_times(found.failures)}; the last time: {reason}"
        return f"{said} (given up {found.limit}{self._end()})"

    def log_line(self, call: Call, errors: int) -> str:
        """The same for the log, as names and values. `errors`: of the whole run so far."""
        found = self._retries[id(call)]
        left_s = max(0.0, found.until_s - self._clock.monotonic())
        reason = found.reason if len(found.reason) <= _SHOWN_IN_LOG else f"{found.reason[:_SHOWN_IN_LOG]}..."
        place = f"index={call.index} replication={call.replication}"
        return f"retry: {place} failures={found.failures} errors={errors} next={self._time(left_s)} reason={reason}"

    def message(self) -> str:
        """Describe the call that has failed most often, or that waits longest for an answer; empty if all is well."""
        if self._retries:
            worst = max(self._retries.values(), key=lambda each: each.failures)
            return self.line(worst.call) + _more(len(self._retries) - 1)
        now = self._clock.monotonic()
        slow = [(began, call) for call, began in self._sent.values() if now - began >= SLOW_S]
        if not slow:
            return ""
        began, call = min(slow, key=lambda each: each[0])
        return f"waiting for an answer since {self._time(began - now)}: {call}{_more(len(slow) - 1)}"

    def _end(self) -> str:
        left_s = self._left_s() if self._left_s is not None else math.inf
        return f", or at {self._time(max(0.0, left_s))} with client.totalTimeoutSeconds" if left_s < _ENDLESS_S else ""

    def _time(self, from_now_s: float) -> str:
        return clock.iso_seconds(self._clock.now() + timedelta(seconds=from_now_s))


def _more(others: int) -> str:
    return f" (and {others} more)" if others else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
