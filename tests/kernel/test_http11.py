"""The core of HTTP/1.1 connections, by itself and as the API's proxy and the evaluation client use it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Any

import anyio
import pytest

from dyff.api import upstream
from dyff.kernel import errors, http11
from dyff.workflows import exchanges
from tests.kernel.http11_answers import ANSWERS, LIMIT_BYTES, OK

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


class Wire(asyncio.Transport):
    """The transport of a connection under test: records what is done with it. `unsent`: bytes that the other side does not take."""

    def __init__(self):
        super().__init__()
        self.sent, self.reading, self.closed, self.aborted, self.unsent = b"", True, False, False, 0

    def write(self, data):
        assert not self.is_closing()
        self.sent += data

    def get_write_buffer_size(self):
        return self.unsent

    def pause_reading(self):
        assert self.reading
        assert not self.is_closing()
        self.reading = False

    def resume_reading(self):
        assert not self.reading
        assert not self.is_closing()
        self.reading = True

    def is_closing(self):
        return self.closed or self.aborted

    def close(self):
        self.closed = True

    def abort(self):
        self.aborted = True


def opened(*, closes=False):
    """A connection and its wire."""
    connection, wire = http11.Connection(closes=closes), Wire()
    connection.connection_made(wire)
    return connection, wire


async def fed(connection, wire, row, step=None):
    """Give the connection what a row's server sends, `step` bytes at a time with a turn of the loop after each; None: what a loop reads."""
    size = step or 65536
    for start in range(0, len(row.sends), size):
        if wire.is_closing():
            break
        connection.data_received(row.sends[start : start + size])
        if step:
            await asyncio.sleep(0)
    if row.ends and not wire.is_closing():
        connection.connection_lost(ConnectionResetError("reset") if row.ends == "resets" else None)


async def streamed(connection):
    """The answer, by piece."""
    await connection.head()
    body = b""
    while piece := await connection.piece():
        body += piece
    return body


async def checked(row, answer, lost):
    """Check an answer against its row. `answer()`: a status and a body. `lost`: what it raises if there is none."""
    with anyio.fail_after(10):
        if row.lost is None:
            assert await answer() == (row.status, row.body)
        else:
            with pytest.raises(lost, match=row.lost):
                await answer()


