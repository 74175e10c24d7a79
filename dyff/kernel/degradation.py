"""Faults that this process works around: it serves on, `/ready` reports them, and whatever failed is tried again.

Only a fault that makes serving wrong may end a running server (`ends_server`). Every other fault is a named trouble: reported by the
role or adapter that noticed it, and cleared by the same when it is over.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn

import anyio
import msgspec
import structlog

from dyff.kernel import backoff, errors
from dyff.kernel import clock as clocks

log = structlog.get_logger()

RETRY_FIRST_S = 1.0
RETRY_CEILING_S = 300.0
"""Delays between the attempts of maintenance that fails: the first, and the longest."""

_SERVING_IS_WRONG = (errors.LogDiverged, errors.NewerSchema, errors.OlderSchema, errors.DiskFailed)
_OUTAGES = (errors.RetryLater, errors.OutcomeUnknown, OSError)


class Trouble(msgspec.Struct, frozen=True):
    """One thing that does not work. `name`: what, such as `log checkpoint`. `reason`: why, a sentence for people. `since`: when it was
    first reported (RFC 3339). `times`: how often it was reported since then. `blocks`: roles wait for its end, and are not stuck.
    """

    name: str
    reason: str
    since: str
    times: int
    blocks: bool = False


class Troubles:
    """The present troubles of this process. Any thread may use it."""

    def __init__(self, clock: clocks.Clock | None = None) -> None:
        """`clock`: None for the system clock."""
        self._clock = clock or clocks.SystemClock()
        self._known: dict[str, Trouble] = {}

    def report(self, name: str, reason: str, *, blocks: bool = False) -> None:
        """Report that `name` does not work. Reported again, it keeps its `since`. The first report is logged. `blocks`: see `Trouble`."""
        known = self._known.get(name)
        since, times = (known.since, known.times) if known else (clocks.iso(self._clock.now()), 0)
        self._known[name] = Trouble(name, reason, since, times + 1, blocks)
        if known is None or known.reason != reason:
            log.warning("degraded", trouble=name, reason=reason, since=since)

    def clear(self, name: str) -> None:
        """Report that `name` works. Costs nothing if it always did."""
        known = self._known.pop(name, None)
        if known is not None:
            log.info("degraded-over", trouble=name, since=known.since, times=known.times)

    def has(self, name: str) -> bool:
        """Whether `name` is a present trouble."""
        return name in self._known

    @property
    def blocked(self) -> bool:
        """Whether roles wait for the end of a trouble."""
        return any(each.blocks for each in self.current())

    def current(self) -> list[Trouble]:
        """All present troubles, the oldest first."""
        return sorted(self._known.values(), key=lambda each: (each.since, each.name))

    def reported(self) -> list[dict[str, Any]]:
        """The same as JSON, for `/ready`: `[{"name", "reason", "since", "times", "blocks"}]`."""
        return [msgspec.to_builtins(each) for each in self.current()]


def ends_server(problem: BaseException, *, was_ready: bool) -> bool:
    """Whether a failure of a role must end the process.

    `was_ready`: the role has served before. Before that every `Fatal` does, so that a person who starts a server with wrong settings
    is answered at once.
    """
    return isinstance(problem, _SERVING_IS_WRONG) or (isinstance(problem, errors.Fatal) and not was_ready)


def is_outage(problem: BaseException) -> bool:
    """Whether the cause of a failure is outside of this program (a backend, the disk). It is retried for as long as it lasts."""
    return isinstance(problem, (*_OUTAGES, errors.Fatal))


async def keep_doing(
    act: Callable[[], Awaitable[object]],
    *,
    name: str,
    every_s: float,
    troubles: Troubles,
    raised: tuple[type[BaseException], ...] = (),
) -> NoReturn:
    """Do maintenance every `every_s` seconds until cancelled. A failure is a trouble called `name`, and is retried with growing delays.

    `raised`: exceptions of `act` that are not retried here, because the role has to be started again.

    Raises:
        LogDiverged, NewerSchema, OlderSchema, DiskFailed: serving would be wrong.
        One of `raised`.
    """
    failing = _delays(every_s)
    while True:
        wait_s = every_s
        try:
            await act()
        except raised:
            raise
        except Exception as error:
            if ends_server(error, was_ready=True):
                raise
            wait_s = next(failing)
            fields = errors.details(error)
            unforeseen = None if isinstance(error, errors.DyffError) else error
            log.warning("maintenance-failed", trouble=name, retry_in_s=round(wait_s, 1), **fields, exc_info=unforeseen)
            troubles.report(name, fields["reason"] or fields["error"])
        else:
            troubles.clear(name)
            failing = _delays(every_s)
        await anyio.sleep(wait_s)


def _delays(every_s: float) -> Iterator[float]:
    return backoff.delays(min(RETRY_FIRST_S, every_s), ceiling_s=RETRY_CEILING_S, jitter=random.Random())
