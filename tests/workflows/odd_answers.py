"""A table of odd answers, and a server of raw sockets that gives them. Each was seen in public reports, or is of the same kind."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import socketserver
import threading
import zlib
from collections import Counter
from typing import Any

from tests.narrowing import sure
from tests.workflows import runs


def ok(body, *headers, status="200 OK", length=None):
    """A whole answer. `length`: what it says its body's length is."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def text(value, **more):
    """A completion with this JSON as its text; `more`: fields of the answer that the pipeline drops."""
    return {"choices": [{"text": value}], **more}


def chunked(*chunks, end=b"0\r\n\r\n", headers=""):
    body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks)
    return f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode() + body + end


GOOD = json.dumps(text("fine")).encode()
DEEP = b"[" * 100_000 + b"]" * 100_000
RAW_DEFLATE = zlib.compressobj(wbits=-15)
BOMB = gzip.compress(b" " * (2**26 + 1), compresslevel=1)  # the fastest: each process of the tests makes it

UNFIT = {
    # Bodies that are not the JSON that was asked for.
    "an error": ok({"error": {"message": "overloaded", "code": 503}}),
    "an error as a text": ok({"error": "CUDA out of memory"}),
    "no choices": ok({"id": "1"}),
    "empty choices": ok({"choices": []}),
    "choices null": ok({"choices": None}),
    "choices an object": ok({"choices": {"text": "a"}}),
    "a choice null": ok({"choices": [None]}),
    "no text": ok({"choices": [{"index": 0}]}),
    "one of two choices without text": ok({"choices": [{"text": "a"}, {"index": 1}]}),
    "a list": ok([]),
    "null": ok("null"),
    "a number": ok("17"),
    "a text": ok('"hello"'),
    "nothing": ok(b""),
    "white space": ok(b" \r\n\t "),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "205": ok(b"", status="205 Reset Content"),
    "202 without a body": ok(b"", status="202 Accepted"),
    "HTML": ok("<!doctype html><title>Sign in</title>", "Content-Type: text/html"),
    "a stream of events": ok('data: {"choices": []}\n\ndata: [DONE]\n\n', "Content-Type: text/event-stream"),
    "plain words": ok("Internal error", "Content-Type: text/plain"),
    "truncated JSON": ok(GOOD[:-3]),
    "JSON lines": ok(GOOD + b"\n" + GOOD),
    "trailing garbage": ok(GOOD + b"\x00"),
    "single quotes": ok(b"{'choices': [{'text': 'fine'}]}"),
    "a trailing comma": ok(b'{"choices": [{"text": "fine"},]}'),
    "bytes that are not UTF-8": ok(b'{"choices": [{"text": "caf\xe9"}]}'),
    "UTF-16": ok(GOOD.decode().encode("utf-16"), "Content-Type: application/json; charset=utf-16"),
    "Latin-1 with its charset": ok('{"choices": [{"text": "ä"}]}'.encode("latin-1"), "Content-Type: application/json; charset=latin-1"),
    "half a surrogate pair": ok(rb'{"choices": [{"text": "a \ud83d b"}]}'),
    "very deep JSON": ok(DEEP),
    "very deep objects": ok(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "deep JSON as the text": ok(b'{"choices": [{"text": ' + b"[" * 600 + b"]" * 600 + b"}]}"),
    "an integer of 5000 digits": ok(b'{"choices": [{"text": ' + b"1" * 5000 + b"}]}"),
    "a float out of range": ok(b'{"choices": [{"text": 1e999}]}'),
    "an error with a number out of range": ok(b'{"error": {"code": 1e999}}'),
    "millions of objects": ok(b'{"choices": [{"text": "fine"}], "x": [' + b"{}," * 1_200_000 + b"{}]}"),
    # Values that do not fit the schema.
    "content as a list": ok(text([{"type": "text", "text": "hello"}])),
    "content as an object": ok(text({"value": "hello"})),
    "a number as the text": ok(text(7)),
    "true as the text": ok(text(True)),
    "NaN as the text": ok(b'{"choices": [{"text": NaN}]}'),
    "null where it is forbidden": ok(text(None)),
    # Compression that was not asked for.
    "Brotli": ok(b"\x0b\x02\x80{}\x03", "Content-Encoding: br"),
    "Zstandard": ok(b"\x28\xb5\x2f\xfd", "Content-Encoding: zstd"),
    "an unknown coding": ok(GOOD, "Content-Encoding: x-secret"),
    "four codings": ok(GOOD, "Content-Encoding: gzip, gzip, gzip, gzip"),
    "truncated gzip": ok(gzip.compress(GOOD)[:-9], "Content-Encoding: gzip"),
    "damaged gzip": ok(gzip.compress(GOOD)[:-8] + b"\0" * 8, "Content-Encoding: gzip"),
    "gzip in name only": ok(GOOD, "Content-Encoding: gzip"),
    "deflate in name only": ok(b"\xff\xff\xff", "Content-Encoding: deflate"),
    "a gzip bomb": ok(BOMB, "Content-Encoding: gzip"),
    # Answers that are not whole, or not HTTP.
    "closed within the head": b"HTTP/1.1 200 OK\r\nContent-",
    "closed within the body": ok(GOOD, length=len(GOOD) + 10),
    "a length that is too short": ok(GOOD, length=len(GOOD) - 4),
    "no number as the length": ok(GOOD, length="many"),
    "a negative length": ok(GOOD, length=-1),
    "two lengths": ok(GOOD, f"Content-Length: {len(GOOD) + 1}"),
    "closed within the chunks": chunked(GOOD[:5], end=b""),
    "chunks without a size": chunked(end=b"xyz\r\n"),
    "an unknown transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" + gzip.compress(GOOD),
    "a large header": ok(GOOD, "X-Large: " + "a" * 70_000),
    "many headers": ok(GOOD, *(f"X-{number}: {'a' * 90}" for number in range(1000))),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a status that HTTP does not have": ok(GOOD, status="999 What"),
    "a change of protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "an early hint alone": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
}  # fmt: skip
"""Answers that cannot be used, by a description."""

REFUSED = {
    **{f"status {code}": ok({"error": "no"}, status=f"{code} No") for code in (401, 402, 403, 404, 405, 407, 426, 428, 430, 499)},
    **{f"redirect {code}": ok(b"", "Location: /elsewhere", status=f"{code} There") for code in (301, 302, 303, 307, 308)},
    "not modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "a redirect to nowhere": ok(b"", status="302 Found"),
    "multiple choices": ok({"choices": []}, status="300 Multiple Choices"),
}
"""Answers that would mean that the endpoint is wrong, if it had not served others."""

HARMLESS = {
    "NaN in a field that is dropped": ok(b'{"choices": [{"text": "fine", "logprob": NaN}], "score": -Infinity}'),
    "half a surrogate pair in a field that is dropped": ok(rb'{"choices": [{"text": "fine"}], "id": "\ud800"}'),
    "a byte order mark": ok(b"\xef\xbb\xbf" + GOOD),
    "keys that are there twice": ok(b'{"choices": [], "choices": [{"text": "one", "text": "fine"}]}'),
    "huge integers in a field that is dropped": ok(text("fine", created=10**40)),
    "white space around it": ok(b"\n\n " + GOOD + b" \r\n"),
    "gzip": ok(gzip.compress(GOOD), "Content-Encoding: gzip"),
    "gzip in two members": ok(gzip.compress(GOOD[:9]) + gzip.compress(GOOD[9:]), "content-encoding: GZIP"),
    "gzip without saying so": ok(gzip.compress(GOOD)),
    "x-gzip": ok(gzip.compress(GOOD), "Content-Encoding: x-gzip"),
    "deflate": ok(zlib.compress(GOOD), "Content-Encoding: deflate"),
    "raw deflate": ok(RAW_DEFLATE.compress(GOOD) + RAW_DEFLATE.flush(), "Content-Encoding: deflate"),
    "gzip twice": ok(gzip.compress(gzip.compress(GOOD)), "Content-Encoding: gzip, gzip"),
    "identity": ok(GOOD, "Content-Encoding: identity"),
    "another media type": ok(GOOD, "Content-Type: text/plain; charset=us-ascii"),
    "a wrong charset": ok(json.dumps(text("fine")).encode(), "Content-Type: application/json; charset=latin-1"),
    "201": ok(GOOD, status="201 Created"),
    "no reason phrase": ok(GOOD, status="200"),
    "chunks": chunked(GOOD[:5], GOOD[5:]),
    "chunks with a trailer": chunked(GOOD, end=b"0\r\nX-Sum: 1\r\n\r\n"),
    "until the end": b"HTTP/1.1 200 OK\r\n\r\n" + GOOD,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + GOOD,
    "an early hint first": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok(GOOD),
    "something after it": ok(GOOD) + b"HTTP/1.1 200 OK\r\n\r\n",
    "a number out of range in a field that is dropped": ok(b'{"choices": [{"text": "fine"}], "usage": {"seconds": 1e400, "cost": -1e999}}'),
    "an integer of 5000 digits in a field that is dropped": ok(b'{"choices": [{"text": "fine"}], "created": ' + b"1" * 5000 + b"}"),
    "an empty content coding": ok(GOOD, "Content-Encoding: "),
    "two headers of content codings": ok(gzip.compress(gzip.compress(GOOD)), "Content-Encoding: gzip", "Content-Encoding: gzip"),
    "gzip, then identity": ok(gzip.compress(GOOD), "Content-Encoding: gzip", "Content-Encoding: identity"),
    "an unknown field": ok({"choices": [{"text": "fine", "extra": {"a": [1]}}], "usage": None}),
    "an error that is null": ok({**text("fine"), "error": None}),
}
"""Answers that can be used."""


@contextlib.contextmanager
def a_raw_server(reply, *, stays_open=False):
    """A server that answers each POST of `{"prompt": "prompt number N"}` with the bytes of `reply(N, tries)`, then closes; its URL, and the
    tries by N. None: a good answer. Other requests are answered 404. `stays_open`: wait for the client to close.
    """
    seen: Counter[Any] = Counter()
    lock = threading.Lock()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = self.rfile.readline()
                if not line:
                    return
                head += line
            if not head.startswith(b"POST"):
                self.wfile.write(ok(b"", status="404 Not Found"))
                return
            body = self.rfile.read(int(sure(re.search(rb"(?i)content-length: (\d+)", head))[1]))
            number = int(json.loads(body)["prompt"].split()[-1])
            with lock:
                seen[number] += 1
                tries = seen[number]
            with contextlib.suppress(ConnectionError):
                self.wfile.write(reply(number, tries) or ok(GOOD))
                if not stays_open:
                    self.request.shutdown(socket.SHUT_WR)
                while self.request.recv(65536):  # so that what was sent is not discarded by a reset
                    pass

    with runs.serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}", seen
