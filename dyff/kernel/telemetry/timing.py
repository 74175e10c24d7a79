"""How long publishing to the log takes, for all roles that do it."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TypeVar

from dyff.kernel import errors
from dyff.kernel.telemetry import metrics, names

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"
T = TypeVar("T")


class Publications:
    """Times what one role publishes. `ok`: of publications that are known to be durable."""

    def __init__(self, measured: metrics.Metrics, role: str) -> None:
        """All outcomes are there from the start, so that the first failure is seen as an increase."""
        durations = measured.histogram(names.PUBLISH_DURATION)
        self.ok, self._failed, self._unknown = (durations.child(role, each) for each in (OK, FAILED, UNKNOWN))

    async def timed(self, publication: Awaitable[T]) -> T:
        """The result of a publication.

        Raises:
            Anything that it raises.
        """
        began = time.perf_counter()
        try:
            result = await publication
        except BaseException as error:
            self.not_ok(error, time.perf_counter() - began)
            raise
        self.ok.observe(time.perf_counter() - began)
        return result

    def not_ok(self, error: BaseException | None, seconds: float) -> None:
        """Count a publication without a success. `error`: None if its time was up. If nothing was written, it failed."""
        failed = isinstance(error, errors.RetryLater | errors.FixRequest | errors.Fenced)
        (self._failed if failed else self._unknown).observe(seconds)
