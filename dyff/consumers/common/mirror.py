"""The folded state of every entity in the memory of one role. The orchestrator plans from it, and the informer compares with it.

It tails all partitions of the state topic without a group, from the beginning at each start. Entities that have not
ended are kept whole; of ended ones, only the fields that others can need.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping

import anyio
import anyio.abc
import msgspec
import structlog

from dyff.bus import envelope, port, topics
from dyff.entities import codecs, folding, registry, statuses, storage
from dyff.kernel import errors, liveness
from dyff.kernel.positions import Position
from dyff.kernel.telemetry import log_fields, trace_context, traces

log = structlog.get_logger()

BATCH = 500
WAIT_S = 5.0
_SLIM = ("id", "kind", "account", "status", "reason", "lastTransitionTime")


class Mirrored(msgspec.Struct, frozen=True):
    """A folded entity.

    `entity`: the whole object; with a terminal status only `id`, `kind`, `account`, `status`, `reason` and
    `lastTransitionTime`, as far as they exist. `status_source`: its `text()` is the `decided_on` of commands that were
    decided on this status. `source`: the last folded event. `cost`: quota that it uses while its pods can run; it is
    kept for ended entities too, since quota is released when the pods are gone. Empty for an unknown kind. `is_measured`: whether it
    is recorded what the object store holds of it; true also if there is nothing to record, because it has not ended or keeps nothing.
    `creation`: the span that published the command that created it; None if that belongs to no trace.
    """

    entity: codecs.Json
    status_source: Position
    source: Position
    cost: dict[str, str] = {}
    is_measured: bool = True
    creation: trace_context.Context | None = None

    @property
    def life(self) -> trace_context.Context | None:
        """The span that is the parent of what is done for it; None if its creation belongs to no trace."""
        return traces.life(self.creation, str(self.entity.get("id")))

    @property
    def about(self) -> log_fields.About:
        """What log lines about it have."""
        return log_fields.About(self.creation, self.entity.get("id"), self.entity.get("account"))

    @property
    def ended(self) -> bool:
        """Whether the status is terminal, and `entity` therefore slim."""
        return statuses.is_terminal(self.entity.get("status", ""))


class StateMirror:
    """A mirror of the state topic. Run it in a task of the role. Each start of the role needs a new one, since `run` works only once."""

    def __init__(self, bus: port.Bus, on_change: Callable[[], None] = lambda: None) -> None:
        """`bus`: must have the state and the events topic. `on_change`: called after an entity has changed; it must not block."""
        self._bus, self._on_change = bus, on_change
        self._live: dict[str, Mirrored] = {}
        self._ended: dict[str, Mirrored] = {}
        self._deleted: dict[str, Mirrored] = {}
        self._unmeasured: dict[str, Mirrored] = {}
        self._forgotten: dict[str, Position] = {}
        self._read: dict[int, int] = {}
        self._events: dict[int, int] = {}
        self._progress = anyio.Event()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Read until cancelled; ready when everything that was in the state topic at the start is mirrored.

        Raises:
            NewerSchema: a newer release wrote a state.
            Unavailable: the bus does not answer; start again with a new mirror.
        """
        ranges = await self._bus.ranges(topics.STATE)
        async with anyio.create_task_group() as group:
            for partition, held in ranges.items():
                group.start_soon(self._follow, partition, held.first)
            await self._until(self._read, {partition: held.end for partition, held in ranges.items()})
            task_status.started()

    async def wait_current(self) -> None:
        """Return when every event that was in the log at the call is folded and visible here."""
        held = await self._bus.ranges(topics.EVENTS)
        await self.wait_events({partition: each.end for partition, each in held.items()})

    async def wait_events(self, ends: Mapping[int, int]) -> None:
        """Return when every event below these offsets, by partition, is folded and visible here."""
        await self._until(self._events, ends)

    @property
    def events_seen(self) -> Mapping[int, int]:
        """By partition, the offset below which all events are folded and visible here."""
        return dict(self._events)

    async def signs(self) -> list[liveness.Sign]:
        """Liveness signs for the watchdog: the lag of each partition."""
        held = await self._bus.ranges(topics.STATE)
        found = [(partition, self._read.get(partition, each.first), each.end) for partition, each in held.items()]
        return [
            liveness.behind(f"mirror of {topics.STATE}/{partition}", topics.STATE, partition, read, end) for partition, read, end in found
        ]

    def get(self, entity_id: str) -> Mirrored | None:
        """The entity; None if it was never folded, or is forgotten."""
        return self._live.get(entity_id) or self._ended.get(entity_id)

    def live(self) -> Iterable[Mirrored]:
        """All entities whose status is not terminal, with all fields, at the time of the call."""
        return list(self._live.values())

    def ended(self) -> Iterable[Mirrored]:
        """All entities whose status is terminal, slim, at the time of the call."""
        return list(self._ended.values())

    def deleted(self) -> Iterable[Mirrored]:
        """All entities that are deleted but neither forgotten nor removed yet, slim, at the time of the call."""
        return list(self._deleted.values())

    def unmeasured(self) -> list[Mirrored]:
        """All entities that have ended and of which it is not recorded what the object store holds, slim, at the time of the call."""
        return list(self._unmeasured.values())

    async def _follow(self, partition: int, offset: int) -> None:
        async with self._bus.read(topics.STATE, partition, offset) as reader:
            while True:
                for record in await reader.poll(BATCH, WAIT_S):
                    self._take(record)
                if self._read.get(partition) != reader.position:
                    self._read[partition] = reader.position
                    progress, self._progress = self._progress, anyio.Event()
                    progress.set()

    def _take(self, record: port.Record) -> None:
        try:
            source, state = envelope.source(record), envelope.state(record)
        except ValueError as error:
            # The aggregator, which owns the topic, overwrites it with the right state.
            with log_fields.during(log_fields.of_record(record.key, record.headers)):
                place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
                log.error("state-undecodable", **place, **errors.details(error))
            return
        self._events[source.partition] = max(self._events.get(source.partition, 0), source.offset + 1)
        if state is not None and self._is_news(record.key.decode(), state.source):
            self._put(record.key.decode(), state)
            self._on_change()

    def _is_news(self, entity_id: str, source: Position) -> bool:
        """Whether a state is newer than the known one. An owner that was paused can have written an old state after a newer one."""
        known = self.get(entity_id)
        last = known.source if known else self._forgotten.get(entity_id)
        return last is None or last.epoch != source.epoch or source.offset > last.offset

    def _put(self, entity_id: str, state: folding.State) -> None:
        for each in (self._live, self._ended, self._deleted, self._unmeasured):
            each.pop(entity_id, None)
        if state.entity is None:
            self._forgotten[entity_id] = state.source
            return
        self._forgotten.pop(entity_id, None)
        ended = statuses.is_terminal(state.entity.get("status", ""))
        entity = _slim(state.entity) if ended else state.entity
        is_measured = not ended or not storage.keeps_objects(state.entity) or storage.is_recorded(state.entity)
        with log_fields.during(log_fields.About(state.creation, entity.get("id"), entity.get("account"))):
            cost = _cost(state.entity)
        mirrored = Mirrored(entity, state.status_source, state.source, cost, is_measured, state.creation)
        (self._ended if ended else self._live)[entity_id] = mirrored
        if entity.get("status") == statuses.DELETED and not storage.is_removed(state.entity):
            self._deleted[entity_id] = mirrored
        if not is_measured:
            self._unmeasured[entity_id] = mirrored

    async def _until(self, reached: Mapping[int, int], ends: Mapping[int, int]) -> None:
        while any(reached.get(partition, 0) < end for partition, end in ends.items()):
            await self._progress.wait()


def _slim(entity: codecs.Json) -> codecs.Json:
    """Only the fields of `_SLIM`. Values that many entities share are stored once, since there can be a million ended entities."""
    return {key: _shared(entity[key]) for key in _SLIM if key in entity}


def _shared(value: object) -> object:
    return sys.intern(value) if isinstance(value, str) else value


def _cost(entity: codecs.Json) -> dict[str, str]:
    row = registry.BY_KIND.get(entity.get("kind", ""))
    try:
        return row.cost(entity) if row else {}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        log.error("cost-unknown", kind=entity.get("kind"), **errors.details(error))
        return {}
