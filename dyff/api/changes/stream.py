"""One stream of changes as server-sent events, until its token or its permissions end, it is too slow, or the server stops."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

import anyio
import msgspec

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api.changes.tail import Change, Tail, TooOld, data
from dyff.entities import codecs
from dyff.kernel import errors

HEARTBEAT_S = 15.0
"""A stream in which nothing else came has a heartbeat as often."""

PAUSE_S = 0.1
"""Changes that come within this time are sent together."""

AGAIN_S = 1.0
"""The pause after which a token is checked again, if that was not possible."""

Check = Callable[[], Awaitable[Principal]]
"""Authenticates the request of the stream again."""


class Wanted(msgspec.Struct, frozen=True):
    """Which changes a stream has; None for all that the token may see. `plurals`, `accounts`, `ids`: one of these."""

    plurals: frozenset[str] | None = None
    accounts: frozenset[str] | None = None
    ids: frozenset[str] | None = None

    def fits(self, change: Change) -> bool:
        """Whether a change is wanted."""
        return (
            (self.plurals is None or change.plural in self.plurals)
            and (self.accounts is None or change.account in self.accounts)
            and (self.ids is None or change.id in self.ids)
        )


def sees(granted: Iterable[grants.Grant], change: Change) -> bool:
    """Whether grants show a change."""
    return any(grants.allows(granted, change.plural, each, account=change.account, entity=change.id) for each in ("query", "get"))


class Stream:
    """A stream that begins at `ends`, the offsets of a position."""

    def __init__(self, tail: Tail, principal: Principal, check: Check, wanted: Wanted, ends: dict[int, int]) -> None:
        """`principal`: the caller, as at the beginning."""
        self._tail, self._principal, self._check, self._wanted, self._ends = tail, principal, check, wanted, dict(ends)
        self._number = tail.first
        self._sent_at = time.monotonic()

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yield events."""
        yield self._event("open", {"heartbeatSeconds": HEARTBEAT_S})
        while True:
            moved = self._tail.moved
            try:
                batch, found = self._next()
            except TooOld:
                yield _end("slow", "some changes are not known any more: reload, and begin without a position")
                return
            if self._tail.is_stopping:
                yield _end("stopping", "the server stops: connect again")
                return
            left = self._sent_at + HEARTBEAT_S - time.monotonic()
            if not found and left > 0:
                with anyio.move_on_after(left):
                    await moved.wait()
                continue
            try:
                why = await self._refusal()
            except errors.RetryLater:
                await anyio.sleep(AGAIN_S)
                continue
            if why is not None:
                yield why
                return
            yield self._sent(batch, found)
            await anyio.sleep(PAUSE_S)

    def _next(self) -> tuple[list[Change], list[Change]]:
        """The changes that come next, and those of them that are to be sent. What is passed over without one moves the position on."""
        while self._number < self._tail.end or self._number < self._tail.first:
            batch = self._tail.after(self._number)
            found = [each for each in batch if each.offset >= self._ends.get(each.partition, 0) and self._fits(each)]
            if found:
                return batch, found
            self._number += len(batch)
            for each in batch:
                self._pass(each)
        for partition, end in self._tail.reached.items():
            self._ends[partition] = max(end, self._ends.get(partition, 0))
        return [], []

    def _pass(self, change: Change) -> None:
        self._ends[change.partition] = max(self._ends.get(change.partition, 0), change.offset + 1)

    def _fits(self, change: Change) -> bool:
        return self._wanted.fits(change) and sees(self._principal.grants, change)

    async def _refusal(self) -> bytes | None:
        """The last event, if the token does not allow this stream any more."""
        try:
            principal = await self._check()
        except (errors.Unauthenticated, errors.Forbidden) as error:
            return _end("token", error.message)
        if principal.grants != self._principal.grants:
            return _end("permissions", "the permissions of the token have changed: reload")
        return None

    def _sent(self, batch: list[Change], found: list[Change]) -> bytes:
        """The events for the changes that were found in a batch, of each entity only the last one; a heartbeat if there are none."""
        self._sent_at = time.monotonic()
        if not found:
            return self._event("heartbeat", {})
        last = {each.id: each for each in found}
        pieces = []
        self._number += len(batch)
        for each in batch:
            self._pass(each)
            if last.get(each.id) is each:
                pieces.append(_framed("change", data(each), self._tail.position(self._ends)))
        return b"".join(pieces)

    def _event(self, name: str, value: codecs.Json) -> bytes:
        return _framed(name, codecs.encode(value), self._tail.position(self._ends))


def _end(why: str, message: str) -> bytes:
    return _framed("end", codecs.encode({"why": why, "message": message}))


def _framed(name: str, value: bytes, position: str | None = None) -> bytes:
    """An event. `value`: JSON in one line. `position`: its `id`; None for none, so that the last one still counts."""
    identity = b"" if position is None else f"id: {position}\n".encode()
    return identity + b"event: " + name.encode() + b"\ndata: " + value + b"\n\n"
