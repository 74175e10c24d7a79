"""How commands, states and quarantined bytes travel as messages."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import msgspec

from dyff.bus import port, topics
from dyff.entities import codecs, commands, folding
from dyff.kernel import errors
from dyff.kernel.positions import Position

FORGOTTEN = b"null"
"""The value of a forgotten entity's state. A deletion of the topic would go some day, and then a repeated creation would bring
the ID back, which a replay refuses; so what is forgotten stays, with its position.
"""


def command_message(command: commands.Command) -> port.Message:
    """A command, for `topics.EVENTS`."""
    return port.Message(command.entity_id.encode(), command.value(), command.headers())


def event(record: port.Record, epoch: str) -> folding.Event:
    """The event in a record of `topics.EVENTS`.

    Raises:
        ValueError: nobody can decode it; see `quarantine_message`.
        NewerSchema: it was written by a newer release; stop.
    """
    try:
        command = commands.decode(record.key, record.value or b"", record.headers)
    except commands.NewerVersion as error:
        raise errors.NewerSchema(f"{record.topic}/{record.partition}@{record.offset}: {error}") from error
    logged = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
    return folding.Event(command, Position(epoch, record.partition, record.offset), logged)


def event_id(record: port.Record) -> str:
    """What identifies the event in a record of `topics.EVENTS`: its command's ID, or where that is missing a digest."""
    for name, value in record.headers:
        if name == "dyff-id":
            return value.decode("ascii", "replace")
    return "sha256:" + hashlib.sha256(record.value or b"").hexdigest()


def state_message(state: folding.State, entity_id: str) -> port.Message:
    """A folded state, for `topics.STATE`, in the partition of its source event. What is forgotten has `FORGOTTEN` as its value."""
    source = state.source.text().encode()
    headers = (
        ("dyff-source", source),
        ("dyff-event-id", state.event_id.encode()),
        ("dyff-kind", state.kind.encode()),
        ("dyff-status-source", source if state.status_source is state.source else state.status_source.text().encode()),
        ("dyff-fold-version", b"%d" % state.fold_version),
        ("dyff-previous", state.previous.encode()),
        ("dyff-recent", codecs.encode(state.recent)),
    )
    value = FORGOTTEN if state.entity is None else state.value()
    return port.Message(entity_id.encode(), value, headers, state.source.partition)


def progress_message(source: Position, source_event_id: str = "") -> port.Message:
    """Says that all events of a partition up to `source` were seen, for those that left no state.

    `source_event_id`: `event_id` of the event there; empty: there is a hole.
    """
    headers = (("dyff-source", source.text().encode()), ("dyff-event-id", source_event_id.encode()))
    return port.Message(topics.PROGRESS_KEY, b"{}", headers, source.partition)


class Heading(msgspec.Struct, frozen=True, gc=False):
    """What a record of `topics.STATE` says without its value being decoded.

    `source`: the last event behind it. `event_id`: that event's; empty: there was none at that place. `kind`: of the
    entity, also of a forgotten one; None: it is a progress record.
    """

    source: Position
    event_id: str
    kind: str | None


def heading(record: port.Record) -> Heading:
    """The heading of a record of `topics.STATE`.

    Raises:
        ValueError: it is no such record, or malformed.
        NewerSchema: a newer fold wrote it.
    """
    known = dict(record.headers)
    try:
        source, event = Position.parse(known["dyff-source"].decode()), known["dyff-event-id"].decode()
        if record.key == topics.PROGRESS_KEY:
            return Heading(source, event, None)
        _known_version(record, known)
        return Heading(source, event, known["dyff-kind"].decode())
    except KeyError as error:
        raise _missing(record, error) from error


def source(record: port.Record) -> Position:
    """The position of the last event behind a record of `topics.STATE` (a state or a progress record).

    Raises:
        ValueError: the header is missing or malformed.
    """
    known = dict(record.headers)
    try:
        return Position.parse(known["dyff-source"].decode())
    except KeyError as error:
        raise _missing(record, error) from error


def body(record: port.Record) -> bytes | None:
    """The entity in a state's record as JSON bytes; None: it is forgotten."""
    return None if record.value == FORGOTTEN else record.value


def state(record: port.Record) -> folding.State | None:
    """The state in a record of `topics.STATE`; None: it is a progress record.

    Raises:
        ValueError: nobody can decode it.
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
    """A record that nobody can decode, as it was, with the reason and where it came from."""
    origin = f"{record.topic}:{record.partition}:{record.offset}"
    headers = (*record.headers, ("dyff-quarantine-reason", reason.encode()), ("dyff-quarantine-origin", origin.encode()))
    return port.Message(record.key, record.value, headers)
