"""Statuses that controllers decide on, and how they get into the log so that repeating one is harmless."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import msgspec
import structlog

from dyff.bus import envelope, port
from dyff.consumers.common.mirror import Mirrored, StateMirror
from dyff.entities import commands, statuses
from dyff.kernel.clock import Clock
from dyff.kernel.positions import Position

log = structlog.get_logger()

VALID = timedelta(minutes=10)
"""A command that is folded later than this after it was given is dropped; then it is decided again."""
_BATCH = 500
_IGNORED_S = 60.0

Append = Callable[[Sequence[port.Message]], Awaitable[list[Position]]]


class Change(msgspec.Struct, frozen=True):
    """The status that an entity shall have, if it still is in the one that this was decided on.

    `decided_on`: the status position (`Position.text`). `reason`, `message`: None clears.
    """

    kind: str
    id: str
    decided_on: str
    status: str
    reason: str | None = None
    message: str | None = None

    @property
    def command_id(self) -> str:
        """The same decision has the same ID, no matter who takes it and how often."""
        return commands.outcome_id(self.id, self.decided_on, self.status, self.reason)


def change(mirrored: Mirrored, status: str, reason: str | None = None, message: str | None = None) -> Change:
    """The change of an entity, decided on what is known of it now."""
    entity = mirrored.entity
    return Change(entity["kind"], entity["id"], mirrored.status_source.text(), status, reason, message)


def command(decided: Change, now: datetime, principal: str) -> commands.Command:
    """The command that says so."""
    return commands.edit(
        decided.command_id,
        commands.UPDATE_STATUS,
        decided.kind,
        decided.id,
        {"status": decided.status, "reason": decided.reason, "message": decided.message},
        time=now,
        expires=now + VALID,
        decided_on=decided.decided_on,
        principal=principal,
    )


class Publisher:
    """Publishes changes and waits until they are folded, so that the next look at the mirror shows them."""

    def __init__(self, append: Append, mirror: StateMirror, clock: Clock, principal: str) -> None:
        """`append`: puts messages on the events topic. `principal`: who is named in the commands."""
        self._append, self._mirror, self._clock, self._principal = append, mirror, clock, principal
        self._ignored: dict[str, float] = {}

    async def publish(self, changes: Sequence[Change]) -> None:
        """Return when all are folded; then each has taken effect, or the entity had moved on.

        Raises:
            Whatever `append` does.
        """
        self._ignored = {each: until for each, until in self._ignored.items() if until > self._clock.monotonic()}
        fresh = [each for each in changes if each.command_id not in self._ignored]
        for start in range(0, len(fresh), _BATCH):
            await self._publish(fresh[start : start + _BATCH])

    async def _publish(self, batch: Sequence[Change]) -> None:
        now = self._clock.now()
        for each in batch:
            level = log.debug if each.status == statuses.CREATED else log.info
            level("status-decided", entity_id=each.id, kind=each.kind, status=each.status, reason=each.reason)
        positions = await self._append([envelope.command_message(command(each, now, self._principal)) for each in batch])
        await self._mirror.wait_events(ends(positions))
        for each in batch:
            self._check(each)

    def _check(self, published: Change) -> None:
        """A command that has no effect (clocks that disagree make it expire) must not be repeated without end."""
        mirrored = self._mirror.get(published.id)
        if mirrored is not None and mirrored.status_source.text() == published.decided_on:
            log.error("command-without-effect", entity_id=published.id, status=published.status, reason=published.reason)
            self._ignored[published.command_id] = self._clock.monotonic() + _IGNORED_S


def ends(positions: Sequence[Position]) -> dict[int, int]:
    """By partition, the offset below which all of `positions` are."""
    found: dict[int, int] = {}
    for each in positions:
        found[each.partition] = max(found.get(each.partition, 0), each.offset + 1)
    return found
