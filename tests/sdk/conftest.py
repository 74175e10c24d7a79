"""Both clients under the same tests: a body awaits what the one returns as an awaitable and the other as it is."""

from __future__ import annotations

import inspect
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dyff.sdk import AsyncClient, Client


async def got(result: Any) -> Any:
    """The result of an operation of either client."""
    return await result if inspect.isawaitable(result) else result


async def listed(found: Any) -> list[Any]:
    """All that an iteration of either client yields."""
    return [each async for each in found] if isinstance(found, AsyncIterator) else list(found)


@pytest.fixture(params=[Client, AsyncClient], ids=lambda kind: kind.__name__)
def kind(request) -> type[Client] | type[AsyncClient]:
    """Which client. The blocking one is used inside a running event loop, as in a notebook."""
    return request.param


Handler = Callable[[httpx.Request], httpx.Response]


@pytest_asyncio.fixture
async def connect(kind):
    """Makes a client of a server that is a function."""
    made: list[Any] = []

    def make(handler: Handler, **options: Any) -> Any:
        made.append(kind(endpoint="http://server/v0", api_token="t", http=httpx.MockTransport(handler), **options))
        return made[-1]

    yield make
    for client in made:
        await got(client.close() if kind is Client else client.aclose())


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch):
    """Tries follow each other at once."""
    monkeypatch.setattr("dyff.sdk.transport.FIRST_DELAY_S", 0.001)
    monkeypatch.setattr("dyff.sdk.transport.MAX_DELAY_S", 0.001)


@pytest.fixture
def as_in_a_terminal():
    """Processes that are started obey Ctrl-C, even where who started the tests ignores it, which is inherited."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
