"""Status changes that controllers decide on, and their idempotent publication to the log."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import msgspec
import structlog

from dyff.bus import envelope, expiry, port
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.entities import commands, statuses
from dyff.kernel.clock import Clock
from dyff.kernel.positions import Position
from dyff.kernel.telemetry import log_fields, metrics, names, span_names, trace_context, traces

log = structlog.get_logger()

_BATCH = 500
_IGNORED_S = 60.0

LogOffset = Callable[[], float | None]
"""`Bus.clock_offset_s`."""

Append = Callable[[Sequence[port.Message]], Awaitable[list[Position]]]


class Change(msgspec.Struct, frozen=True):
    """A new status for an entity, valid only if the entity still has the status on which this was decided.

    `decided_on`: the status position (`Position.text`). `reason`, `message`: None clears the field. `account`: of the entity. `creation`:
    see `Mirrored`; neither changes anything.
    """

    kind: str
    id: str
    decided_on: str
    status: str
    reason: str | None = None
    message: str | None = None
    account: str | None = None
    creation: trace_context.Context | None = None

    @property
    def about(self) -> log_fields.About:
        """What log lines about its entity have."""
        return log_fields.About(self.creation, self.id, self.account)

    @property
    def command_id(self) -> str:
        """The ID of its command. The same decision always has the same ID, whichever process makes it."""
        return commands.outcome_id(self.id, self.decided_on, self.status, self.reason)


def change(mirrored: Mirrored, status: str, reason: str | None = None, message: str | None = None) -> Change:
    """A change of an entity, decided on its present status."""
    entity = mirrored.entity
    place = mirrored.status_source.text()
    return Change(entity["kind"], entity["id"], place, status, reason, message, entity.get("account"), mirrored.creation)


def command(
    decided: Change, now: datetime, expires: datetime, principal: str, trace: trace_context.Context | None = None
) -> commands.Command:
    """The command for a change. After `expires` it is dropped by the fold, and the change is decided again. `trace`: see `Command`."""
    return commands.edit(
        decided.command_id,
        commands.UPDATE_STATUS,
        decided.kind,
        decided.id,
        {"status": decided.status, "reason": decided.reason, "message": decided.message},
        time=now,
        expires=expires,
        decided_on=decided.decided_on,
        principal=principal,
        trace=trace,
    )


class Publisher:
    """Publishes changes and waits until they are folded, so that the mirror contains them afterwards."""

    def __init__(
        self,
        append: Append,
        log_offset: LogOffset,
        mirror: StateMirror,
        clock: Clock,
        principal: str,
        tracer: traces.Tracer = traces.SILENT,
        published: Callable[[Change], object] = lambda _: None,
    ) -> None:
        """`append`: appends messages to the events topic. `principal`: named in the commands. `tracer`: records a span of each change.
        `published`: called for each change that is durable.
        """
        self._tracer, self._published = tracer, published
        self._append, self._log_offset, self._mirror, self._clock, self._principal = append, log_offset, mirror, clock, principal
        self._ignored: dict[str, float] = {}

    async def publish(self, changes: Sequence[Change]) -> None:
        """Return when all are folded; then each has taken effect, or the entity had another status by then.

        Raises:
            Any exception of `append`.
        """
        self._ignored = {each: until for each, until in self._ignored.items() if until > self._clock.monotonic()}
        fresh = [each for each in changes if each.command_id not in self._ignored]
        for start in range(0, len(fresh), _BATCH):
            await self._publish(fresh[start : start + _BATCH])

    async def _publish(self, batch: Sequence[Change]) -> None:
        now, began_ns = self._clock.now(), time.time_ns()
        for each in batch:
            level = log.debug if each.status == statuses.CREATED else log.info
            with log_fields.during(each.about):
                level("status-decided", kind=each.kind, status=each.status, reason=each.reason)
        expires = expiry.after(now, self._log_offset())
        spans = [self._span(each) for each in batch]
        decided = [command(each, now, expires, self._principal, span) for each, span in zip(batch, spans, strict=True)]
        positions = await self._append([envelope.command_message(each) for each in decided])
        for each in batch:
            self._published(each)
        await self._mirror.wait_events(ends(positions))
        for each, span in zip(batch, spans, strict=True):
            self._check(each)
            self._record(each, span, began_ns)

    def _span(self, change: Change) -> trace_context.Context | None:
        life = traces.life(change.creation, change.id)
        return None if life is None else self._tracer.child(life)

    def _record(self, change: Change, span: trace_context.Context | None, began_ns: int) -> None:
        """Record the span of a change: from the decision until it is folded and seen here."""
        if not self._tracer.wants(span):
            return
        attributes = {
            span_names.ENTITY: change.id,
            span_names.KIND: change.kind,
            span_names.ACCOUNT: change.account,
            span_names.STATUS_NEW: change.status,
            span_names.REASON: change.reason,
        }
        name, life = span_names.STATUS.format(status=change.status), traces.life(change.creation, change.id)
        self._tracer.record(name, span, life, began_ns, kind="producer", attributes=attributes)

    def _check(self, published: Change) -> None:
        """A command without effect, for instance one that the fold refuses, must not be repeated endlessly."""
        mirrored = self._mirror.get(published.id)
        if mirrored is not None and mirrored.status_source.text() == published.decided_on:
            with log_fields.during(published.about):
                log.error("command-without-effect", status=published.status, reason=published.reason)
            self._ignored[published.command_id] = self._clock.monotonic() + _IGNORED_S


def counting(measured: metrics.Metrics, role: str) -> Callable[[Change], object]:
    """A function for `Publisher`: counts the changes that a role publishes."""
    changes = measured.counter(names.CHANGES)
    return lambda each: changes.add(role, each.kind, each.status, each.reason or "")


def ends(positions: Sequence[Position]) -> dict[int, int]:
    """By partition, the offset after the last of `positions`."""
    found: dict[int, int] = {}
    for each in positions:
        found[each.partition] = max(found.get(each.partition, 0), each.offset + 1)
    return found
