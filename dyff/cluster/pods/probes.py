"""Readiness probes."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterator
from urllib.parse import quote

import anyio
import msgspec

from dyff.cluster import doors
from dyff.cluster.pods import specs
from dyff.kernel import backoff, settings

FIRST_EVERY_S = 0.02
"""The first interval of a pod that was never ready. Then it grows, so that a quick start is seen early and a slow one costs little."""
UNREADY_EVERY_S = 0.2
READY_EVERY_S = 2.0
_LINE_BYTES = 4096
"""Of an answer, only the first line is read, and no more of it than this."""


class Probe(msgspec.Struct, frozen=True):
    """How to probe a pod's readiness. `path`: None if accepting a connection is enough. `door`: see `doors.connect`."""

    port: int
    path: str | None
    timeout_s: float
    initial_delay_s: float
    successes: int
    failures: int
    door: str | None = None


def of(container: specs.Container, image: settings.Image, local_port: int | None) -> Probe | None:
    """A container's readiness probe. None if it has none; then it is ready as soon as it runs, as in Kubernetes.

    The image mapping's `readiness_path` replaces the path in the spec, because another program runs here. If the mapping
    has none, connecting is enough.
    """
    declared = container.readiness_probe
    if declared is None or local_port is None:
        return None
    return Probe(
        port=local_port,
        path=image.readiness_path,
        timeout_s=declared.timeout_seconds,
        initial_delay_s=declared.initial_delay_seconds,
        successes=max(declared.success_threshold, 1),
        failures=max(declared.failure_threshold, 1),
    )


async def watch(probe: Probe, changed: Callable[[bool, str], None]) -> None:
    """Probe until cancelled, and call `changed` whenever the readiness changes, or what the program answers instead. Starts as not ready.

    `changed(ready, said)`: `said` is the sentence of `check`; empty if it is ready, or does not answer.
    """
    ready, streak, shown = False, 0, ""
    first: Iterator[float] = backoff.delays(FIRST_EVERY_S, factor=1.5, ceiling_s=UNREADY_EVERY_S)
    await anyio.sleep(probe.initial_delay_s)
    while True:
        good, said = await check(probe)
        streak = streak + 1 if good != ready else 0
        if streak >= (probe.failures if ready else probe.successes):
            ready, streak, shown = not ready, 0, said
            changed(ready, said)
            first = itertools.repeat(UNREADY_EVERY_S)
        elif said and said != shown and not ready:
            shown = said
            changed(ready, said)
        await anyio.sleep(READY_EVERY_S if ready and not streak else next(first))


async def check(probe: Probe) -> tuple[bool, str]:
    """Probe once; returns whether the program is ready, and a sentence if it answers that it is not."""
    try:
        with anyio.fail_after(probe.timeout_s):
            with await doors.connect(probe.port, probe.door) as stream:
                status = await _status(stream, probe.path) if probe.path is not None else 200
    except (OSError, TimeoutError, ValueError):
        return False, ""
    return (True, "") if 200 <= status < 400 else (False, f"Readiness probe failed: GET {probe.path} is answered with status {status}")


async def _status(stream: socket.socket, path: str) -> int:
    """The status code of the answer to a GET.

    Raises:
        ValueError: the answer is not HTTP.
    """
    loop = asyncio.get_running_loop()
    target = quote(path.lstrip("/"), safe="/%:@!$&'()*+,;=~?-._")
    head = f"GET /{target} HTTP/1.1\r\nHost: {doors.HOST}\r\nUser-Agent: dyff-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    await loop.sock_sendall(stream, head.encode())
    line = b""
    while b"\n" not in line and len(line) < _LINE_BYTES:
        piece = await loop.sock_recv(stream, _LINE_BYTES)
        if not piece:
            break
        line += piece
    protocol, code, *_ = *line.partition(b"\n")[0].split(), b"", b""
    if not protocol.startswith(b"HTTP/1."):
        raise ValueError("the answer is not HTTP/1")
    return int(code)
