"""Publishes commands from the API with a deadline, and reports an unknown outcome as such."""

from __future__ import annotations

import time
from datetime import datetime

from dyff.accounts.authority import Principal
from dyff.api import sizes, tracing
from dyff.api.calls import Call
from dyff.api.documents import Documents
from dyff.api.positions import Positions
from dyff.api.quotas import Quotas
from dyff.api.services import Services
from dyff.bus import envelope, expiry, topics
from dyff.entities import codecs, commands, registry, statuses, storage
from dyff.kernel import deadlines, errors, ids, patches
from dyff.kernel.positions import Position
from dyff.kernel.telemetry import span_names, timing, trace_context
from dyff.query.port import Usage

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
    """Publishes commands."""

    def __init__(self, services: Services, documents: Documents, positions: Positions, quotas: Quotas) -> None:
        """`documents`, `positions`: used to return the result of an edit. `quotas`: what accounts may keep."""
        self._quotas = quotas
        self._services = services
        self._documents = documents
        self._positions = positions
        self._deadlines = deadlines.Deadlines(services.settings.publish_timeout_s)
        self._publications = timing.Publications(services.metrics, "api")

    async def create(
        self, principal: Principal, entity: codecs.Json, encoded: bytes, command_id: str, *, repeatable: bool = False
    ) -> Position:
        """Create `entity`; returns when the command is durable. `encoded`: the entity as JSON.

        `repeatable`: a repetition of the request has the same entity's ID.

        Raises:
            QuotaExceeded: the account keeps as much as it may.
            OutcomeUnknown: it may have been created; the message has its ID.
            Unavailable: it was not created.
        """
        self._services.require_space()
        sizes.require_new(entity, encoded)
        now = self._services.clock.now()
        command = commands.create(
            command_id,
            entity,
            time=now,
            expires=self._expiry(now),
            principal=principal.claims.subject,
            encoded=encoded,
            trace=self._trace(),
        )
        wanted = Usage(1, len(encoded), storage.object_bytes(entity))
        with await self._quotas.claim(entity["account"], wanted, entity["id"] if repeatable else None) as claimed:
            position = await self._publish(command, entity["kind"])
            claimed.published(position)
        return position

    async def set_status(self, principal: Principal, entity: codecs.Json, status: str, reason: str | None) -> tuple[codecs.Json, Position]:
        """Set the status of an entity; returns the entity after that, and the position of the command.

        Raises:
            OutcomeUnknown: the status may have changed.
            Unavailable: it has not.
        """
        change = {"status": status, "reason": reason, "message": None}
        return await self._edit(principal, entity, commands.UPDATE_STATUS, change, change, None)

    async def edit_labels(
        self, principal: Principal, entity: codecs.Json, labels: codecs.Json, key: str | None
    ) -> tuple[codecs.Json, Position]:
        """Change labels (null removes a label); otherwise like `edit_documentation`."""
        change = {"labels": labels}
        _require_present(entity)
        return await self._edit(principal, entity, commands.EDIT_LABELS, change, change, key)

    async def edit_documentation(
        self, principal: Principal, entity: codecs.Json, texts: codecs.Json, key: str | None
    ) -> tuple[codecs.Json, Position]:
        """Change the documentation (null removes a text); returns the entity after that, and the position of the command.

        `key`: the caller's idempotency key: the same change with the same key happens once. None if the caller gave none.

        Raises:
            Conflict: the entity was deleted.
            TooLarge: the entity would be larger than its limit.
            QuotaExceeded: the account keeps as much as it may, and the entity would grow.
            OutcomeUnknown: the documentation may have changed.
            Unavailable: it has not.
        """
        _require_present(entity)
        change = {"documentation": texts}
        return await self._edit(principal, entity, commands.EDIT_DOCUMENTATION, change, {"metadata": change}, key)

    async def edit(
        self, principal: Principal, entity: codecs.Json, command: str, attributes: codecs.Json, key: str | None
    ) -> tuple[codecs.Json, Position]:
        """Publish an edit that is specific to the entity's kind (`dyff.entities.kind.Edit`); otherwise like `edit_documentation`."""
        _require_present(entity)
        return await self._edit(principal, entity, command, attributes, attributes, key)

    def _command_id(self, principal: Principal, entity: codecs.Json, attributes: codecs.Json, key: str | None) -> str:
        if key is None:
            return self._services.ids.new()
        return ids.derived("edit", principal.claims.subject, entity["id"], key, codecs.encode(attributes).decode())

    async def _edit(
        self, principal: Principal, entity: codecs.Json, name: str, attributes: codecs.Json, effect: codecs.Json, key: str | None
    ) -> tuple[codecs.Json, Position]:
        """`effect`: the change of the entity by the command, as a merge patch. `key`: see `edit_documentation`."""
        growth = 0
        if name != commands.UPDATE_STATUS:
            self._services.require_space()
            growth = sizes.require_edit(entity, effect)
        now, kind = self._services.clock.now(), entity["kind"]
        command = commands.edit(
            self._command_id(principal, entity, attributes, key),
            name,
            kind,
            entity["id"],
            attributes,
            time=now,
            expires=self._expiry(now),
            principal=principal.claims.subject,
            once=key is not None,
            trace=self._trace(),
        )
        position = await self._publish_growing(command, entity, growth)
        if await self._positions.reaches(position):
            document = await self._documents.find(registry.BY_KIND[kind], entity["id"])
            if document is not None:
                return codecs.decode_object(document), position
        # The view is late or no longer has the entity. The command is durable, so its expected effect is the best answer.
        return patches.merged(entity, effect), position

    def _expiry(self, now: datetime) -> datetime:
        return expiry.after(now, self._services.bus.clock_offset_s())

    async def _publish_growing(self, command: commands.Command, entity: codecs.Json, growth: int) -> Position:
        """What adds nothing is never refused. What frees something counts once it is published."""
        wanted, name = Usage(document_bytes=growth), command.id if command.once else None
        if growth <= 0:
            position = await self._publish(command, entity["kind"])
            if growth < 0:
                (await self._quotas.claim(entity["account"], wanted, name)).published(position)
            return position
        with await self._quotas.claim(entity["account"], wanted, name) as claimed:
            position = await self._publish(command, entity["kind"])
            claimed.published(position)
        return position

    def _trace(self) -> trace_context.Context | None:
        """The span that publishes a command."""
        request = tracing.current()
        return None if request is None else self._services.tracer.child(request)

    async def _publish(self, command: commands.Command, kind: str) -> Position:
        message, began, began_ns = envelope.command_message(command), time.perf_counter(), time.time_ns()
        try:
            with self._deadlines.start():
                position = (await self._services.bus.publish(topics.EVENTS, [message]))[0]
                self._publications.ok.observe(time.perf_counter() - began)
                self._record(command, kind, began_ns, position, None)
                return position
        except errors.DyffError as error:
            self._publications.not_ok(error, time.perf_counter() - began)
            self._record(command, kind, began_ns, None, error)
            if isinstance(error, errors.OutcomeUnknown):
                raise errors.OutcomeUnknown(_unknown(command, kind)) from error
            raise
        self._publications.not_ok(None, time.perf_counter() - began)
        self._record(command, kind, began_ns, None, None)
        raise errors.OutcomeUnknown(_unknown(command, kind))

    def _record(self, command: commands.Command, kind: str, began: int, at: Position | None, error: Exception | None) -> None:
        """Record the span of a publication. `at`: None if the outcome is not known, or an error."""
        tracer = self._services.tracer
        if not tracer.wants(command.trace):
            return
        attributes = {
            span_names.COMMAND: command.name,
            span_names.ENTITY: command.entity_id,
            span_names.KIND: kind,
            span_names.TOPIC: topics.EVENTS,
            span_names.PARTITION: None if at is None else at.partition,
            span_names.OFFSET: None if at is None else at.offset,
        }
        failed = None if at is not None else "the outcome is not known" if error is None else str(error)
        name = span_names.PUBLISH.format(command=command.name)
        tracer.record(name, command.trace, tracing.current(), began, kind="producer", attributes=attributes, error=failed)


def _require_present(entity: codecs.Json) -> None:
    if entity["status"] == statuses.DELETED:
        raise errors.Conflict(f"the {entity['kind']} {entity['id']} was deleted and cannot be changed any more")


def _unknown(command: commands.Command, kind: str) -> str:
    return f"it is not known whether {command.name} of the {kind} {command.entity_id} took effect: look at it before you repeat"