@pytest.mark.parametrize("row", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("how", ["whole", "by piece"])
@pytest.mark.parametrize("step", [None, 1, 1000], ids=["at once", "byte by byte", "in packets"])
async def test_the_core(row, how, step):
    """Each answer is what the table says, however it is cut into packets, and nothing of what follows it is taken for a part of it."""
    connection, wire = opened()
    connection.start(REQUEST)

    async def answer():
        task = asyncio.ensure_future(connection.whole(LIMIT_BYTES) if how == "whole" else streamed(connection))
        await asyncio.sleep(0)
        await fed(connection, wire, row, step if step != 1 or len(row.sends) < 10_000 else 1000)
        body = await task
        return connection.status, body

    await checked(row, answer, http11.Lost)
    assert connection.usable == row.usable
    assert wire.aborted or row.usable or row.ends or row.lost is None
    assert not any(name == b"x-evil" for name, _ in connection.headers)
    assert sum(len(name) + len(value) for name, value in connection.headers) <= http11.HEAD_BYTES


class Server(asyncio.Protocol):
    """A server's side of a connection: answers each request as the row says."""

    def __init__(self, row, transports):
        self._row, self._transports = row, transports

    def connection_made(self, transport):
        self._transport = transport
        self._transports.append(transport)

    def data_received(self, data):
        assert data.endswith(b"\r\n\r\n")
        self._transport.write(self._row.sends)
        if self._row.ends == "closes":
            self._transport.close()
        elif self._row.ends == "resets":
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            asyncio.get_running_loop().call_later(0.05, self._transport.abort)  # it discards what was not read yet


@contextlib.asynccontextmanager
async def a_server(row):
    """A server that answers each request as the row says; its port."""
    transports: list[Any] = []
    server = await asyncio.get_running_loop().create_server(lambda: Server(row, transports), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)


async def nothing():
    return
    yield b""


@pytest.mark.parametrize("row", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("how", ["whole", "by piece"])
async def test_the_proxy(row, how):
    """The proxy's exchange gives each answer of the table as it is, or the error that the caller of the API gets."""
    async with a_server(row) as port:
        exchange = await upstream.connect("127.0.0.1", port, None)

        async def answer():
            await exchange.send(upstream.start("POST", "/", "x", [], chunked=False), nothing(), chunked=False)
            await exchange.head()
            body = await exchange.whole(LIMIT_BYTES) if how == "whole" else b"".join([each async for each in upstream.Body(exchange)])
            return exchange.status, body

        try:
            await checked(row, answer, errors.BadGateway)
        finally:
            exchange.abort()


@pytest.mark.parametrize("row", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("keep_open", [True, False])
async def test_the_evaluation_client(row, keep_open):
    """The evaluation client gives each answer of the table as it is, or `Broken`; a second request then fares as the first."""
    async with a_server(row) as port, exchanges.Service(f"http://127.0.0.1:{port}", keep_open=keep_open) as service:

        async def answer():
            got = await service.exchange(service.head("POST", "x"), b"", None)
            return got.status, got.body

        await checked(row, answer, exchanges.Broken)
        await checked(row, answer, exchanges.Broken)


async def test_a_connection_carries_one_exchange_after_the_other():
    """Nothing of the first answer is seen in the second."""
    connection, wire = opened()
    connection.start(REQUEST)
    connection.data_received(b"HTTP/1.1 404 Not Found\r\nX: 1\r\nContent-Length: 5\r\n\r\nfirst")
    assert (await connection.whole(100), connection.status, connection.usable) == (b"first", 404, True)
    connection.start(REQUEST)
    assert (connection.heard, connection.usable) == (False, False)
    connection.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert (await connection.whole(100), connection.status, connection.length) == (b"", 200, None)
    assert connection.headers == [(b"transfer-encoding", b"chunked")]
    assert wire.sent == 2 * REQUEST


async def test_what_comes_without_a_question_ends_the_connection():
    """It could only be taken for the answer to the next question, which is then not asked."""
    connection, wire = opened()
    connection.data_received(OK)
    assert (connection.usable, wire.aborted) == (False, True)
    connection.start(REQUEST)
    assert wire.sent == b""
    with pytest.raises(http11.Lost, match="not asked for"):
        await connection.head()
    assert not connection.heard


async def test_a_connection_that_was_closed_before_the_request():
    """The answer is lost at once, and nothing is sent."""
    connection, wire = opened()
    connection.connection_lost(None)
    connection.start(REQUEST)
    assert wire.sent == b""
    with pytest.raises(http11.Lost, match="the server closed the connection"):
        await connection.whole(100)


async def test_what_is_not_taken_is_not_read():
    """Beyond the bound on what is held nothing more is read until some of it is taken."""
    connection, wire = opened()
    connection.start(REQUEST)
    connection.data_received(HEAD % 1_000_000)
    for _ in range(4):
        assert wire.reading
        connection.data_received(b"x" * 2**16)
    connection.data_received(b"x" * 2**16)
    assert not wire.reading
    assert len(await connection.piece()) == 5 * 2**16
    assert wire.reading


async def test_a_body_that_was_not_taken_holds_up_no_later_exchange():
    """The next exchange begins with nothing of it, and with a connection that is read."""
    connection, wire = opened()
    connection.start(REQUEST)
    connection.data_received(HEAD % 400_000 + b"x" * 400_000)
    assert (connection.usable, wire.reading) == (True, False)
    connection.start(REQUEST)
    assert wire.reading
    connection.data_received(OK)
    assert await streamed(connection) == b"ok"


async def test_a_whole_answer_is_not_held_back():
    """An answer that is wanted whole is read to its end, also when reading had been paused before."""
    connection, wire = opened()
    connection.start(REQUEST)
    connection.data_received(HEAD % 600_000 + b"x" * 400_000)
    assert not wire.reading
    whole = asyncio.ensure_future(connection.whole(600_000))
    await asyncio.sleep(0)
    assert wire.reading
    connection.data_received(b"x" * 200_000)
    assert len(await whole) == 600_000


@pytest.mark.parametrize("before", [True, False])
async def test_a_body_beyond_the_limit(before):
    """A body that is larger than the caller takes is lost, whether that is seen before or while it waits."""
    connection, wire = opened()
    connection.start(REQUEST)
    if before:
        connection.data_received(HEAD % 200 + b"x" * 101)
    whole = asyncio.ensure_future(connection.whole(100))
    await asyncio.sleep(0)
    if not before:
        connection.data_received(HEAD % 200 + b"x" * 101)
    with pytest.raises(http11.Lost, match="larger than 100 bytes"):
        await whole
    assert (wire.aborted, connection.usable) == (True, False)


async def test_an_exchange_that_is_ended():
    """The error of the one who ends it is raised where somebody waits, and again where somebody waits later."""
    connection, wire = opened()
    connection.start(REQUEST)
    head = asyncio.ensure_future(connection.head())
    await asyncio.sleep(0)
    connection.end(TimeoutError("too late"))
    for waiting in (head, connection.whole(100), connection.piece()):
        with pytest.raises(TimeoutError, match="too late"):
            await waiting
    assert wire.aborted


async def test_a_whole_answer_stays_when_its_connection_is_ended():
    """What is complete is there for those who have not taken it yet, but the connection is not used again."""
    connection, _ = opened()
    connection.start(REQUEST)
    connection.data_received(OK)
    connection.end(TimeoutError())
    assert (await connection.whole(100), connection.usable) == (b"ok", False)


async def test_a_request_is_sent_no_faster_than_the_server_takes_it():
    """While the connection takes no more, `wanted` waits; when the connection is lost it says so."""
    connection, wire = opened()
    connection.start(REQUEST)
    assert await connection.wanted()
    connection.pause_writing()
    wanted = asyncio.ensure_future(connection.wanted())
    await asyncio.sleep(0)
    assert not wanted.done()
    connection.resume_writing()
    assert await wanted
    connection.pause_writing()
    wanted = asyncio.ensure_future(connection.wanted())
    wire.aborted = True
    connection.connection_lost(ConnectionResetError())
    assert not await wanted
    connection.send(b"more")
    assert wire.sent == REQUEST


@pytest.mark.parametrize("answer", [b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\n", OK], ids=["refused", "answered"])
async def test_the_rest_of_a_request_is_not_wanted(answer):
    """A server that answers before it has read the request, and reads no more, does not stop the caller."""
    connection, wire = opened(closes=True)
    connection.start(REQUEST)
    connection.pause_writing()
    wire.unsent = 100_000
    wanted = asyncio.ensure_future(connection.wanted())
    await asyncio.sleep(0)
    connection.data_received(answer)
    if wire.aborted:
        connection.connection_lost(None)
    assert not await wanted
    assert connection.status in (200, 413)


@pytest.mark.parametrize(("unsent", "how"), [(0, "closed"), (1, "aborted")])
async def test_a_connection_for_one_exchange_closes_by_itself(unsent, how):
    """When its answer is complete; what was not sent yet is given up, since the server might never take it."""
    connection, wire = opened(closes=True)
    connection.start(REQUEST)
    wire.unsent = unsent
    connection.data_received(OK)
    assert [wire.closed, wire.aborted] == [how == "closed", how == "aborted"]
    assert (await connection.whole(100), connection.usable) == (b"ok", False)
