"""What a run is retrying at the moment, for people."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from dyff.kernel import clock
from dyff.workflows.items import Call

_SHOWN = 300


class _Retry(msgspec.Struct, frozen=True):
    """`failures`: how often the call has failed. `until_s`: the monotonic time of the next try."""

    call: Call
    failures: int
    reason: str
    until_s: float


class Board:
    """The calls that have failed and will be retried."""

    def __init__(self, time: clock.Clock) -> None:
        self._clock = time
        self._retries: dict[int, _Retry] = {}

    def put(self, call: Call, failures: int, reason: str, delay_s: float) -> None:
        """Record that a call is retried after `delay_s`. `failures`: how often it has failed. `reason`: of the last time."""
        self._retries[id(call)] = _Retry(call, failures, reason, self._clock.monotonic() + delay_s)

    def remove(self, call: Call) -> None:
        """Record that a call is no longer retried. It is no error if it was not."""
        self._retries.pop(id(call), None)

    def line(self, call: Call) -> str:
        """Describe the retry of a call: what, how often, after which answer, until when."""
        found = self._retries[id(call)]
        left_s = max(0.0, found.until_s - self._clock.monotonic())
        at = clock.iso((self._clock.now() + timedelta(seconds=left_s)).replace(microsecond=0))
        reason = found.reason if len(found.reason) <= _SHOWN else f"{found.reason[:_SHOWN]}..."
        return f"trying again at {at}: {found.call}, which has failed {_times(found.failures)}; the last time: {reason}"

    def message(self) -> str:
        """Describe the call that has failed most often, and how many others are retried; empty if there is none."""
        if not self._retries:
            return ""
        worst = max(self._retries.values(), key=lambda each: each.failures)
        others = len(self._retries) - 1
        return self.line(worst.call) + (f" (and {others} more)" if others else "")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
