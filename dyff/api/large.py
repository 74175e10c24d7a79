"""Answers with stored documents: at once if they are small, otherwise in pieces, with bounded memory (ADR 20)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing

from dyff.accounts.authority import Principal
from dyff.api.calls import Call, Reply
from dyff.api.places import LARGE_BYTES, Place, Places
from dyff.api.services import Services
from dyff.kernel import errors
from dyff.query import port

Batches = AsyncGenerator[list[bytes], None]
"""Parts of an answer as JSON values. Only the last batch may have fewer bytes than `port.BATCH_BYTES`, and none is empty."""

PIECE_BYTES = 128 * 2**10
"""What is handed to the connection at a time. It waits when its client does not take it."""


class Large:
    """Sends large answers of one server."""

    def __init__(self, services: Services) -> None:
        """The settings say how many at a time, and for how long."""
        self._places = Places(services.settings.max_large_answers)
        self._life_s = services.settings.large_answer_timeout_s

    async def array(self, call: Call, begin: Callable[[], Batches]) -> Reply:
        """The JSON array of everything in the batches. `begin` begins to read them; it is called again if the answer must wait.

        A small array has a Content-Length. A large one has none, and if it cannot be completed, the connection ends before its end.

        Raises:
            Unavailable: too many large answers are being sent. Also what `begin` raises.
        """
        place: Place | None = None
        try:
            while True:
                found, batches = await _first(begin())
                if batches is None and sum(map(len, found)) + len(found) < LARGE_BYTES:
                    return Reply(200, b"[" + b",".join(found) + b"]")
                place = place or self._places.take(_account(call.principal))
                if place is not None:
                    answer, place = _Pieces(place, found, batches, None), None
                    return await self._reply(call, answer, begin)
                del found
                if batches is not None:
                    await batches.aclose()
                place = await self._places.wait(_account(call.principal))
        finally:
            if place is not None:
                place.release()

    async def document(self, call: Call, read: Callable[[], Awaitable[bytes]]) -> Reply:
        """One document, which `read` reads; it is called again if the answer must wait.

        Raises:
            Unavailable: too many large answers are being sent. Also what `read` raises.
        """
        body = await read()
        if len(body) <= LARGE_BYTES:
            return Reply(200, body)
        place = self._places.take(_account(call.principal))
        if place is None:
            del body
            place = await self._places.wait(_account(call.principal))
            try:
                body = await read()
            except BaseException:
                place.release()
                raise
        return self._made(_Pieces(place, [], None, body))

    async def _reply(self, call: Call, answer: _Pieces, begin: Callable[[], Batches]) -> Reply:
        try:
            if call.method == "HEAD":
                await answer.empty()
            elif answer.length is None and call.http_version == "1.0":
                # Such a client cannot see that an answer without a length is incomplete. So it is read twice.
                await answer.restart(begin)
        except BaseException:
            await answer.aclose()
            raise
        return self._made(answer)

    def _made(self, answer: _Pieces) -> Reply:
        headers = () if answer.length is None else (("content-length", str(answer.length)),)
        return Reply(200, answer, headers, time_s=self._life_s)


class _Pieces:
    """The body of a large answer. It has a place until it is closed."""

    def __init__(self, place: Place, found: list[bytes], batches: Batches | None, whole: bytes | None) -> None:
        """`found`: the first batch; `batches`: the further ones, None if there is none. `whole`: the body, if it is not an array."""
        self.length = len(whole) if whole is not None else sum(map(len, found)) + len(found) + 1 if batches is None else None
        self._place, self._batches = place, batches
        self._pieces = _whole(whole) if whole is not None else _array(found, batches)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def empty(self) -> None:
        """Have no body."""
        await self._close()
        self._pieces, self.length = _whole(b""), None
        self._place.release()

    async def restart(self, begin: Callable[[], Batches]) -> None:
        """Find out the length, then read again, which must have the same length."""
        await self._close()
        self.length = await _length(begin())
        self._batches = begin()
        self._pieces = _exactly(self.length, _array([], self._batches))

    async def aclose(self) -> None:
        """Release everything."""
        try:
            await self._close()
        finally:
            self._place.release()

    async def _close(self) -> None:
        await self._pieces.aclose()
        if self._batches is not None:
            await self._batches.aclose()


async def _first(batches: Batches) -> tuple[list[bytes], Batches | None]:
    """The first batch, and the further ones; None if there is none."""
    found: list[bytes]
    try:
        found = await anext(batches, [])
        if sum(map(len, found)) >= port.BATCH_BYTES:
            return found, batches
        if await anext(batches, None) is not None:
            raise errors.Fatal("a batch that is not the last one has too few bytes")
    except BaseException:
        await batches.aclose()
        raise
    return found, None


async def _array(found: list[bytes], batches: Batches | None) -> AsyncGenerator[bytes, None]:
    """The pieces of a JSON array."""
    before = b"["
    while True:
        if found:
            yield before
            before = b","
            for piece in _cut(b",".join(found)):
                yield piece
        del found  # before the next batch is read
        if batches is None:
            break
        found = await anext(batches, [])
        if not found:
            break
    yield b"[]" if before == b"[" else b"]"


async def _whole(body: bytes) -> AsyncGenerator[bytes, None]:
    for piece in _cut(body):
        yield piece


def _cut(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


async def _exactly(length: int, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Raises:
    Unavailable: the pieces do not have this length together.
    """
    left = length
    async with aclosing(pieces):
        async for piece in pieces:
            left -= len(piece)
            if left < 0:
                break
            yield piece
    if left:
        raise errors.Unavailable("the list changed while it was read; try again")


async def _length(batches: Batches) -> int:
    """The length of their array."""
    length = count = 0
    async with aclosing(batches):
        async for batch in batches:
            length += sum(map(len, batch))
            count += len(batch)
    return length + max(count, 1) + 1


def _account(principal: Principal) -> str:
    return principal.account.id if principal.account is not None else principal.claims.subject
