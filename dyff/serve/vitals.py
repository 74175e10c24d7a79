"""The metrics of a process as a whole: its roles, what does not work, what it lost, its disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from pathlib import Path

import anyio
import anyio.to_thread

from dyff.kernel import degradation, liveness
from dyff.kernel.telemetry import metrics, names
from dyff.serve import health, outputs, space, watchdog

DELAY_EVERY_S = 1.0
"""How often it is looked how late a timer is."""

_LABELS = {outputs.LOG: "log", outputs.AUDIT: "audit", outputs.TRACES: "traces"}
_PARTS_OF_LOG = ("", "-wal")


class RoleSigns:
    """The liveness signs of one run of a role, as gauges. `judged`: what the watchdog last found."""

    def __init__(self, role: str, signs: liveness.Signs) -> None:
        """`signs`: those that the watchdog reads, too."""
        self._role, self._signs = role, signs
        self.judged: watchdog.Judged = {}

    @contextmanager
    def shown(self, measured: metrics.Metrics) -> Iterator[None]:
        """In the context they are part of each scrape."""
        with measured.reading(f"signs of {self._role}", self.read), measured.reading(f"watchdog of {self._role}", self.stalled):
            yield

    async def read(self) -> list[metrics.Sample]:
        """Whether work waits, and how much of the log is still to be processed.

        Raises:
            DyffError: the log does not answer.
        """
        found = []
        for sign in await self._signs.read():
            found.append(metrics.Sample(names.SIGN_WAITING, float(sign.waiting is not None), (self._role, sign.name)))
            if sign.name not in self.judged:
                found.append(metrics.Sample(names.SIGN_STALLED, 0.0, (self._role, sign.name)))
            if sign.lag is not None:
                of = (self._role, sign.lag.topic, str(sign.lag.partition))
                found.append(metrics.Sample(names.LAG, float(sign.lag.records), of))
        return found

    async def stalled(self) -> list[metrics.Sample]:
        """How long there has been no progress. It needs nothing that may not answer."""
        return [metrics.Sample(names.SIGN_STALLED, each.seconds, (self._role, name)) for name, each in self.judged.items()]


class Vitals:
    """What one process reports about itself."""

    def __init__(
        self,
        measured: metrics.Metrics,
        known: health.Health,
        troubles: degradation.Troubles,
        lost: Callable[[], Mapping[str, int]],
        *,
        disk: space.Space | None = None,
        log: Path | None = None,
    ) -> None:
        """`lost`: see `outputs.Outputs.lost`. `disk`: of the data directory. `log`: the file of the embedded log. None if there is none."""
        self._metrics, self._health, self._troubles, self._lost = measured, known, troubles, lost
        self._disk, self._log = disk, log
        self._named = metrics.Sticky(names.MAX_TROUBLES)
        self._delays = measured.histogram(names.LOOP_DELAY).child()
        self._version = metadata.version("dyff-platform")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """In the context they are part of each scrape."""
        with ExitStack() as stack:
            stack.enter_context(self._metrics.reading("roles", self.roles, (names.TROUBLE,)))
            if self._disk is not None or self._log is not None:
                stack.enter_context(self._metrics.reading("disk", self.files))
            yield

    async def roles(self) -> list[metrics.Sample]:
        """The phases of the roles, what does not work, and what was lost."""
        found = [metrics.Sample(names.BUILD, 1.0, (self._version,))]
        for role, now in self._health.phases().items():
            found += [metrics.Sample(names.PHASE, float(phase is now), (role, phase.value)) for phase in health.Phase]
        present = self._named.bounded({each.name: 1.0 for each in self._troubles.current()})
        found += [metrics.Sample(names.TROUBLE, value, (name,)) for name, value in present.items()]
        return found + [metrics.Sample(names.LOST_LINES, float(number), (_LABELS[name],)) for name, number in self._lost().items()]

    async def files(self) -> list[metrics.Sample]:
        """The disk and the log on it. In a thread, since a disk that fails may not answer.

        Raises:
            OSError: it cannot be read.
        """
        return await anyio.to_thread.run_sync(self._files, abandon_on_cancel=True)

    async def watch_delays(self) -> None:
        """Observe how late a timer is, until cancelled."""
        while True:
            due = anyio.current_time() + DELAY_EVERY_S
            await anyio.sleep_until(due)
            self._delays.observe(max(0.0, anyio.current_time() - due))

    def _files(self) -> list[metrics.Sample]:
        found = []
        if self._disk is not None:
            room = self._disk.room()
            found += [metrics.Sample(names.DISK_FREE, room.free), metrics.Sample(names.DISK_SIZE, room.size)]
            found.append(metrics.Sample(names.DISK_FULL, float(self._disk.full)))
        if self._log is not None:
            found.append(metrics.Sample(names.LOG_BYTES, sum(_size(self._log.with_name(self._log.name + end)) for end in _PARTS_OF_LOG)))
        return found


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return os.stat(path).st_size
    return 0
