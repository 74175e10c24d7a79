"""Encoding of commands, states and quarantined records as messages."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime

import msgspec

from dyff.bus import port, topics
from dyff.entities import codecs, commands, folding
from dyff.kernel import errors
from dyff.kernel.positions import Position
from dyff.kernel.telemetry import trace_context

FORGOTTEN = b"null"
"""The value of a forgotten entity's state. A tombstone would be removed eventually, and then a repeated create command would bring
the ID back, which a replay refuses. So the record of a forgotten entity is kept, with its position.
"""


def command_message(command: commands.Command) -> port.Message:
    """A command, as a message for `topics.EVENTS`."""
    return port.Message(command.entity_id.encode(), command.value(), command.headers())


def event(record: port.Record, epoch: str, earlier: Collection[str] = ()) -> folding.Event:
    """The event in a record of `topics.EVENTS`. `epoch`: of the log at this event. `earlier`: those that the log had before.

    Raises:
        ValueError: it cannot be decoded by any release; see `quarantine_message`.
        NewerSchema: it was written by a newer release; stop.
    """
    try:
        command = commands.decode(record.key, record.value or b"", record.headers)
    except commands.NewerVersion as error:
        raise errors.NewerSchema(f"{record.topic}/{record.partition}@{record.offset}: {error}") from error
    logged = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
    return folding.Event(command, Position(epoch, record.partition, record.offset), logged, earlier)


def event_id(record: port.Record) -> str:
    """Identifies the event in a record of `topics.EVENTS`: the ID of its command, or a digest of the value if that is missing."""
    for name, value in record.headers:
        if name == "dyff-id":
            return value.decode("ascii", "replace")
    return "sha256:" + hashlib.sha256(record.value or b"").hexdigest()


MARKER_KEY = b"dyff.fold-version"
"""Beginning of the keys of markers on EVENTS. No entity has such an ID."""

_MARKER_SCHEMA = "0.1+fold"
"""A release that knows no versions of the fold refuses it as too new, and stops, instead of folding on."""


def marker_message(version: int, partition: int) -> port.Message:
    """The marker on EVENTS after which the events of a partition are folded by `version`."""
    value = {"schemaVersion": _MARKER_SCHEMA, "foldVersion": version}
    headers = (("dyff-id", f"fold-version-{version}".encode()),)
    return port.Message(MARKER_KEY + b"/%d" % partition, codecs.encode(value), headers, partition)


def marker(record: port.Record) -> int | None:
    """The version of the fold that applies to the events after `record`; None if the record is not a marker.

    Raises:
        NewerSchema: only a newer release knows that version.
    """
    if not record.key.startswith(MARKER_KEY):
        return None
    version = codecs.decode_object(record.value or b"").get("foldVersion")
    if not isinstance(version, int) or version not in folding.FOLDS:
        raise errors.NewerSchema(
            f"{record.topic}/{record.partition}@{record.offset}: from here on fold version {version!r} applies, known are up to"
            f" {folding.VERSION}: start the newer release"
        )
    return version


def fits(message: port.Message) -> bool:
    """Whether the log takes a message."""
    headers = sum(len(name) + len(value) for name, value in message.headers)
    return len(message.key) + len(message.value or b"") + headers <= port.MAX_MESSAGE_BYTES


def state_message(state: folding.State, entity_id: str) -> port.Message:
    """A folded state, for `topics.STATE`, in the partition of its source event. The value for a forgotten entity is `FORGOTTEN`.

    The headers of its traces come last, and are not compared (`trace_context.HEADERS`): releases that know none leave them out.
    """
    source = state.source.text().encode()
    headers = (
        ("dyff-source", source),
        ("dyff-event-id", state.event_id.encode()),
        ("dyff-kind", state.kind.encode()),
        ("dyff-status-source", source if state.status_source is state.source else state.status_source.text().encode()),
        ("dyff-fold-version", b"%d" % state.fold_version),
        ("dyff-previous", state.previous.encode()),
        ("dyff-recent", codecs.encode(state.recent)),
        *trace_context.to_headers(state.creation, trace_context.CREATION, trace_context.CREATION_STATE),
        *trace_context.to_headers(state.trace),
    )
    value = FORGOTTEN if state.entity is None else state.value()
    return port.Message(entity_id.encode(), value, headers, state.source.partition)


def progress_message(source: Position, source_event_id: str = "", version: int = 1) -> port.Message:
    """States that all events of a partition up to `source` were folded, for events that left no state.

    `source_event_id`: the `event_id` of the event at `source`; empty if the offset is a hole. `version`: of the fold, for the events
    after `source`.
    """
    headers: tuple[port.Header, ...] = (("dyff-source", source.text().encode()), ("dyff-event-id", source_event_id.encode()))
    if version > 1:  # the records of the first version had none
        headers = (*headers, ("dyff-fold-version", b"%d" % version))
    return port.Message(topics.PROGRESS_KEY, b"{}", headers, source.partition)


class Heading(msgspec.Struct, frozen=True, gc=False):
    """The headers of a record of `topics.STATE`, which can be read without decoding its value.

    `source`: the last event that it includes. `event_id`: the ID of that event; empty if the offset is a hole. `kind`: of the
    entity, even if forgotten; None for a progress record. `fold_version`: that applies to the events after `source`.
    """

    source: Position
    event_id: str
    kind: str | None
    fold_version: int = 1


def heading(record: port.Record) -> Heading:
    """The heading of a record of `topics.STATE`.

    Raises:
        ValueError: it is another kind of record, or malformed.
        NewerSchema: a newer fold wrote it.
    """
    known = dict(record.headers)
    try:
        source, event = Position.parse(known["dyff-source"].decode()), known["dyff-event-id"].decode()
        if record.key == topics.PROGRESS_KEY:
            return Heading(source, event, None, _known_version(record, {"dyff-fold-version": b"1", **known}))
        version = _known_version(record, known)
        return Heading(source, event, known["dyff-kind"].decode(), version)
    except KeyError as error:
        raise _missing(record, error) from error


def source(record: port.Record) -> Position:
    """The position of the last event that a record of `topics.STATE` (a state or a progress record) includes.

    Raises:
        ValueError: the header is missing or malformed.
    """
    known = dict(record.headers)
    try:
        return Position.parse(known["dyff-source"].decode())
    except KeyError as error:
        raise _missing(record, error) from error


def body(record: port.Record) -> bytes | None:
    """The entity in a state's record as JSON bytes; None if it is forgotten."""
    return None if record.value == FORGOTTEN else record.value


