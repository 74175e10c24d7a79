"""A server that speaks MongoDB's protocol and answers as a test says: any code, for one collection, for a while."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import bson

_MESSAGE, _QUERY, _REPLY = 2013, 2004, 1
_HELLO = {
    "helloOk": True, "ismaster": True, "isWritablePrimary": True, "minWireVersion": 0, "maxWireVersion": 21, "readOnly": False,
    "maxBsonObjectSize": 2**24, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000, "connectionId": 1, "ok": 1.0,
}  # fmt: skip


class Canned:
    """`refusals`: the answer to every command on a collection, by its name. `asked`: the commands, as `find things`."""

    def __init__(self):
        self.refusals, self.asked, self.port = {}, [], 0

    @property
    def uri(self):
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def refuse(self, collection, code, name="SomeName", **more):
        self.refusals[collection] = {"ok": 0.0, "code": code, "codeName": name, "errmsg": "as asked for", **more}

    def answer(self, command):
        """What is answered: the refusal, or that all is well."""
        name, subject = next(iter(command.items()))
        if name.lower() in ("hello", "ismaster"):
            return _HELLO
        self.asked.append(f"{name} {subject}")
        if subject in self.refusals:
            return self.refusals[subject]
        if name == "find":
            return {"ok": 1.0, "cursor": {"id": 0, "ns": f"db.{subject}", "firstBatch": [{"_id": "a"}]}}
        return {"ok": 1.0, "n": 1, "nModified": 1}


@contextlib.asynccontextmanager
async def running():
    """A running one."""
    state, open_now = Canned(), set()

    async def serve(reader, writer):
        open_now.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size, number, _, operation = struct.unpack("<iiii", await reader.readexactly(16))
                writer.write(_answered(state, number, operation, await reader.readexactly(size - 16)))
                await writer.drain()
        open_now.discard(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for each in list(open_now):
            each.close()


def _answered(state, number, operation, body):
    if operation == _QUERY:  # the first hello of a connection
        start = body.index(b"\0", 4) + 9
        document = bson.encode(state.answer(bson.decode(body[start : start + struct.unpack_from("<i", body, start)[0]])))
        return struct.pack("<iiii", 36 + len(document), 0, number, _REPLY) + struct.pack("<iqii", 8, 0, 0, 1) + document
    assert operation == _MESSAGE
    length = struct.unpack_from("<i", body, 5)[0]
    document = bson.encode(state.answer(bson.decode(body[5 : 5 + length])))
    return struct.pack("<iiii", 21 + len(document), 0, number, _MESSAGE) + struct.pack("<I", 0) + b"\0" + document
