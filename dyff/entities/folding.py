"""The fold: how commands become the complete state of an entity. Pure.

No clock, no randomness, no I/O: times and IDs come from the event, so the same events give the same bytes, and a
replay verifies the state topic (`dyff verify`). JSON that the fold does not know is kept unchanged.

A change of the fold is a new version. Old versions stay, and a marker in each partition of the log says from where on the next one
applies (`dyff.bus.envelope.marker`). So old events fold to the same bytes forever, and two processes never fold one event by two
versions. The versions are in `FOLDS`; docs/adr/0017-versions-of-the-fold.md says why each exists.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dyff.entities import codecs, commands, registry, statuses, storage
from dyff.kernel import clock, errors, patches
from dyff.kernel.positions import Position
from dyff.kernel.telemetry import trace_context

VERSION = 2
"""The newest version that this release knows."""

MAX_ENTITY_BYTES = 8 * 2**20
"""Limit of an entity as JSON, from version 2 on. It is below every engine's limit: a log takes messages of 16 MiB, MongoDB
documents of 16 MiB.
"""

MAX_REASON_CHARS = 1024
MAX_MESSAGE_CHARS = 32_768
"""Limits of the texts of a status, from version 2 on: a status must fit, however large its entity is."""

MAX_REMEMBERED = 64
"""Number of command IDs that a state carries, from version 2 on."""

REMEMBERED_LONGER = timedelta(hours=1)
"""IDs are kept this much longer than they are valid, so that a command that is repeated after the log's clock was set back is not
taken for a new one.
"""


class Event(msgspec.Struct, frozen=True):
    """A command at its position in the log. `logged`: when the log accepted it. `earlier`: epochs that the log had before this event."""

    command: commands.Command
    position: Position
    logged: datetime
    earlier: Collection[str] = ()


class State(msgspec.Struct, frozen=True):
    """An entity as folded so far.

    `kind`: its kind, which is kept when the entity is forgotten. `entity`: the whole object; None if it is permanently forgotten.
    `source`: the position of the last folded event. `event_id`: the ID of that event's command. `status_source`: the position of
    the last event that changed status, reason or message, which a controller's decision refers to. `recent`: IDs of folded commands
    that have not expired, with their expiry; in version 1 of all, from version 2 on of those that say so (`Command.once`), at most
    `MAX_REMEMBERED`. `previous`: SHA-256 of the previous state's value, empty for the first state.
    `encoded`: the entity as JSON, if available. `creation`, `trace`: the spans that published the command that created it and the last
    one; None if that had none. No verification compares them.
    """

    kind: str
    entity: codecs.Json | None
    source: Position
    event_id: str
    status_source: Position
    recent: dict[str, str]
    previous: str = ""
    fold_version: int = 1
    encoded: bytes | None = None
    creation: trace_context.Context | None = None
    trace: trace_context.Context | None = None

    def value(self) -> bytes | None:
        """The whole entity as JSON; None if it is forgotten."""
        return None if self.entity is None else self.encoded or codecs.encode(self.entity)


class Outcome(enum.Enum):
    """The result of folding an event. Only `APPLIED` changed the entity.

    `REDELIVERED`: the state already includes the event. `REPEATED`: another event with the command's ID was folded, or the entity
    had already been created. `EXPIRED`: it came too late. `MOVED`: the status that the decision was based on has changed since.
    `FINAL`: the current status does not permit the change. `TOO_LARGE`: the entity would be larger than its limit. `INVALID`: the
    command is malformed or does not fit this entity.
    """

    APPLIED = "applied"
    REDELIVERED = "redelivered"
    REPEATED = "repeated"
    EXPIRED = "expired"
    MOVED = "moved"
    FINAL = "final"
    TOO_LARGE = "too-large"
    INVALID = "invalid"
    UNKNOWN_ENTITY = "unknown-entity"
    UNKNOWN_COMMAND = "unknown-command"


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """What distinguishes one version of the fold from the others. It never changes once a release has it.

    `creations_expire`: whether a creation that came too late is dropped. `remembers_all`: whether the IDs of all commands are
    remembered, without a limit of their number. `bounded`: whether entities and the texts of a status have the limits above.
    `edits_of_kinds`: whether the commands exist that only one kind has. `records_storage`: whether the command exists that records how
    much the object store holds of an entity.
    """

    creations_expire: bool
    remembers_all: bool
    bounded: bool
    edits_of_kinds: bool
    records_storage: bool


FOLDS: Mapping[int, Fold] = {
    1: Fold(creations_expire=True, remembers_all=True, bounded=False, edits_of_kinds=False, records_storage=False),
    2: Fold(creations_expire=False, remembers_all=False, bounded=True, edits_of_kinds=True, records_storage=True),
}


def fold(state: State | None, event: Event, version: int) -> tuple[State | None, Outcome]:
    """The state after `event`, and what became of the event. The given state is not changed.

    Every event but a redelivered one advances the state's source; the state stays None if there is no entity. `version`: that of
    the log at this event.

    Raises:
        LogDiverged: the state was folded from another log or partition, so that their offsets cannot be compared.
    """
    how = FOLDS[version]
    if state is None:
        return _first(event, how, version)
    is_of_log = state.source.epoch == event.position.epoch or state.source.epoch in event.earlier
    if not is_of_log or state.source.partition != event.position.partition:
        raise errors.LogDiverged(
            f"{event.command.entity_id} was folded from {state.source.text()}, and {event.position.text()} is not of that log and partition"
        )
    if event.position.offset <= state.source.offset:
        return state, Outcome.REDELIVERED
    entity, outcome = _judge(state, event, how)
    after = _seen(state, event, version)
    if outcome is not Outcome.APPLIED:
        return after, outcome
    encoded = codecs.encode(entity) if how.bounded and entity is not None else None
    if encoded is not None and _is_too_large(encoded, state, event.command):
        return after, Outcome.TOO_LARGE
    return (
        msgspec.structs.replace(
            after,
            entity=entity,
            encoded=encoded,
            status_source=_status_source(state, entity, event),
            recent=_remembering(after.recent, event.command, how),
        ),
        outcome,
    )


def refused(state: State | None, event: Event, version: int) -> tuple[State | None, Outcome]:
    """The result if the log itself does not take the new state, because its message is too large: the entity stays as it was."""
    return None if state is None else _seen(state, event, version), Outcome.TOO_LARGE


def _is_too_large(encoded: bytes, state: State, command: commands.Command) -> bool:
    """What controllers record always fits, because it is bounded; nor is what makes a large entity smaller refused."""
    if len(encoded) <= MAX_ENTITY_BYTES or command.name in (commands.UPDATE_STATUS, commands.RECORD_STORAGE):
        return False
    return len(encoded) > len(state.value() or b"")


def _first(event: Event, how: Fold, version: int) -> tuple[State | None, Outcome]:
    command = event.command
    if command.expires < event.logged and (how.creations_expire or command.name != commands.CREATE):
        return None, Outcome.EXPIRED
    if command.name != commands.CREATE:
        return None, Outcome.UNKNOWN_ENTITY
    encoded = codecs.encode(command.data) if how.bounded else None
    if encoded is not None and len(encoded) > MAX_ENTITY_BYTES:
        return None, Outcome.TOO_LARGE
    made = State(
        kind=command.data["kind"],
        entity=command.data,
        source=event.position,
        event_id=command.id,
        status_source=event.position,
        recent=_remembering({}, command, how),
        fold_version=version,
        encoded=encoded,
        creation=command.trace,
        trace=command.trace,
    )
    return made, Outcome.APPLIED


def _judge(state: State, event: Event, how: Fold) -> tuple[codecs.Json | None, Outcome]:
    """The entity after the event, and the outcome of the event."""
    entity, command = state.entity, event.command
    if command.expires < event.logged and (how.creations_expire or command.name != commands.CREATE):
        return entity, Outcome.EXPIRED
    if command.id in state.recent or command.name == commands.CREATE:
        return entity, Outcome.REPEATED
    if entity is None:
        return entity, Outcome.UNKNOWN_ENTITY
    apply = _APPLY.get(command.name) or _later(command.name, how)
    if apply is None:
        return entity, Outcome.UNKNOWN_COMMAND
    if command.decided_on is not None and command.decided_on != state.status_source.text():
        return entity, Outcome.MOVED
    attributes = command.data.get("attributes", {})
    if command.data.get("kind") != state.kind or not isinstance(attributes, dict):
        return entity, Outcome.INVALID
    if how.bounded and command.name == commands.UPDATE_STATUS and not _texts_fit(attributes):
        return entity, Outcome.INVALID
    return apply(entity, attributes, command.time)


def _texts_fit(attributes: codecs.Json) -> bool:
    limits = {"reason": MAX_REASON_CHARS, "message": MAX_MESSAGE_CHARS}
    texts = {key: attributes[key] for key in limits if isinstance(attributes.get(key), str)}
    return all(len(text) <= limits[key] for key, text in texts.items())


def _update_status(entity: codecs.Json, attributes: codecs.Json, time: datetime) -> tuple[codecs.Json, Outcome]:
    """A terminal status can only become `Deleted`, and `Deleted` cannot change at all."""
    old, new = entity.get("status", ""), attributes.get("status")
    texts = {key: attributes[key] for key in ("reason", "message") if key in attributes}
    if not isinstance(new, str) or not new or not all(text is None or isinstance(text, str) for text in texts.values()):
        return entity, Outcome.INVALID
    if old == statuses.DELETED or (statuses.is_terminal(old) and new != statuses.DELETED):
        return entity, Outcome.FINAL
    changed: codecs.Json = patches.merged(entity, {"status": new, **texts})
    if new != old:
        changed["lastTransitionTime"] = clock.iso(time)
    return changed, Outcome.APPLIED


def _edit_labels(entity: codecs.Json, attributes: codecs.Json, _: datetime) -> tuple[codecs.Json, Outcome]:
    return _edited(entity, attributes.get("labels"), lambda labels: {"labels": labels})


def _edit_documentation(entity: codecs.Json, attributes: codecs.Json, _: datetime) -> tuple[codecs.Json, Outcome]:
    return _edited(entity, attributes.get("documentation"), lambda texts: {"metadata": {"documentation": texts}})


def _edited(entity: codecs.Json, edits: Any, patch: Callable[[codecs.Json], codecs.Json]) -> tuple[codecs.Json, Outcome]:
    if not isinstance(edits, dict):
        return entity, Outcome.INVALID
    if entity.get("status") == statuses.DELETED:
        return entity, Outcome.FINAL
    return patches.merged(entity, patch(edits)), Outcome.APPLIED


def _restore(entity: codecs.Json, attributes: codecs.Json, _: datetime) -> tuple[codecs.Json, Outcome]:
    """Replace the entity by the one in the command, whatever its current status, if its revision is the intended one."""
    restored = attributes.get("entity")
    wanted, revision = attributes.get("ifRevisionMatch"), (entity.get("metadata") or {}).get("revision")
    if not isinstance(restored, dict) or any(restored.get(key) != entity.get(key) for key in ("id", "kind", "account")):
        return entity, Outcome.INVALID
    if not isinstance(restored.get("status"), str):
        return entity, Outcome.INVALID
    meant = wanted is None or bool(attributes.get("ifRevisionUndefined")) if revision is None else wanted in (None, revision)
    return (restored, Outcome.APPLIED) if meant else (entity, Outcome.MOVED)


def _forget(entity: codecs.Json, _attributes: codecs.Json, _: datetime) -> tuple[codecs.Json | None, Outcome]:
    """Only a deleted entity is forgotten: it may have been restored since the decision."""
    return (None, Outcome.APPLIED) if entity.get("status") == statuses.DELETED else (entity, Outcome.FINAL)


def _record_storage(entity: codecs.Json, attributes: codecs.Json, _: datetime) -> tuple[codecs.Json, Outcome]:
    """Also of an entity that has ended or is deleted: its data is there until it is forgotten."""
    recorded = storage.recorded(entity, attributes)
    return (entity, Outcome.INVALID) if recorded is None else (recorded, Outcome.APPLIED)


def _later(name: str, how: Fold) -> Apply | None:
    """The effect of a command that not every version knows; None if this one does not."""
    if name == commands.RECORD_STORAGE:
        return _record_storage if how.records_storage else None
    return _edit_of(name) if how.edits_of_kinds else None


def _edit_of(name: str) -> Apply | None:
    """The effect of a command that only one kind has (`dyff.entities.kind.Edit`); None if no kind has it."""
    known = registry.EDITS.get(name)
    if known is None:
        return None
    kind, fields = known

    def apply(entity: codecs.Json, attributes: codecs.Json, _: datetime) -> tuple[codecs.Json, Outcome]:
        if entity.get("kind") != kind or not attributes or not attributes.keys() <= set(fields):
            return entity, Outcome.INVALID
        if entity.get("status") == statuses.DELETED:
            return entity, Outcome.FINAL
        return patches.merged(entity, attributes), Outcome.APPLIED

    return apply


Apply = Callable[[codecs.Json, codecs.Json, datetime], tuple[codecs.Json | None, Outcome]]
"""The effect of a command: maps the entity, the attributes and the time to the new entity and the outcome."""

_APPLY: dict[str, Apply] = {
    commands.UPDATE_STATUS: _update_status,
    commands.EDIT_LABELS: _edit_labels,
    commands.EDIT_DOCUMENTATION: _edit_documentation,
    commands.RESTORE: _restore,
    commands.FORGET: _forget,
}


def _status_source(state: State, entity: codecs.Json | None, event: Event) -> Position:
    before, after = state.entity or {}, entity or {}
    same = all(before.get(key) == after.get(key) for key in ("status", "reason", "message"))
    return state.status_source if same else event.position


def _seen(state: State, event: Event, version: int) -> State:
    """The same entity, with `event` as the last one that was folded."""
    now = clock.iso(event.logged - REMEMBERED_LONGER)
    return msgspec.structs.replace(
        state,
        source=event.position,
        event_id=event.command.id,
        recent={command_id: expires for command_id, expires in state.recent.items() if expires >= now},
        previous=hashlib.sha256(state.value() or b"").hexdigest(),
        fold_version=version,
        trace=event.command.trace,
    )


def _remembering(recent: dict[str, str], command: commands.Command, how: Fold) -> dict[str, str]:
    if not (how.remembers_all or command.once):
        return recent
    after = {**recent, command.id: clock.iso(command.expires)}
    if how.remembers_all or len(after) <= MAX_REMEMBERED:
        return after
    kept = sorted(after, key=lambda each: (after[each], each))[-MAX_REMEMBERED:]
    return {each: after[each] for each in kept}