def state(record: port.Record) -> folding.State | None:
    """The state in a record of `topics.STATE`; None for a progress record.

    Raises:
        ValueError: it cannot be decoded.
        NewerSchema: a newer fold wrote it.
    """
    if record.key == topics.PROGRESS_KEY:
        return None
    encoded, known = body(record), dict(record.headers)
    try:
        return folding.State(
            kind=known["dyff-kind"].decode(),
            entity=None if encoded is None else codecs.decode_object(encoded),
            source=Position.parse(known["dyff-source"].decode()),
            event_id=known["dyff-event-id"].decode(),
            status_source=Position.parse(known["dyff-status-source"].decode()),
            recent=codecs.decode_object(known["dyff-recent"]),
            previous=known["dyff-previous"].decode(),
            fold_version=_known_version(record, known),
            encoded=encoded,
            creation=trace_context.of_headers(known, trace_context.CREATION, trace_context.CREATION_STATE),
            trace=trace_context.of_headers(known),
        )
    except KeyError as error:
        raise _missing(record, error) from error


def _known_version(record: port.Record, headers: dict[str, bytes]) -> int:
    version = int(headers["dyff-fold-version"])
    if version > folding.VERSION:
        raise errors.NewerSchema(
            f"{record.topic}/{record.partition}@{record.offset}: fold version {version}, known are up to {folding.VERSION}"
        )
    return version


def _missing(record: port.Record, header: KeyError) -> ValueError:
    return ValueError(f"header {header} is missing at {record.topic}/{record.partition}@{record.offset}")


def quarantine_message(record: port.Record, reason: str) -> port.Message:
    """A record that cannot be decoded, unchanged, with the reason and its origin."""
    origin = f"{record.topic}:{record.partition}:{record.offset}"
    headers = (*record.headers, ("dyff-quarantine-reason", reason.encode()), ("dyff-quarantine-origin", origin.encode()))
    return port.Message(record.key, record.value, headers)
