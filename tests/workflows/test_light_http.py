"""The HTTP server of the mock service, byte by byte."""

from __future__ import annotations

import socket
import threading

import httpx
import pytest

from dyff.workflows import light_http
from tests import leaks
from tests.engines.ports import free_port
from tests.workflows import runs


def exchange(url: str, sent: bytes, *, half_close: bool = False) -> bytes:
    """Everything that the server answers until it closes the connection."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(sent)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(65536):
            received += data
        return received


def statuses(received: bytes) -> list[int]:
    return [int(part.split(b" ", 1)[0]) for part in received.split(b"HTTP/1.1 ")[1:]]


CLOSE = b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "want"),
    [
        (CLOSE, [200]),
        (b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n" * 3 + CLOSE, [200, 200, 200, 200]),
        (b"GET /ready HTTP/1.0\r\n\r\n", [200]),
        (b"GET http://any.example/ready?a=b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", [200]),
        (b"GET /%72eady HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", [200]),
        (b"GET /%ff%00 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", [404]),
        (b"GET * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", [404]),
        (b"hello\r\n\r\n", [400]),
        (b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\nhello\r\n\r\n", [200, 400]),
        (b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", [200]),
        (b"POST /errors/400 HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}", [400]),
        (b"POST /errors/400 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n", [400]),
        (
            b'POST /generate HTTP/1.1\r\nhost: x\r\ncontent-length: 14\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n{"prompt":"a"}',
            [100, 200],
        ),
        (b"GET /ready HTTP/1.1\r\nhost: x\r\nlong: " + b"x" * light_http.MAX_HEAD_BYTES + b"\r\n\r\n", [413]),
    ],
)
def test_each_form_of_request_is_answered(service, sent, want):
    """Pipelined, chunked, old, absolute and broken requests get the statuses that HTTP asks for, and then the connection closes."""
    assert statuses(exchange(service, sent)) == want


def test_a_head_has_no_body(service):
    """The answer to HEAD has the length of the body, but not the body."""
    received = exchange(service, b"HEAD /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert received.endswith(b"\r\n\r\n")
    assert b"content-length: 15" in received


def test_a_client_that_leaves_is_forgotten(service):
    """A connection that ends in the middle of a request is closed without an answer, and the next one is served."""
    assert exchange(service, b"POST /generate HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{", half_close=True) == b""
    assert statuses(exchange(service, CLOSE)) == [200]


def test_a_client_that_does_not_read_is_not_read_from(service):
    """Answers that a client does not take are bounded: the server stops reading its requests, and serves the others."""
    host, port = service.removeprefix("http://").split(":")
    request = b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n" * 4096
    with socket.create_connection((host, int(port))) as greedy:
        greedy.setblocking(False)
        sent, quiet = 0, 0
        while quiet < 20:
            try:
                sent += greedy.send(request)
                quiet = 0
            except BlockingIOError:
                quiet += 1
                assert statuses(exchange(service, CLOSE)) == [200]
            assert sent < 2**28, "it never stopped reading"


def test_a_body_that_is_too_large_is_refused(monkeypatch):
    """A body above the limit gets 413, also if its length is not announced."""
    monkeypatch.setattr(light_http, "MAX_BODY_BYTES", 1000)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    port = free_port()
    arguments = ("127.0.0.1", port, lambda *_: (200, b"{}"))
    threading.Thread(target=light_http.serve, args=arguments, daemon=True, name=leaks.UNTIL_THE_END).start()
    runs.wait_for(lambda: runs.is_ready(port))
    url = f"http://127.0.0.1:{port}"
    assert httpx.post(url, content=b"x" * 1000).status_code == 200
    assert httpx.post(url, content=b"x" * 1001).status_code == 413
    assert httpx.post(url, content=iter([b"x" * 600] * 2)).status_code == 413


def test_an_address_in_use_is_reported(service, capsys):
    """A port that another process has ends the service with code 1 and a line that names the address."""
    port = int(service.rpartition(":")[2])
    assert light_http.serve("127.0.0.1", port, lambda *_: (200, b"")) == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
