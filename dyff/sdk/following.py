"""Follows the stream of changes of a server, and goes on where it was if the connection is lost."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

import httpx

from dyff.sdk import errors, models, transport

PATH = "/changes"
MAX_EVENT_BYTES = 2**20
"""A longer event is none of ours."""

_STATUS = {"token": 401}
"""The error that an end by the server is, by its reason; others are as if the stream were gone."""


class Event(NamedTuple):
    """A server-sent event. `id`: empty if it has none."""

    name: str
    id: str
    data: Any


async def events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[Event, None]:
    """Yield the events in a stream of bytes.

    Raises:
        SdkError: it is no such stream.
    """
    held = b""
    async for piece in pieces:
        held += piece
        *blocks, held = held.split(b"\n\n")
        for block in blocks:
            fields = dict(line.partition(": ")[::2] for line in block.decode("utf-8", "replace").split("\n"))
            try:
                yield Event(fields.get("event", ""), fields.get("id", ""), json.loads(fields.get("data", "null")))
            except ValueError as error:
                raise errors.SdkError(f"the stream of changes has an event that is no JSON: {block[:100]!r}") from error
        if len(held) > MAX_EVENT_BYTES:
            raise errors.SdkError(f"the stream of changes has an event of more than {MAX_EVENT_BYTES} bytes")


async def changes(http: transport.Transport, params: Mapping[str, Any], since: str | None) -> AsyncGenerator[models.Change, None]:
    """Yield changes without an end. `since`: None for those from now on.

    Raises:
        ApiError: the server refuses, or ends the stream for good.
        ServerUnreachable: it does not answer any more.
    """
    waits, left = transport.delays(), http.retries
    while True:
        try:
            async with aclosing(http.stream(PATH, {**params, "since": since})) as pieces, aclosing(events(pieces)) as found:
                async for event in found:
                    waits, left, since = transport.delays(), http.retries, event.id or since
                    if event.name == "change":
                        yield models.read({**event.data, "resume": since}, models.Change)
                    if event.name == "end" and event.data["why"] != "stopping":
                        raise errors.from_answer(_STATUS.get(event.data["why"], 410), event.data["message"], f"{http.endpoint}{PATH}", None)
        except httpx.TransportError as error:
            if not left:
                raise errors.ServerUnreachable(transport.unanswered(error.request, error)) from None
            left -= 1
        except errors.ServerBusy:
            if not left:
                raise
            left -= 1
        await http.io.sleep(next(waits))
