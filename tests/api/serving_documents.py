"""A server process with many large documents in its view, for tests of its memory: `python -m tests.api.serving_documents NUMBER BYTES`.

Prints a line of JSON when it serves: the port and a token.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import msgspec
import uvloop

from dyff.api import role
from dyff.entities import codecs
from dyff.kernel import memory
from dyff.query import port
from tests.api.conftest import opened


def document(number: int, size: int) -> port.Document:
    """A dataset of about `size` bytes. What fills it differs from document to document."""
    fields = {
        "id": f"{number:032x}",
        "kind": "Dataset",
        "account": "a",
        "status": "Ready",
        "creationTime": f"2026-01-01T00:00:00.{number:06}Z",
    }
    return port.Document("datasets", fields["id"], number, codecs.encode({**fields, "name": f"{number:08}" * (size // 8)}))


async def main(number: int, size: int) -> None:
    memory.tune()
    with tempfile.TemporaryDirectory() as place:
        async with opened(Path(place)) as world:
            for each in range(number):
                store: Any = world.services.query  # the tests' store can also write
                await store.apply([document(each, size)], port.Reached("state"))
            with role.listener("127.0.0.1", 0) as bound:
                services = msgspec.structs.replace(world.services, listener=bound)
                async with anyio.create_task_group() as group:
                    await group.start(_serve, services)
                    sys.stdout.write(json.dumps({"port": bound.getsockname()[1], "token": world.admin}) + "\n")
                    sys.stdout.flush()


async def _serve(services, *, task_status) -> None:
    await role.run(services, task_status=task_status)


if __name__ == "__main__":
    uvloop.run(main(*map(int, sys.argv[1:])))
