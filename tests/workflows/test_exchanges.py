"""HTTP exchanges with services that behave in all the ways that servers do."""

from __future__ import annotations

import contextlib
import socketserver

import anyio
import pytest

from dyff.workflows import exchanges
from tests.engines.ports import free_port
from tests.workflows import runs

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextlib.contextmanager
def a_server(*connections):
    """A server that on its first connection answers each request with the next of `connections[0]`, and so on, then closes."""
    left = list(connections)
    requests = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            for reply in left.pop(0):
                lines = []
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    lines.append(line)
                if not lines:
                    return
                size = next(int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length"))
                requests.append((b"".join(lines), self.rfile.read(size)))
                self.wfile.write(reply)

    with runs.serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}/base", requests


async def exchange(url, times=1, *, keep_open=True, timeout_s=5.0):
    async with exchanges.Service(url, keep_open=keep_open) as service:
        head = service.head("POST", "/v1/x")
        return [await service.exchange(head, b'{"a":1}', timeout_s) for _ in range(times)]


async def test_a_request_is_what_servers_expect():
    """A POST names its host, its length and its type, below the base path."""
    with a_server([OK]) as (url, requests):
        [answer] = await exchange(url)
    assert (answer.status, answer.body, answer.header(b"retry-after")) == (200, b"{}", None)
    head, body = requests[0]
    assert head.startswith(b"POST /base/v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Content-Type: application/json\r\n" in head
    assert body == b'{"a":1}'


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
    ],
    ids=["chunked", "until the end, 1.0", "until the end, 1.1", "an early hint"],
)
async def test_forms_of_answers(reply):
    """However a server delimits its answer, the answer is read whole."""
    with a_server([reply]) as (url, _):
        [answer] = await exchange(url)
    assert (answer.status, answer.body) == (200, b"{}")


async def test_a_connection_is_used_again():
    """Kept connections carry one request after the other."""
    with a_server([OK, OK, OK]) as (url, requests):
        assert [answer.status for answer in await exchange(url, 3)] == [200] * 3
    assert len(requests) == 3


async def test_each_call_has_its_own_connection():
    """Without keeping, each call opens a connection and says that it will close it."""
    with a_server([OK], [OK]) as (url, requests):
        await exchange(url, 2, keep_open=False)
    assert all(b"Connection: close\r\n" in head for head, _ in requests)


async def test_a_server_that_closed_an_idle_connection():
    """A kept connection that was closed meanwhile is replaced, and nobody sees an error."""
    with a_server([OK], [OK]) as (url, _):
        assert [answer.status for answer in await exchange(url, 2)] == [200, 200]


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    ],
    ids=["nothing", "half a body", "half a head", "another protocol", "an early hint alone"],
)
async def test_broken_answers(reply):
    """An answer that is not whole, or not HTTP, is reported as such and never taken for an answer."""
    with a_server([reply]) as (url, _), pytest.raises(exchanges.Broken):
        await exchange(url)


async def test_no_server():
    """A refused connection is reported with its address."""
    with pytest.raises(exchanges.Broken, match="no connection to 127"):
        await exchange(f"http://127.0.0.1:{free_port()}")


async def test_a_timeout():
    """A server that is silent for too long costs the timeout, not more."""
    with runs.a_slow_service(delay_s=1) as (url, _):
        async with exchanges.Service(url, keep_open=True) as service:
            with anyio.fail_after(0.8), pytest.raises(TimeoutError):
                await service.exchange(service.head("POST", "x"), b'{"prompt": ""}', 0.1)


async def test_retry_after_is_reported():
    """The header Retry-After is handed on as it is."""
    with a_server([b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\nContent-Length: 0\r\n\r\n"]) as (url, _):
        assert (await exchange(url))[0].header(b"retry-after") == "7"


@pytest.mark.parametrize("url", ["ftp://host", "localhost:80", "http://"])
def test_wrong_urls(url):
    """What is no HTTP URL is refused at once."""
    with pytest.raises(ValueError, match="is not a URL such as"):
        exchanges.Service(url, keep_open=True)
