"""Looks at the backends and the roles every few seconds, and remembers an hour of it, in memory."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import anyio
import msgspec
import structlog

from dyff.api.services import Services
from dyff.bus import topics
from dyff.cluster import port as cluster
from dyff.entities import answers, codecs, system
from dyff.kernel import addresses, clock, errors, http11

log = structlog.get_logger()

EVERY_S = 10.0
KEPT = 360
"""Looks that are remembered: an hour."""

PATIENCE_S = 5.0
"""How long a backend, or another process, has to answer."""

MAX_REPORT_BYTES = 64 * 2**10
"""Of the report of another process."""

ROLES = ("api", "aggregator", "sink", "orchestrator", "informer", "operator")
AGGREGATOR = "dyff.aggregator"
"""The group in which aggregators read events."""

UNREACHABLE = "unreachable"
_NOBODY = "dyff-health"
_TEXT_CHARS = 300


class Watching:
    """Looks at the system. It sees the ports of the api; of other processes, only what their probes say."""

    def __init__(self, services: Services) -> None:
        """Nothing was looked at yet."""
        self._services = services
        self._history: deque[system.Look] = deque(maxlen=KEPT)
        self._lock = anyio.Lock()
        self._last: tuple[float, system.System] | None = None

    async def run(self) -> None:
        """Look every `EVERY_S` seconds, until cancelled."""
        while True:
            try:
                await self.seen()
            except Exception as error:  # of whatever kind: to look is no reason to end what is looked at
                log.error("system-not-seen", **errors.details(error), exc_info=error)
            await anyio.sleep(EVERY_S)

    async def seen(self) -> system.System:
        """The system, as it was at most `EVERY_S` seconds ago."""
        async with self._lock:
            if self._last is None or time.monotonic() - self._last[0] >= EVERY_S:
                self._last = (time.monotonic(), await self._look())
            return msgspec.structs.replace(self._last[1], history=list(self._history))

    async def _look(self) -> system.System:
        services = self._services
        asked: dict[str, Callable[[], Awaitable[object]]] = {
            "bus": partial(services.bus.ranges, topics.EVENTS),
            "query": services.query.reached,
            "accounts": services.accounts.signing_secret,
            "objects": partial(services.objects.head, _NOBODY),
            "cluster": partial(services.cluster.get, cluster.POD, _NOBODY),
        }
        ports = [await _port(name, ask) for name, ask in asked.items()]
        lag = await self._lag()
        report = services.health()
        roles = [*_own(report), *await self._elsewhere()]
        named = {each.role for each in roles}
        roles += [system.KnownRole(role=each, known=False) for each in ROLES if each not in named]
        now = clock.iso(services.clock.now())
        unready = [each.role for each in roles if each.known and (each.problem is not None or each.status not in ("ok", "degraded"))]
        works, fails = [each.port for each in ports if each.works], [each.port for each in ports if not each.works]
        self._history.append(system.Look(time=now, works=works, fails=fails, lag=lag, unready=unready))
        degraded = msgspec.convert(report.get("degraded", []), list[answers.Trouble])
        return system.System(time=now, everySeconds=EVERY_S, roles=roles, degraded=degraded, ports=ports, lag=lag, history=[])

    async def _lag(self) -> system.Lag:
        """What can be read of it."""
        bus, query = self._services.bus, self._services.query
        try:
            with anyio.fail_after(PATIENCE_S):
                events, states = await bus.ranges(topics.EVENTS), await bus.ranges(topics.STATE)
                folded, reached = await bus.committed(AGGREGATOR, topics.EVENTS), await query.reached()
        except (errors.DyffError, TimeoutError):
            return system.Lag()
        ends = {partition: each.end for partition, each in events.items()}
        return system.Lag(
            aggregator=_behind(ends, folded),
            sink=_behind({partition: each.end for partition, each in states.items()}, reached.state),
            view=_behind(ends, reached.events),
        )

    async def _elsewhere(self) -> list[system.KnownRole]:
        found: list[system.KnownRole] = []

        async def ask(role: str, address: str) -> None:
            found.append(await _asked(role, address))

        async with anyio.create_task_group() as group:
            for role, places in self._services.probes.items():
                for each in places:
                    group.start_soon(ask, role, each)
        return sorted(found, key=lambda each: (each.role, each.address or ""))


async def _port(name: str, ask: Callable[[], Awaitable[object]]) -> system.PortHealth:
    began, problem = time.perf_counter(), None
    try:
        with anyio.fail_after(PATIENCE_S):
            await ask()
    except TimeoutError:
        problem = f"it did not answer within {PATIENCE_S:g} s"
    except errors.DyffError as error:
        problem = error.message[:_TEXT_CHARS]
    return system.PortHealth(port=name, works=problem is None, seconds=round(time.perf_counter() - began, 6), problem=problem)


def _own(report: Mapping[str, Any]) -> list[system.KnownRole]:
    """The roles of this process."""
    return [_role(name, report["status"], None, each) for name, each in report["roles"].items()]


def _role(name: str, status: str, address: str | None, health: Mapping[str, Any]) -> system.KnownRole:
    known = {key: health.get(key) for key in ("phase", "since", "problem", "failures")}
    return msgspec.convert({"role": name, "known": True, "status": status, "address": address, **known}, system.KnownRole)


def _behind(ends: Mapping[int, int], done: Mapping[int, int]) -> int:
    return sum(max(0, end - done.get(partition, 0)) for partition, end in ends.items())


async def _asked(role: str, address: str) -> system.KnownRole:
    """What the probes at an address say about a role."""
    try:
        with anyio.fail_after(PATIENCE_S):
            report = codecs.decode_object(await _report(address))
        return _role(role, str(report["status"])[:_TEXT_CHARS], address, report["roles"].get(role, {"problem": "it does not run there"}))
    except (OSError, TimeoutError, http11.Lost, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"its probes do not answer: {str(error) or type(error).__name__}"[:_TEXT_CHARS]
        return system.KnownRole(role=role, known=True, status=UNREACHABLE, address=address, problem=problem)


async def _report(place: str) -> bytes:
    """The answer of the probes at `host:port`, which is the same whether they say that the process is ready or not."""
    host, port = addresses.host_and_port(place)
    make = partial(http11.Connection, closes=True)
    _, connection = await asyncio.get_running_loop().create_connection(make, host, port)
    try:
        connection.start(f"GET /ready HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\n\r\n".encode("ascii"))
        return await connection.whole(MAX_REPORT_BYTES)
    finally:
        connection.abort()
