"""Creates and patches ConfigMaps until it is killed, and prints each name and version once it is durable.

python write_for_ever.py FILE
"""

from __future__ import annotations

import sys

import anyio

from dyff.cluster import port
from dyff.cluster.embedded import EmbeddedCluster
from dyff.kernel import clock, ids

WRITERS = 8


async def main(path: str) -> None:
    async with EmbeddedCluster.open(path, clock=clock.SystemClock(), ids=ids.RandomIds()) as cluster, anyio.create_task_group() as group:
        for writer in range(WRITERS):
            group.start_soon(write, cluster, writer)


async def write(cluster: port.Cluster, writer: int) -> None:
    number = 0
    while True:
        name = f"config-{writer}-{number}"
        await cluster.create(port.CONFIG_MAP, {"metadata": {"name": name}, "data": {"a": "1"}})
        patched = await cluster.patch(port.CONFIG_MAP, name, {"data": {"a": "2"}})
        sys.stdout.write(f"{name} {patched['metadata']['resourceVersion']}\n")
        sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
