"""What runs that have not ended are waiting for: the informer copies it from the custom resource to the entity, at a bounded rate.

A run that starts at once causes no extra command: a state is reported when it has lasted for a moment. One that keeps changing, such as
a service that fails again and again, is reported a few times at once, and then once a minute. Details that change every second
are in the progress of the run, which is not in the log.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dyff.cluster import conditions, port
from dyff.consumers.common import outcomes
from dyff.consumers.common.mirror import Mirrored
from dyff.entities import statuses
from dyff.kernel.clock import Clock

SETTLED_S = 2.0
"""A state that lasts for a shorter time is not reported."""
REPORTS_AT_ONCE = 5
"""So many changes of one run are reported as they come, after a time without any."""
REPORT_EVERY_S = 60.0
"""The interval of further reports."""
REPORT_CHARS = 2000
"""Longer messages are cut."""


class _Run(msgspec.Struct):
    """`since`: when the custom resource began to differ from the entity, monotonic; None if it does not. `left`: reports that are left."""

    since: float | None
    left: float
    counted: float


class Waiting:
    """Decides which states of runs are reported, and when."""

    def __init__(self, clock: Clock) -> None:
        """`clock`: for the rate."""
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._seen: set[str] = set()

    def change(self, mirrored: Mirrored, resource: port.Object) -> outcomes.Change | None:
        """The report for a run that has not ended; None if there is nothing (yet) to report."""
        entity, now = mirrored.entity, self._clock.monotonic()
        self._seen.add(entity["id"])
        run = self._runs.setdefault(entity["id"], _Run(None, float(REPORTS_AT_ONCE), now))
        reason, message = _state(resource)
        if entity.get("status") != statuses.ADMITTED or (reason is None and entity.get("reason") != statuses.REFUSED):
            return None
        if (entity.get("reason"), entity.get("message")) == (reason, message):
            run.since = None
            return None
        run.since = now if run.since is None else run.since
        run.left = min(float(REPORTS_AT_ONCE), run.left + (now - run.counted) / REPORT_EVERY_S)
        run.counted = now
        if now - run.since < SETTLED_S or run.left < 1:
            return None
        run.left -= 1
        run.since = None
        return outcomes.change(mirrored, statuses.ADMITTED, reason, message)

    def next_s(self, longest_s: float) -> float:
        """The seconds until something may have to be reported, at most `longest_s`."""
        now = self._clock.monotonic()
        waits = (self._due_s(run, now) for run in self._runs.values() if run.since is not None)
        return min([longest_s, *waits])

    def forget(self) -> None:
        """End a pass: runs that it did not see are gone."""
        self._runs = {name: run for name, run in self._runs.items() if name in self._seen}
        self._seen = set()

    @staticmethod
    def _due_s(run: _Run, now: float) -> float:
        settles = 0.0 if run.since is None else run.since + SETTLED_S - now
        return max(settles, (1 - run.left) * REPORT_EVERY_S - (now - run.counted), 0.05)


def _state(resource: port.Object) -> tuple[str | None, str | None]:
    """The reason and the message of a resource that has not ended; None if the operator has not said anything yet.

    What the cluster refuses comes first: nothing else happens before that is over.
    """
    refused = conditions.true_condition(resource, statuses.REFUSED)
    if refused is not None:
        return statuses.REFUSED, _message(refused)
    found = conditions.get(resource, conditions.COMPLETE)
    if found is None or found["status"] == "True" or conditions.finished(resource):
        return None, None
    return found.get("reason") or None, _message(found)


def _message(found: port.Object) -> str | None:
    message = found.get("message") or None
    if message is not None and len(message) > REPORT_CHARS:
        message = f"{message[:REPORT_CHARS]}..."
    return message


def changes(waiting: Waiting, running: Iterator[tuple[Mirrored, port.Object]]) -> Iterator[outcomes.Change]:
    """The reports for all runs that have not ended; call it once in each pass."""
    for mirrored, resource in running:
        found = waiting.change(mirrored, resource)
        if found is not None:
            yield found
    waiting.forget()
