"""WebSockets over ASGI: refused with an HTTP answer, or served until the messages end, the peer leaves, or the server stops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import structlog

from dyff.api import route
from dyff.api.calls import Receive, Reply, json
from dyff.kernel import errors, ids

Send = Callable[[Any], Awaitable[None]]

ENDED = 1000
POLICY = 1008
"""The token was revoked, or no longer grants this."""

FAILED = 1011
_REASON_BYTES = 120

log = structlog.get_logger()


MISSING = json({"detail": "there is no WebSocket at this path; /v0/docs lists all routes"}, status=404)


def answering(send: Send, reply: Callable[[], Reply]) -> Send:
    """`send` of a WebSocket, which answers with `reply` if the first thing that it is given is a close."""
    begun = False

    async def sent(message: Any) -> None:
        nonlocal begun
        is_refusal, begun = not begun and message["type"] == "websocket.close", True
        await (refuse(send, reply()) if is_refusal else send(message))

    return sent


async def refuse(send: Send, reply: Reply) -> None:
    """Answer the upgrade request with an ordinary HTTP response."""
    assert isinstance(reply.body, bytes)
    headers = [("content-type", reply.media_type), *reply.headers]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "websocket.http.response.start", "status": reply.status, "headers": encoded})
    await send({"type": "websocket.http.response.body", "body": reply.body})


async def serve(
    run: Callable[[route.Send], Awaitable[None]], receive: Receive, send: Send, names: ids.Ids, headers: Sequence[tuple[str, str]] = ()
) -> None:
    """Accept with these headers, let `run` send its messages, and close with a code that says how it ended.

    Messages from the peer are discarded. `run` is cancelled when the peer disconnects; the web server reports the same when it stops.
    """
    await receive()  # the event that asks to connect
    await send({"type": "websocket.accept", "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]})
    gone = False

    async def listen(scope: anyio.CancelScope) -> None:
        nonlocal gone
        while (await receive())["type"] != "websocket.disconnect":
            pass
        gone = True
        scope.cancel()

    async def text(message: bytes) -> None:
        await send({"type": "websocket.send", "text": message.decode()})

    code, reason = ENDED, ""
    async with anyio.create_task_group() as group:
        group.start_soon(listen, group.cancel_scope)
        try:
            await run(text)
        except Exception as error:
            code, reason = _code_and_reason(_first(error), names, gone=gone)
        if not gone:
            await _close(send, code, reason)
        group.cancel_scope.cancel()


async def _close(send: Send, code: int, reason: str) -> None:
    try:
        await send({"type": "websocket.close", "code": code, "reason": reason})
    except Exception as error:  # the peer closed first
        log.debug("websocket-lost", error=type(error).__name__)


def _code_and_reason(error: BaseException, names: ids.Ids, *, gone: bool) -> tuple[int, str]:
    """The close code and reason for `error`."""
    if isinstance(error, errors.FixRequest):
        return POLICY, error.message.encode()[:_REASON_BYTES].decode(errors="ignore")
    if isinstance(error, OSError) or gone:  # sending to a peer that has disconnected
        return FAILED, ""
    number = names.new()[:12]
    log.error("websocket-failed", number=number, **errors.details(error), exc_info=error)
    return FAILED, f"something went wrong here; the server's log has it under {number}"


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
