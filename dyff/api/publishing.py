"""Commands from the API: published under a deadline, with an unknown outcome told as such."""

from __future__ import annotations

from datetime import timedelta

from dyff.accounts.authority import Principal
from dyff.api.calls import Call
from dyff.api.documents import Documents
from dyff.api.positions import Positions
from dyff.api.services import Services
from dyff.bus import envelope, topics
from dyff.entities import codecs, commands, registry, statuses
from dyff.kernel import deadlines, errors, ids, patches
from dyff.kernel.positions import Position

COMMAND_LIFE = timedelta(minutes=10)
"""A command that reaches the log later than that is dropped by the fold, and for that long repetitions are recognised."""

MAX_KEY_CHARS = 255


def idempotency_key(call: Call) -> str | None:
    """The key by which a repetition of the call is recognised; None: it has none.

    Raises:
        InvalidFields: it is empty or too long.
    """
    key = call.header(b"idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY_CHARS:
        raise errors.InvalidFields(errors.Problem(("header", "Idempotency-Key"), f"must have 1 to {MAX_KEY_CHARS} characters"))
    return key


class Publishing:
    """Gives commands."""

    def __init__(self, services: Services, documents: Documents, positions: Positions) -> None:
        """`documents`, `positions`: to show an edit's result."""
        self._services = services
        self._documents = documents
        self._positions = positions
        self._deadlines = deadlines.Deadlines(services.settings.publish_timeout_s)

    async def create(self, principal: Principal, entity: codecs.Json, encoded: bytes, command_id: str) -> Position:
        """Make `entity` exist; returns when that is durable. `encoded`: the entity as JSON.

        Raises:
            OutcomeUnknown: it may exist; the message has its ID.
            Unavailable: it does not.
        """
        now = self._services.clock.now()
        command = commands.create(
            command_id, entity, time=now, expires=now + COMMAND_LIFE, principal=principal.claims.subject, encoded=encoded
        )
        return await self._publish(command, entity["kind"])

    async def set_status(self, principal: Principal, entity: codecs.Json, status: str, reason: str | None) -> tuple[codecs.Json, Position]:
        """Move an entity to `status`; returns it as it then is, and where the command is.

        Raises:
            OutcomeUnknown: it may have moved.
            Unavailable: it has not.
        """
        change = {"status": status, "reason": reason, "message": None}
        return await self._edit(principal, entity, commands.UPDATE_STATUS, change, change, self._services.ids.new())

    async def edit_labels(
        self, principal: Principal, entity: codecs.Json, labels: codecs.Json, key: str | None
    ) -> tuple[codecs.Json, Position]:
        """Change labels (null removes one); otherwise like `edit_documentation`."""
        change = {"labels": labels}
        return await self._edit(principal, entity, commands.EDIT_LABELS, change, change, self._command_id(principal, entity, change, key))

    async def edit_documentation(
        self, principal: Principal, entity: codecs.Json, texts: codecs.Json, key: str | None
    ) -> tuple[codecs.Json, Position]:
        """Change documentation (null removes a text); returns the entity as it then is, and where the command is.

        `key`: the caller's idempotency key: the same change with the same key happens once. None: no key was given.

        Raises:
            Conflict: the entity was deleted.
            OutcomeUnknown: it may have changed.
            Unavailable: it has not.
        """
        change = {"documentation": texts}
        command_id = self._command_id(principal, entity, change, key)
        return await self._edit(principal, entity, commands.EDIT_DOCUMENTATION, change, {"metadata": change}, command_id)

    async def edit(
        self, principal: Principal, entity: codecs.Json, command: str, attributes: codecs.Json, key: str | None
    ) -> tuple[codecs.Json, Position]:
        """Give a command of the entity's kind (`dyff.entities.kind.Edit`); otherwise like `edit_documentation`."""
        command_id = self._command_id(principal, entity, attributes, key)
        return await self._edit(principal, entity, command, attributes, attributes, command_id)

    def _command_id(self, principal: Principal, entity: codecs.Json, change: codecs.Json, key: str | None) -> str:
        if entity["status"] == statuses.DELETED:
            raise errors.Conflict(f"the {entity['kind']} {entity['id']} was deleted and cannot be changed any more")
        if key is None:
            return self._services.ids.new()
        return ids.derived("edit", principal.claims.subject, entity["id"], key, codecs.encode(change).decode())

    async def _edit(
        self, principal: Principal, entity: codecs.Json, name: str, attributes: codecs.Json, effect: codecs.Json, command_id: str
    ) -> tuple[codecs.Json, Position]:
        """`effect`: what the command does to the entity, as a merge patch."""
        now, kind = self._services.clock.now(), entity["kind"]
        command = commands.edit(
            command_id, name, kind, entity["id"], attributes, time=now, expires=now + COMMAND_LIFE, principal=principal.claims.subject
        )
        position = await self._publish(command, kind)
        if await self._positions.reaches(position):
            document = await self._documents.find(registry.BY_KIND[kind], entity["id"])
            if document is not None:
                return codecs.decode_object(document), position
        # The view is late or has forgotten it; the command is durable, so its effect is the best that can be told.
        return patches.merged(entity, effect), position

    async def _publish(self, command: commands.Command, kind: str) -> Position:
        message = envelope.command_message(command)
        try:
            with self._deadlines.start():
                return (await self._services.bus.publish(topics.EVENTS, [message]))[0]
        except errors.OutcomeUnknown as error:
            raise errors.OutcomeUnknown(_unknown(command, kind)) from error
        raise errors.OutcomeUnknown(_unknown(command, kind))


def _unknown(command: commands.Command, kind: str) -> str:
    return f"it is not known whether {command.name} of the {kind} {command.entity_id} took effect: look at it before you repeat"
