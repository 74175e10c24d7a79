"""An API server, or what is in front of it, that answers with anything: each call has one of our errors, and works afterwards."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import yaml

from dyff.cluster import port
from dyff.cluster.kubernetes import Connection, KubernetesCluster
from dyff.kernel import errors

JOB = {"metadata": {"name": "a", "uid": "u"}}
GOOD = b'{"metadata": {"name": "a", "resourceVersion": "1"}, "items": []}'
_HEAD = b"HTTP/1.1 %d Any\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
READS, WRITES = ("get", "list", "watch", "url", "logs", "follow"), ("create", "replace", "patch", "delete")
OF_A_WRITE = (
    errors.Unavailable,
    errors.Refused,
    errors.NotFound,
    errors.AlreadyExists,
    errors.StaleVersion,
    errors.InvalidFields,
    errors.TooLarge,
)


def whole(code: int, body: bytes, more: bytes = b"") -> bytes:
    """An answer with its length."""
    return _HEAD % code + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


BODIES = {
    "nothing": b"",
    "a page": b"<html><body>Bad Gateway</body></html>",
    "no UTF-8": b'{"message": "\xff\xfe"}',
    "nested": b"[" * 100_000,
    "nested in an object": b'{"message":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "a bare Status": b'{"kind": "Status", "status": "Failure"}',
    "metadata that are text": b'{"metadata": "x"}',
    "metadata that are a list": b'{"metadata": [1]}',
    "no name": b'{"metadata": {"resourceVersion": "1"}}',
    "odd details": b'{"kind": "Status", "details": [1], "message": {"a": 1}, "reason": [2], "code": "x"}',
    "odd causes": b'{"kind": "Status", "details": {"causes": [{"field": 3, "message": null}, 3], "name": [], "retryAfterSeconds": -4}}',
    "a number too large": b'{"code": 1e400}',
}
CODES = (200, 201, 400, 401, 403, 404, 409, 410, 413, 422, 500, 503, 504)
OTHERS = {
    "a reset": b"",
    "half a head": b"HTTP/1.1 20",
    "another protocol": b"SSH-2.0-x\r\n\r\n",
    "half a body": _HEAD % 200 + b'Content-Length: 100\r\n\r\n{"metadata":',
    "half a chunk": _HEAD % 200 + _CHUNKED + b'50\r\n{"metadata"',
    "no chunk": _HEAD % 200 + _CHUNKED + b"zz\r\n{",
    "no gzip": whole(200, b"x", b"Content-Encoding: gzip\r\n"),
    "no length": _HEAD % 200 + b"Content-Length: -5\r\n\r\n{}",
    "a long header": _HEAD % 200 + b"X: " + b"a" * 20_000 + b"\r\n\r\n{}",
    "no content": _HEAD % 204 + b"\r\n",
    "a header that is no text": whole(503, b"{}", b"Retry-After: \xff\xfe\r\nDate: \xff\r\n"),
    "a pause for ever": whole(503, b"{}", b"Retry-After: " + b"9" * 5000 + b"\r\n"),
    "a pause until the end of time": whole(503, b"{}", b"Retry-After: Fri, 31 Dec 9999 23:59:59 -2359\r\n"),
    "a redirect to nowhere": whole(302, b"", b"Location: http://[::\r\n"),
    "an unknown code": whole(999, b"{}"),
    "an event that is no UTF-8": whole(200, b'{"type":"ADDED","object":{"metadata":{"name":"\xff","resourceVersion":"1"}}}\n'),
    "a nested event": whole(200, b'{"type":"ADDED","object":{"metadata":' + b"[" * 50_000 + b"\n"),
    "an empty event": whole(200, b"\n\n"),
    "half an event": whole(200, b'{"type":"ADDED","obj'),
    "an event of a list": whole(200, b'{"type":[],"object":{}}\n'),
    "an event with odd metadata": whole(200, b'{"type":"ADDED","object":{"metadata":"x"}}\n'),
    "an error of nothing": whole(200, b'{"type":"ERROR","object":{"code":true,"details":3,"message":[]}}\n'),
}
GROUPS = {**{str(code): {name: whole(code, body) for name, body in BODIES.items()} for code in CODES}, "others": OTHERS}


class Server:
    """`answer`: sent for every request; None for the good one."""

    def __init__(self) -> None:
        self.answer: bytes | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if b"content-length: " in head:
                    await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))
                writer.write(whole(200, GOOD) if self.answer is None else self.answer)
                await writer.drain()
                if self.answer is not None:
                    break
        writer.close()


@contextlib.asynccontextmanager
async def opened(folder):
    """The server, and the adapter on it."""
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    file = folder / "kubeconfig"
    made = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"}}],
        "users": [{"name": "c", "user": {"token": "secret"}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }  # fmt: skip
    file.write_text(yaml.safe_dump(made))
    try:
        async with KubernetesCluster.open(Connection(kubeconfig=str(file), timeout_s=5.0)) as cluster:
            yield server, cluster
    finally:
        listening.close()


async def call(cluster, name):
    """One call of the port."""
    match name:
        case "create":
            return await cluster.create(port.JOB, JOB)
        case "get":
            return await cluster.get(port.JOB, "a")
        case "list":
            return await cluster.list(port.JOB)
        case "replace":
            return await cluster.replace(port.JOB, JOB)
        case "patch":
            return await cluster.patch(port.JOB, "a", {})
        case "delete":
            return await cluster.delete(port.JOB, "a")
        case "url":
            return await cluster.service_url("a")
        case "logs":
            return await cluster.logs("a")
    stream = cluster.watch(port.JOB, "1", timeout_s=1) if name == "watch" else cluster.follow("a", "c")
    async with contextlib.aclosing(stream):
        return await anext(stream, None)


@pytest.mark.parametrize("group", GROUPS)
async def test_any_answer_is_one_of_our_errors(tmp_path, monkeypatch, group):
    """A read is unavailable, or asks for a new list; a write is refused or unavailable; nothing odd is taken for an object."""
    for name in ("requests._SETTLING_S", "requests.PATIENCE_S", "cluster._LIST_PAUSE_S", "logs._LOOK_S"):
        monkeypatch.setattr(f"dyff.cluster.kubernetes.{name}", 0.001)
    async with opened(tmp_path) as (server, cluster):
        for case, answer in GROUPS[group].items():
            server.answer = answer
            for name in (*READS, *WRITES):
                await check(cluster, name, case)
            server.answer = None
            assert (await cluster.get(port.JOB, "a"))["metadata"]["name"] == "a", case
            assert (await cluster.list(port.JOB)).items == (), case


async def check(cluster, name, case):
    """Whether a call raises what its callers expect, or returns nothing."""
    allowed = OF_A_WRITE if name in WRITES else (errors.Unavailable, *((errors.WatchExpired,) if name == "watch" else ()))
    try:
        found = await call(cluster, name)
    except allowed:
        return
    except Exception as error:
        raise AssertionError(f"{case}: {name}") from error
    assert name not in ("create", "replace", "patch", "list"), (case, name, found)
    assert found is None or (name == "logs" and found == ()), (case, name, found)
