"""The vendor's clients: how they are created, closed cleanly, and replaced after failures."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeVar

import anyio
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import client as network
from aiokafka import errors as kafka

from dyff.bus.kafka.connecting import STOP_S, Connection, needs_an_operator, translated
from dyff.kernel import errors

log = structlog.get_logger()

FETCH_WAIT_MS = 100
"""How long a broker holds a fetch that has nothing to deliver. New records are still delivered immediately."""

TRANSACTION_TIMEOUT_S = 60.0
"""After this time the broker aborts a transaction whose owner is gone; until then readers wait for it."""

MAX_BATCH_BYTES = 1_000_000
"""Each batch of a partition is a round trip. A topic that we did not create may accept no more than 1 MiB."""


_connect = network.create_conn
_refusals: ContextVar[list[BaseException]] = ContextVar("refusals")
"""Why a starting client could not connect."""
_connecting: weakref.WeakKeyDictionary[Any, set[asyncio.Future[Any]]] = weakref.WeakKeyDictionary()
_stopped: weakref.WeakSet[Any] = weakref.WeakSet()


async def _connect_wholly(*args: Any, **options: Any) -> Any:
    """The vendor's connect function leaks a socket if its client is stopped in the meantime, so this lets it finish."""
    task = asyncio.ensure_future(_connect(*args, **options))
    on_close = options.get("on_close")
    if on_close is not None:
        _connecting.setdefault(on_close.__self__, set()).add(task)
    try:
        made = await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_close)
        raise
    except Exception as error:
        _refusals.get([]).append(error)
        raise
    finally:
        if on_close is not None and task.done():
            _connecting.get(on_close.__self__, set()).discard(task)
    if on_close is not None and on_close.__self__ in _stopped:
        made.close()
        raise kafka.KafkaConnectionError("the client was stopped")
    return made


def _close(connecting: asyncio.Future[Any]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


async def _close_late_connections(client: Client) -> None:
    """Close the connections that are still being opened while the client is stopped."""
    connections = getattr(client, "_client", None) or client.client  # type: ignore[attr-defined]
    _stopped.add(connections)
    for made in await asyncio.gather(*_connecting.pop(connections, ()), return_exceptions=True):
        if not isinstance(made, BaseException):
            made.close()


network.create_conn = _connect_wholly


class Client(Protocol):
    """The common interface of aiokafka's consumers and producers."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


C = TypeVar("C", bound=Client)


async def stop(client: Client) -> None:
    """Stop a client. Without the shield, a stop inside a cancelled scope would do nothing and leave the client's tasks running."""
    with anyio.CancelScope(shield=True, deadline=anyio.current_time() + STOP_S) as scope:
        try:
            await client.stop()
            await _close_late_connections(client)
        except Exception as error:
            log.warning("kafka-client-not-stopped", client=type(client).__name__, **errors.details(error))
    if scope.cancelled_caught:
        log.warning("kafka-client-not-stopped", client=type(client).__name__, waited_s=STOP_S)


async def start(client: Client) -> None:
    """Start a client. If cancelled, still waits for the start to finish, which would otherwise leave the first connection open."""
    refusals: list[BaseException] = []
    _refusals.set(refusals)
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.shield(starting)
    except kafka.KafkaConnectionError as error:
        # The vendor logs the reason why it could not connect, but raises only the fact.
        raise next((each for each in refusals if needs_an_operator(each)), error) from error
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + STOP_S):
            await asyncio.wait([starting])
        raise


@asynccontextmanager
async def running(client: C, what: str) -> AsyncIterator[C]:
    """A client that runs while the context is open.

    Raises:
        Unavailable, Blocked: it cannot start.
    """
    try:
        with translated(what):
            await start(client)
        yield client
    finally:
        await stop(client)


class Kept(Generic[C]):
    """One client shared by many tasks; created on first use, and again after it was discarded."""

    def __init__(self, make: Callable[[], C], what: str) -> None:
        """`what`: the purpose of the client, for messages."""
        self._make, self._what = make, what
        self._client: C | None = None
        self._starting = anyio.Lock()

    async def get(self) -> C:
        """The client, started.

        Raises:
            Unavailable, Blocked: it cannot start.
        """
        if self._client is None:
            async with self._starting:
                if self._client is None:
                    self._client = await self._started()
        return self._client

    async def discard(self, client: C) -> None:
        """Stop a client that is no longer usable; the next `get` creates another."""
        if self._client is client:
            self._client = None
            await stop(client)

    async def close(self) -> None:
        """Stop the client, if there is one."""
        if self._client is not None:
            await self.discard(self._client)

    async def _started(self) -> C:
        client = self._make()
        try:
            with translated(self._what):
                await start(client)
        except BaseException:
            await stop(client)
            raise
        return client


def consumer(connection: Connection, group: str | None = None) -> AIOKafkaConsumer:
    """A consumer that sees committed records only, never commits automatically and never jumps to another offset."""
    return AIOKafkaConsumer(
        **connection.options(),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=2**20,
        session_timeout_ms=int(connection.session_timeout_s * 1000),
        heartbeat_interval_ms=int(connection.session_timeout_s * 300),
        exclude_internal_topics=True,
    )


def producer(connection: Connection, transactional_id: str | None = None) -> AIOKafkaProducer:
    """An idempotent producer. With a `transactional_id` it writes in transactions only, and fences its predecessor."""
    return AIOKafkaProducer(
        **connection.options(),
        acks="all",
        enable_idempotence=True,
        compression_type=connection.compression,
        max_request_size=connection.max_message_bytes + 2**16,
        max_batch_size=min(MAX_BATCH_BYTES, connection.max_message_bytes),
        transactional_id=transactional_id,
        transaction_timeout_ms=int(TRANSACTION_TIMEOUT_S * 1000),
    )
