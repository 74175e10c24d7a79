"""Replies as ASGI messages. Litestar's own response classes often cost more than the answer itself, and can leave a stream unclosed."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import structlog
from litestar import Response

from dyff.api.calls import Receive, Reply
from dyff.kernel import errors

Send = Callable[[Any], Awaitable[None]]
_BODILESS = (204, 304)

log = structlog.get_logger()


class Answer(Response[bytes]):
    """A reply in the form that Litestar's handlers must return."""

    def __init__(self, reply: Reply) -> None:
        """Does not call the parent's constructor, because nothing of the parent is used."""
        self._reply = reply

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Return the ASGI application that sends the reply."""
        return functools.partial(send_reply, self._reply)


async def send_reply(reply: Reply, scope: Any, receive: Receive, send: Send) -> None:
    """Send a reply, to a HEAD without its body; a stream ends with its client, or is broken off where its source is, or when it is late."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    if reply.status not in _BODILESS:
        headers.append((b"content-type", reply.media_type.encode("latin-1")))
    if isinstance(reply.body, bytes):
        if reply.status not in _BODILESS:
            headers.append((b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else reply.body})
        return
    try:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        async with anyio.create_task_group() as group:
            group.start_soon(_stop_when_gone, receive, group.cancel_scope)
            with anyio.move_on_after(reply.time_s):
                await _stream(reply.body, send)
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _close(reply.body)


async def _stream(body: AsyncIterator[bytes], send: Send) -> None:
    try:
        async for piece in body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except errors.DyffError as error:
        # It is too late for another status. The web server cuts an answer that has no end, which shows the client that it failed.
        log.warning("answer-broken-off", **errors.details(error))
        return
    await send({"type": "http.response.body", "body": b""})


async def _stop_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _close(body: AsyncIterator[bytes]) -> None:
    close = getattr(body, "aclose", None)
    if close is not None:
        await close()
