"""Readiness probes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import anyio
import httpx
import msgspec

from dyff.cluster.pods import specs
from dyff.kernel import backoff, settings

FIRST_EVERY_S = 0.02
"""The first interval of a pod that was never ready. Then it grows, so that a quick start is seen early and a slow one costs little."""
UNREADY_EVERY_S = 0.2
READY_EVERY_S = 2.0
_HOST = "127.0.0.1"


class Probe(msgspec.Struct, frozen=True):
    """How to probe a pod's readiness. `path`: None if accepting a connection is enough."""

    port: int
    path: str | None
    timeout_s: float
    initial_delay_s: float
    successes: int
    failures: int


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


def client() -> httpx.AsyncClient:
    """The client for `watch`, without proxies, certificate checks or anything from the server's environment."""
    return httpx.AsyncClient(trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0))


async def watch(probe: Probe, http: httpx.AsyncClient, changed: Callable[[bool], None]) -> None:
    """Probe until cancelled, and call `changed` whenever the readiness changes. It starts as not ready."""
    ready, streak = False, 0
    first: Iterator[float] = backoff.delays(FIRST_EVERY_S, factor=1.5, ceiling_s=UNREADY_EVERY_S)
    await anyio.sleep(probe.initial_delay_s)
    while True:
        streak = streak + 1 if await check(probe, http) != ready else 0
        if streak >= (probe.failures if ready else probe.successes):
            ready, streak = not ready, 0
            changed(ready)
            first = itertools.repeat(UNREADY_EVERY_S)
        await anyio.sleep(READY_EVERY_S if ready and not streak else next(first))


async def check(probe: Probe, http: httpx.AsyncClient) -> bool:
    """Probe once."""
    if probe.path is None:
        return await _accepts(probe)
    try:
        url = f"http://{_HOST}:{probe.port}/{probe.path.lstrip('/')}"
        response = await http.get(url, timeout=probe.timeout_s, headers={"User-Agent": "dyff-probe"})
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return 200 <= response.status_code < 400


async def _accepts(probe: Probe) -> bool:
    try:
        with anyio.fail_after(probe.timeout_s):
            stream = await anyio.connect_tcp(_HOST, probe.port)
    except (OSError, TimeoutError):
        return False
    await stream.aclose()
    return True
