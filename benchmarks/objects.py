"""The object store on S3 against bare (awaited) calls of the vendor's library, on the same server in the same run.

Each line has the medians of rounds in which both alternate. Needs `DYFF_TEST_S3=http://ACCESS:SECRET@HOST:PORT/BUCKET`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import anyio
import obstore

from dyff.objects.cloud import CloudObjects, Connection, sigv4

GOAL = 0.70
ROUNDS = 5
SMALL, LARGE = b"x" * 2048, b"x" * 8 * 2**20

Work = Callable[[int], Awaitable[object]]


def connection(url: str) -> Connection:
    """Return a connection with a prefix of our own."""
    parts = urlsplit(url)
    credentials = sigv4.Credentials(parts.username or "", parts.password or "")
    endpoint = f"http://{parts.hostname}:{parts.port}"
    return Connection(bucket=parts.path.strip("/"), prefix=f"bench-{uuid.uuid4().hex}", endpoint=endpoint, credentials=credentials)


async def rate(work: Work, count: int, in_flight: int) -> float:
    """Return the calls per second, with `in_flight` calls at a time."""
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await work(number)

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(in_flight):
            group.start_soon(caller)
    return count / (time.perf_counter() - began)


async def main() -> None:
    """Run everything."""
    if not os.environ.get("DYFF_TEST_S3"):
        print("not run: it needs an S3 server; start one and set DYFF_TEST_S3")
        return
    where = connection(os.environ["DYFF_TEST_S3"])
    objects, bare = CloudObjects.open(where), where.connect()

    def key(name: str, number: int) -> str:
        return f"{where.prefix}/{name}/{number}"

    async def bare_get(number: int, name: str) -> None:
        bytes(await (await obstore.get_async(bare, key(name, number))).bytes_async())

    async def streamed(number: int) -> None:
        async for _ in objects.stream(f"large/{number}"):
            pass

    small: tuple[tuple[str, Work, Work], ...] = (
        ("put 2 KB", lambda n: objects.put(f"small/{n}", SMALL), lambda n: obstore.put_async(bare, key("small", n), SMALL)),
        ("get 2 KB", lambda n: objects.get(f"small/{n}"), lambda n: bare_get(n, "small")),
        ("head", lambda n: objects.head(f"small/{n}"), lambda n: obstore.head_async(bare, key("small", n))),
    )
    large: tuple[tuple[str, Work, Work], ...] = (
        ("put 8 MB", lambda n: objects.put(f"large/{n}", LARGE), lambda n: obstore.put_async(bare, key("large", n), LARGE)),
        ("get 8 MB", lambda n: objects.get(f"large/{n}"), lambda n: bare_get(n, "large")),
        ("stream 8 MB", streamed, lambda n: bare_get(n, "large")),
    )
    print(f"obstore {obstore.__version__}; the goal is {GOAL:.0%} of bare calls")
    for kinds, count in ((small, 200), (large, 8)):
        for in_flight in (1, 16 if count > 100 else 4):
            for title, ours, plain in kinds:
                rounds = [(await rate(ours, count, in_flight), await rate(plain, count, in_flight)) for _ in range(ROUNDS)]
                ratio, mine, theirs = sorted((a / b, a, b) for a, b in rounds)[ROUNDS // 2]
                verdict = "" if ratio >= GOAL else "   below the goal"
                print(f"  {title:<12} {in_flight:>3} at a time {mine:>8,.0f}/s   bare {theirs:>8,.0f}/s   ratio {ratio:5.0%}{verdict}")
    for name in ("small/", "large/"):
        await objects.delete_tree(name)


if __name__ == "__main__":
    anyio.run(main, backend_options={"use_uvloop": True})
