"""The statuses that an entity has had, folded from its own events in the log (docs/adr/0044-data-behind-the-console.md)."""

from __future__ import annotations

import base64
import binascii
import time
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec

from dyff.api.positions import Positions
from dyff.api.services import Services
from dyff.bus import envelope, port, topics
from dyff.entities import codecs, commands, folding, relations, statuses
from dyff.kernel import clock, errors
from dyff.kernel.positions import Position

LOOK_S = 1.5
"""How long the log is read for a page, after which it may have fewer entries."""

BATCH = 500
POLL_S = 0.5

SLACK = timedelta(minutes=2)
"""Before the creation by its own time, since the clock of the log can be another one."""

MAX_CURSOR_CHARS = 4096
_MESSAGE_CHARS = 500
_WRONG = errors.Problem(("query", "after"), "must be the value of 'next' in the page before")


class Cursor(msgspec.Struct, frozen=True):
    """Where a history continues: at `offset`, with the status of that time. `source`: the offset of the last change of the status."""

    offset: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
    source: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
    status: str
    reason: str | None = None
    message: str | None = None

    def text(self) -> str:
        """For `next`."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Parse the output of `text`.

        Raises:
            InvalidFields: it is none.
        """
        try:
            if len(text) > MAX_CURSOR_CHARS:
                raise ValueError
            return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=cls)
        except (ValueError, binascii.Error) as error:
            raise errors.InvalidFields(_WRONG) from error


class Entry(NamedTuple):
    """A status, and who asked for it: the principal of the command."""

    transition: relations.Transition
    principal: str


class Page(NamedTuple):
    """Entries, and where to go on; None at the end."""

    entries: list[Entry]
    next: Cursor | None


class Histories:
    """Reads histories of one server."""

    def __init__(self, services: Services, positions: Positions) -> None:
        """`positions`: knows the log."""
        self._bus, self._positions = services.bus, positions

    async def page(self, entity: codecs.Json, after: Cursor | None, limit: int) -> Page:
        """The next entries of the history of an entity, which the view has as `entity`.

        Raises:
            Unavailable: the log does not answer.
            Gone: the log does not have the beginning any more.
        """
        topic = await self._positions.topic()
        key = entity["id"].encode()
        partition = topics.partition_of(key, topic.partitions)
        held = (await self._bus.ranges(topics.EVENTS))[partition]
        offset = after.offset if after is not None else await self._creation(partition, held, entity)
        if offset < held.first:
            raise errors.Gone("the log does not have the beginning of this history any more")
        state = None if after is None else _state(entity, topic, partition, after)
        entries: list[Entry] = []
        until = time.monotonic() + LOOK_S
        async with self._bus.read(topics.EVENTS, partition, min(offset, held.end)) as reader:
            while reader.position < held.end:
                for record in await reader.poll(BATCH, POLL_S):
                    if record.key != key or record.offset >= held.end:
                        continue
                    before, (state, entry) = state, _folded(state, record, topic)
                    if entry is not None:
                        entries.append(entry)
                    if state is None or state.entity is None:
                        if before is not None:  # it is forgotten
                            return Page(entries, None)
                    elif _is_present(state.entity, entity) and _is_over(state.entity):
                        return Page(entries, None)
                    elif len(entries) == limit:
                        return Page(entries, _cursor(state, record.offset + 1))
                if time.monotonic() > until and reader.position < held.end and state is not None:
                    return Page(entries, _cursor(state, reader.position))
        return Page(entries, None)

    async def _creation(self, partition: int, held: port.Range, entity: codecs.Json) -> int:
        """An offset that is surely before the event that created an entity, and not by much."""
        created = clock.parse_iso(entity["creationTime"]) - SLACK
        low, high = held.first, held.end
        while high - low > BATCH:
            middle = (low + high) // 2
            logged = await self._logged(partition, middle)
            if logged is not None and logged < created:
                low = middle
            else:
                high = middle
        return low

    async def _logged(self, partition: int, offset: int) -> datetime | None:
        """When the log accepted the first event from `offset` on; None if there is none."""
        async with self._bus.read(topics.EVENTS, partition, offset) as reader:
            for record in await reader.poll(1, POLL_S):
                return clock.parse_iso("1970-01-01T00:00:00Z") + timedelta(milliseconds=record.timestamp_ms)
        return None


def _folded(state: folding.State | None, record: port.Record, topic: port.Topic) -> tuple[folding.State | None, Entry | None]:
    """The state after an event, and its entry if it changed the status."""
    try:
        event = envelope.event(record, topic.epochs.at(record.partition, record.offset), topic.epochs.before)
    except (ValueError, errors.NewerSchema):
        return state, None
    after, outcome = folding.fold(state, event, folding.VERSION)
    if outcome is not folding.Outcome.APPLIED or after is None or after.entity is None or after.status_source != event.position:
        return after, None
    found, command = after.entity, event.command
    began = found.get("creationTime") if command.name == commands.CREATE else None
    transition = relations.Transition(
        time=began or clock.iso(command.time),
        status=found["status"],
        reason=found.get("reason"),
        message=found.get("message"),
        command=command.name,
    )
    return after, Entry(transition, command.principal)


def _state(entity: codecs.Json, topic: port.Topic, partition: int, after: Cursor) -> folding.State:
    """The state of an entity at a cursor, as far as its status depends on it."""
    known: codecs.Json = {key: entity[key] for key in ("id", "kind", "account", "metadata") if key in entity}
    at = Position(topic.epochs.at(partition, max(0, after.offset - 1)), partition, after.offset - 1)
    return folding.State(
        kind=entity["kind"],
        entity={**known, "status": after.status, "reason": after.reason, "message": after.message},
        source=at,
        event_id="",
        status_source=Position(topic.epochs.at(partition, after.source), partition, after.source),
        recent={},
    )


def _cursor(state: folding.State, offset: int) -> Cursor:
    entity = state.entity or {}
    message = entity.get("message")
    short = message if message is None or len(message) <= _MESSAGE_CHARS else None
    return Cursor(offset, state.status_source.offset, entity["status"], entity.get("reason"), short)


def _is_present(folded: codecs.Json, entity: codecs.Json) -> bool:
    return all(folded.get(key) == entity.get(key) for key in ("status", "reason", "message", "lastTransitionTime"))


def _is_over(folded: codecs.Json) -> bool:
    """Whether nothing can follow but what the view would show."""
    return statuses.is_terminal(folded["status"])
