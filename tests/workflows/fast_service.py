"""A service that costs hardly anything: `python fast_service.py DELAY_SECONDS` prints its port and serves until it is killed.

Every POST is answered after the delay, always with the same completion. GET says how many there were, and when the first and the last.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

ANSWER = json.dumps({"id": "cmpl-1", "object": "text_completion", "choices": [{"index": 0, "text": "some words " * 16}]}).encode()


class Service(asyncio.Protocol):
    """One connection."""

    delay_s, count, first, last = 0.0, 0, 0.0, 0.0

    def connection_made(self, transport: Any) -> None:
        """A new client."""
        self.transport = transport
        self.received = bytearray()

    def data_received(self, data: bytes) -> None:
        """Requests may come in pieces, one at a time."""
        self.received += data
        head, found, _ = self.received[:4096].partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET"):
            self.received = bytearray()
            self.answer(json.dumps({"count": Service.count, "first": Service.first, "last": Service.last}).encode(), False)
            return
        lowered = head.lower()
        if len(self.received) - len(head) - 4 < int(lowered.partition(b"content-length:")[2].split(b"\r\n")[0]):
            return
        self.received = bytearray()
        Service.last = time.perf_counter()
        Service.first = Service.first or Service.last
        Service.count += 1
        asyncio.get_running_loop().call_later(Service.delay_s, self.answer, ANSWER, b"connection: close" in lowered)

    def answer(self, body: bytes, last: bool) -> None:
        """Send 200."""
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            if last:
                self.transport.close()


async def serve() -> None:
    """Print the port; serve until killed."""
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    Service.delay_s = float(sys.argv[1])
    uvloop.run(serve())
