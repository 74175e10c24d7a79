"""The fold: how commands become the whole state of an entity. Pure.

No clock, no randomness, no I/O: times and IDs come from the event, so the same events give the same bytes and a
replay proves the state topic (`dyff verify`). JSON that the fold does not know is kept as it is.

A changed fold is a new `VERSION`; old ones stay, and a marker in the log says which one applies from where on.
"""

from __future__ import annotations

import enum
import hashlib
from datetime import datetime
from typing import Any

import msgspec

from dyff.entities import codecs, commands, statuses
from dyff.kernel import clock
from dyff.kernel.positions import Position

VERSION = 1


class Event(msgspec.Struct, frozen=True):
    """A command at its place in the log. `logged`: when the log took it."""

    command: commands.Command
    position: Position
    logged: datetime


class State(msgspec.Struct, frozen=True):
    """An entity as folded so far.

    `entity`: the whole object; None: forgotten for ever. `source`: the last folded event's position. `event_id`: its
    command's ID. `status_source`: the position of the last event that changed status, reason or message: what a
    controller's decision refers to. `recent`: IDs of folded commands that have not expired, with their expiry.
    `previous`: SHA-256 of the previous state's value, empty for the first.
    """

    entity: codecs.Json | None
    source: Position
    event_id: str
    status_source: Position
    recent: dict[str, str]
    previous: str = ""
    fold_version: int = VERSION

    def value(self) -> bytes | None:
        """The record's value on the state topic: the whole entity; None: a tombstone."""
        return None if self.entity is None else codecs.encode(self.entity)


class Outcome(enum.Enum):
    """What became of an event. Only `APPLIED` changed the entity; all but `REDELIVERED` and `UNKNOWN_ENTITY` move its source."""

    APPLIED = "applied"
    REDELIVERED = "redelivered"
    REPEATED = "repeated"
    EXPIRED = "expired"
    MOVED = "moved"
    FINAL = "final"
    UNKNOWN_ENTITY = "unknown-entity"
    UNKNOWN_COMMAND = "unknown-command"


def fold(state: State | None, event: Event) -> tuple[State | None, Outcome]:
    """The state after `event`, and what became of the event. The given state is not changed."""
    command = event.command
    if state is not None and event.position.offset <= state.source.offset:
        return state, Outcome.REDELIVERED
    recent = _unexpired(state.recent if state else {}, event.logged)
    if command.expires < event.logged:
        return _moved_on(state, event, recent), Outcome.EXPIRED
    if command.id in recent:
        return _moved_on(state, event, recent), Outcome.REPEATED
    if command.name == commands.CREATE:
        if state is not None:
            return _moved_on(state, event, recent), Outcome.REPEATED
        first = State(command.data, event.position, command.id, event.position, {})
        return _remembering(first, command), Outcome.APPLIED
    if state is None or state.entity is None:
        return _moved_on(state, event, recent), Outcome.UNKNOWN_ENTITY
    entity, outcome = _apply(state, state.entity, command)
    after = _moved_on(state, event, recent)
    if outcome is not Outcome.APPLIED or after is None:
        return after, outcome
    changed = msgspec.structs.replace(after, entity=entity, status_source=_status_source(state, entity, event))
    return _remembering(changed, command), Outcome.APPLIED


def _apply(state: State, entity: codecs.Json, command: commands.Command) -> tuple[codecs.Json | None, Outcome]:
    """The entity after `command`; it exists and the command is neither late nor repeated."""
    attributes = command.data.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    if command.name == commands.FORGET:
        return None, Outcome.APPLIED
    if command.name not in commands.KNOWN or command.name == commands.RESTORE:
        return entity, Outcome.UNKNOWN_COMMAND
    if command.decided_on is not None and command.decided_on != state.status_source.text():
        return entity, Outcome.MOVED
    if entity.get("status") == statuses.DELETED:
        return entity, Outcome.FINAL
    if command.name == commands.UPDATE_STATUS:
        return _update_status(entity, attributes, command.time)
    if command.name == commands.EDIT_LABELS:
        return merge_patch(entity, {"labels": attributes.get("labels", {})}), Outcome.APPLIED
    return merge_patch(entity, {"metadata": {"documentation": attributes.get("documentation", attributes)}}), Outcome.APPLIED


def _update_status(entity: codecs.Json, attributes: codecs.Json, time: datetime) -> tuple[codecs.Json, Outcome]:
    """A terminal status is left only for `Deleted`."""
    old, new = entity.get("status", ""), attributes.get("status", entity.get("status"))
    if statuses.is_terminal(old) and new != statuses.DELETED:
        return entity, Outcome.FINAL
    known = {key: attributes[key] for key in ("status", "reason", "message") if key in attributes}
    changed = merge_patch(entity, known)
    if new != old:
        changed["lastTransitionTime"] = clock.iso(time)
    return changed, Outcome.APPLIED


def _status_source(state: State, entity: codecs.Json | None, event: Event) -> Position:
    before, after = state.entity or {}, entity or {}
    same = all(before.get(key) == after.get(key) for key in ("status", "reason", "message"))
    return state.status_source if same else event.position


def _moved_on(state: State | None, event: Event, recent: dict[str, str]) -> State | None:
    """The same entity, with `event` as the last one seen; None where there is no entity."""
    if state is None:
        return None
    previous = hashlib.sha256(state.value() or b"").hexdigest()
    return msgspec.structs.replace(state, source=event.position, event_id=event.command.id, recent=recent, previous=previous)


def _remembering(state: State, command: commands.Command) -> State:
    return msgspec.structs.replace(state, recent={**state.recent, command.id: clock.iso(command.expires)})


def _unexpired(recent: dict[str, str], logged: datetime) -> dict[str, str]:
    now = clock.iso(logged)
    return {command_id: expires for command_id, expires in recent.items() if expires >= now}


def merge_patch(target: Any, patch: Any) -> Any:
    """JSON Merge Patch (RFC 7386), on copies: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result
