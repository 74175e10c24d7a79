"""Answers as servers give them, valid, odd and hostile, and what each must be taken for."""

from __future__ import annotations

import msgspec

LIMIT_BYTES = 1_000_000
"""The most that a whole body may have in these tests."""


class Row(msgspec.Struct, frozen=True):
    """What a server sends, then how it ends the connection ("closes", "resets", or None: it waits).

    `status` and `body`: of the answer that this is. `lost` instead: part of the reason why it is none. `usable`: whether the
    connection may carry another exchange.
    """

    sends: bytes
    ends: str | None = None
    status: int = 200
    body: bytes = b"ok"
    lost: str | None = None
    usable: bool = False


def _head(*lines: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, *lines, "", ""]).encode("latin-1")


def _chunked(sent: bytes, *lines: str) -> bytes:
    return _head("Transfer-Encoding: chunked", *lines) + sent


OK = _head("Content-Length: 2") + b"ok"
HINT = _head("Link: x", status="HTTP/1.1 103 Early Hints")
NOT_HTTP, LONG, TOO_SHORT = "the answer is not HTTP", "headers have more than", "the connection was lost"
CODING, PROTOCOL, NO_STATUS = "a transfer coding other than chunked", "changed the protocol", "which HTTP does not have"

ANSWERS = {
    "with a length": Row(OK, usable=True),
    "in chunks": Row(_chunked(b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"), usable=True),
    "in chunks, spelt otherwise": Row(_head("TRANSFER-ENCODING: Chunked") + b"2\r\nok\r\n0\r\n\r\n", usable=True),
    "in chunks, with extensions": Row(_chunked(b"2;a=b\r\nok\r\n0;c\r\n\r\n"), usable=True),
    "in chunks, with a trailer": Row(_chunked(b"2\r\nok\r\n0\r\nX-Evil: 1\r\n\r\n", "Trailer: X-Evil"), usable=True),
    "in chunks, 1.0": Row(_head("Transfer-Encoding: chunked", status="HTTP/1.0 200 OK") + b"2\r\nok\r\n0\r\n\r\n"),
    "until the end, 1.0": Row(_head(status="HTTP/1.0 200 OK") + b"ok", "closes"),
    "until the end, 1.1": Row(_head() + b"ok", "closes"),
    "until the end, empty": Row(_head(), "closes", body=b""),
    "until the end, but reset": Row(_head() + b"ok", "resets", lost=TOO_SHORT),
    "empty": Row(_head("Content-Length: 0"), body=b"", usable=True),
    "no content": Row(_head(status="HTTP/1.1 204 No Content"), status=204, body=b"", usable=True),
    "not modified, with a length": Row(_head("Content-Length: 2", status="HTTP/1.1 304 N"), status=304, body=b"", usable=True),
    "a failure": Row(_head("Content-Length: 2", status="HTTP/1.1 503 Busy") + b"ok", status=503, usable=True),
    "no reason phrase": Row(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", usable=True),
    "empty lines first": Row(b"\r\n\r\n" + OK, usable=True),
    "a space after the length": Row(_head("Content-Length: 2 ") + b"ok", usable=True),
    "a space after the length, cut": Row(_head("Content-Length: 3 ") + b"ok", "closes", lost=TOO_SHORT),
    "the server will close": Row(_head("Connection: close", "Content-Length: 2") + b"ok"),
    "after a hint": Row(HINT + OK, usable=True),
    "after several": Row(_head(status="HTTP/1.1 100 Continue") + HINT * 3 + OK, usable=True),
    "offers an upgrade": Row(_head("Upgrade: h2c", "Connection: upgrade", "Content-Length: 2") + b"ok", usable=True),
    "a second answer after it": Row(OK + _head("Content-Length: 2", "X-Evil: 1", status="HTTP/1.1 500 Oh") + b"no"),
    "half a second answer after it": Row(OK + b"HTTP/1.1 500 Oh\r\nX-Evil"),
    "rubbish after it": Row(OK + b"rubbish"),
    "rubbish after the last chunk": Row(_chunked(b"2\r\nok\r\n0\r\n\r\nrubbish")),
    "rubbish after one that will close": Row(_head("Connection: close", "Content-Length: 2") + b"okrubbish"),
    "nothing": Row(b"", "closes", lost=TOO_SHORT),
    "nothing, and reset": Row(b"", "resets", lost=TOO_SHORT),
    "half a head": Row(b"HTTP/1.1 200 OK\r\nX: 1\r\n", "closes", lost=TOO_SHORT),
    "half a body": Row(_head("Content-Length: 9") + b"ok", "closes", lost=TOO_SHORT),
    "half a chunk": Row(_chunked(b"9\r\nok"), "closes", lost=TOO_SHORT),
    "no last chunk": Row(_chunked(b"2\r\nok\r\n"), "closes", lost=TOO_SHORT),
    "only a hint": Row(HINT, "closes", lost=TOO_SHORT),
    "another protocol": Row(b"SSH-2.0-OpenSSH_9.6\r\n", lost=NOT_HTTP),
    "a request": Row(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", lost=NOT_HTTP),
    "line feeds alone": Row(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", lost=NOT_HTTP),
    "a folded header": Row(_head("X: a", " b", "Content-Length: 2") + b"ok", lost=NOT_HTTP),
    "a zero byte in a header": Row(_head("X: a\0b", "Content-Length: 2") + b"ok", lost=NOT_HTTP),
    "a header without a name": Row(_head(": a", "Content-Length: 2") + b"ok", lost=NOT_HTTP),
    "a space before the colon": Row(_head("Content-Length : 2") + b"ok", lost=NOT_HTTP),
    "two lengths": Row(_head("Content-Length: 2", "Content-Length: 3") + b"okk", lost=NOT_HTTP),
    "a list of lengths": Row(_head("Content-Length: 2, 2") + b"ok", lost=NOT_HTTP),
    "a negative length": Row(_head("Content-Length: -2") + b"ok", lost=NOT_HTTP),
    "a length beyond all bounds": Row(_head(f"Content-Length: {10**30}") + b"ok", lost=NOT_HTTP),
    "a length and chunks": Row(_chunked(b"2\r\nok\r\n0\r\n\r\n", "Content-Length: 2"), lost=NOT_HTTP),
    "a chunk of no size": Row(_chunked(b"zz\r\nok\r\n0\r\n\r\n"), lost=NOT_HTTP),
    "a chunk beyond all bounds": Row(_chunked(b"f" * 40 + b"\r\nok"), lost=NOT_HTTP),
    "compressed for one hop": Row(_head("Transfer-Encoding: gzip") + b"ok", "closes", lost=CODING),
    "compressed for one hop, in chunks": Row(_head("Transfer-Encoding: gzip, chunked") + b"2\r\nok\r\n0\r\n\r\n", lost=CODING),
    "compressed for one hop, in two headers": Row(_chunked(b"2\r\nok\r\n0\r\n\r\n", "Transfer-Encoding: gzip"), lost=CODING),
    "chunked twice": Row(_head("Transfer-Encoding: chunked, chunked") + b"2\r\nok\r\n0\r\n\r\n", lost=CODING),
    "a coding that only sounds like chunks": Row(_head("Transfer-Encoding: xchunked") + b"ok", "closes", lost=CODING),
    "another protocol, as upgrade": Row(_head("Upgrade: x", "Connection: upgrade", status="HTTP/1.1 101 S") + b"zz", lost=PROTOCOL),
    "another protocol, without a name": Row(_head(status="HTTP/1.1 101 S") + b"zz", lost=PROTOCOL),
    "status 0": Row(_head("Content-Length: 2", status="HTTP/1.1 000 Oh") + b"no" + OK, lost=NO_STATUS),
    "status 99": Row(_head("Content-Length: 2", status="HTTP/1.1 099 Oh") + b"no" + OK, lost=NO_STATUS),
    "status 600": Row(_head("Content-Length: 2", status="HTTP/1.1 600 Oh") + b"ok", lost=NO_STATUS),
    "status 999": Row(_head("Content-Length: 2", status="HTTP/1.1 999 Oh") + b"ok", lost=NO_STATUS),
    "a status of four digits": Row(_head("Content-Length: 2", status="HTTP/1.1 2000 OK") + b"ok", lost=NOT_HTTP),
    "a long header": Row(_head("X: " + "x" * 100_000, "Content-Length: 2") + b"ok", lost=LONG),
    "many headers": Row(_head(*["X: x"] * 40_000, "Content-Length: 2") + b"ok", lost=LONG),
    "a header without an end": Row(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000, lost=LONG),
    "a name without an end": Row(b"HTTP/1.1 200 OK\r\n" + b"x" * 300_000, lost=LONG),
    "a reason without an end": Row(b"HTTP/1.1 200 " + b"x" * 300_000, lost=LONG),
    "hints without an end": Row(HINT * 10_000, lost=LONG),
    "empty lines without an end": Row(b"\r\n" * 200_000, lost=LONG),
    "a trailer without an end": Row(_chunked(b"2\r\nok\r\n0\r\nX: " + b"x" * 300_000), lost=LONG),
    "many trailers": Row(_chunked(b"2\r\nok\r\n0\r\n" + b"X: xxxxxxxxxxxxxxxxxxxxxxxx\r\n" * 12_000), lost=LONG),
    "an extension without an end": Row(_chunked(b"2\r\nok\r\n2;" + b"x" * 300_000), lost=LONG),
    "a body as large as may be": Row(_head(f"Content-Length: {LIMIT_BYTES}") + b"x" * LIMIT_BYTES, body=b"x" * LIMIT_BYTES, usable=True),
}
"""By what it is called in the names of tests."""
