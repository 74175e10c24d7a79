"""Commands: the changes of an entity, as published on `dyff.workflows.events`.

The value of an event is `{"schemaVersion", "command", "data"}` with `data.id` equal to the record's key. The data of `CreateEntity`
is the whole entity; that of the others is `{"kind", "id", "attributes"}`, where attributes follow JSON Merge Patch (null deletes,
absent keeps). Anything else that the fold needs travels in headers (`Command`), so the value stays as published.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from dyff.entities import codecs
from dyff.kernel import clock, ids
from dyff.kernel.telemetry import trace_context

SCHEMA_VERSION = "0.1"

CREATE = "CreateEntity"
UPDATE_STATUS = "UpdateEntityStatus"
EDIT_LABELS = "EditEntityLabels"
EDIT_DOCUMENTATION = "EditEntityDocumentation"
RESTORE = "RestoreEntity"
RECORD_STORAGE = "RecordStorage"
"""How much the object store holds of an entity, by a controller: `{"staged": bytes}` or, once it has ended, `{"stored": bytes}`."""

FORGET = "ForgetEntity"


class Command(msgspec.Struct, frozen=True):
    """One command with everything that the fold needs.

    `id`: chosen before the first attempt to publish, so that a retry is recognised. `time`: when the command was issued; the
    only clock of the fold. `expires`: the command is dropped if the log accepts it after this time. `name`, `entity_id`,
    `data`: the published message. `decided_on`: for a controller's command, the status position (`Position.text`) that the
    decision was based on; the command is dropped if that position has moved. None if unconditional. `principal`: the issuer.
    `encoded`: `data` as JSON, if the issuer has it already. `once`: its client may send it again with the same ID, so the fold
    remembers the ID until the command expires. `trace`: the span that published it; None if it belongs to no trace. Nothing depends
    on it.
    """

    id: str
    time: datetime
    expires: datetime
    name: str
    entity_id: str
    data: codecs.Json
    decided_on: str | None = None
    principal: str = ""
    encoded: bytes | None = None
    once: bool = False
    trace: trace_context.Context | None = None

    def value(self) -> bytes:
        """The published message."""
        data = self.data if self.encoded is None else msgspec.Raw(self.encoded)
        return codecs.encode({"schemaVersion": SCHEMA_VERSION, "command": self.name, "data": data})

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """The record's headers, in a fixed order."""
        found = [
            ("dyff-id", self.id.encode()),
            ("dyff-time", clock.iso(self.time).encode()),
            ("dyff-expires", clock.iso(self.expires).encode()),
        ]
        if self.decided_on is not None:
            found.append(("dyff-decided-on", self.decided_on.encode()))
        if self.principal:
            found.append(("dyff-principal", self.principal.encode()))
        if self.once:
            found.append(("dyff-once", b"1"))
        found += trace_context.to_headers(self.trace)
        return tuple(found)


def create(
    command_id: str,
    entity: codecs.Json,
    *,
    time: datetime,
    expires: datetime,
    principal: str = "",
    encoded: bytes | None = None,
    trace: trace_context.Context | None = None,
) -> Command:
    """The command that creates `entity`, the whole object. `encoded`: the output of `codecs.encode` for it, if available."""
    return Command(command_id, time, expires, CREATE, entity["id"], entity, principal=principal, encoded=encoded, trace=trace)


def edit(
    command_id: str,
    name: str,
    kind: str,
    entity_id: str,
    attributes: codecs.Json,
    *,
    time: datetime,
    expires: datetime,
    decided_on: str | None = None,
    principal: str = "",
    once: bool = False,
    trace: trace_context.Context | None = None,
) -> Command:
    """A command that changes some attributes of an entity; a null in `attributes` deletes one."""
    data: dict[str, Any] = {"kind": kind, "id": entity_id, "attributes": attributes}
    return Command(command_id, time, expires, name, entity_id, data, decided_on, principal, once=once, trace=trace)


def outcome_id(entity_id: str, decided_on: str, status: str, reason: str | None) -> str:
    """The ID of a controller's status command. The same decision has the same ID, so that repeating it is harmless."""
    return ids.derived("status", entity_id, decided_on, status, reason or "")


def decode(key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> Command:
    """Decode the command in a record, envelope first.

    Raises:
        ValueError: it cannot be decoded by any release; the message says why (the record goes to quarantine).
        NewerVersion: it was written by a newer release.
    """
    message = codecs.decode_object(value)
    version = message.get("schemaVersion")
    if version != SCHEMA_VERSION:
        raise NewerVersion(f"schema version {version!r}, known is {SCHEMA_VERSION!r}")
    name, data = message.get("command"), message.get("data")
    if not isinstance(name, str) or not isinstance(data, dict):
        raise ValueError("no command or no data in the message")
    if data.get("id") != key.decode("utf-8", "replace"):
        raise ValueError("data.id is not the record's key")
    if name == CREATE and not (_is_text(data.get("kind")) and _is_text(data.get("account")) and _is_text(data.get("status"))):
        raise ValueError("the new entity has no kind, account or status")
    known = dict(headers)
    decided_on = known.get("dyff-decided-on")
    try:
        return Command(
            known["dyff-id"].decode(),
            clock.parse_iso(known["dyff-time"].decode()),
            clock.parse_iso(known["dyff-expires"].decode()),
            name,
            data["id"],
            data,
            None if decided_on is None else decided_on.decode(),
            known.get("dyff-principal", b"").decode(),
            once=known.get("dyff-once") == b"1",
            trace=trace_context.of_headers(known),
        )
    except KeyError as error:
        raise ValueError(f"header {error} is missing") from error


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


class NewerVersion(ValueError):
    """Written by a newer release. It must stop the partition visibly, because an upgrade is missing."""
