"""The cluster, on every adapter, with its controllers."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from dyff.cluster import port
from dyff.cluster.embedded import EmbeddedCluster, LocalControllers
from dyff.kernel import clock, ids
from tests.conftest import missing
from tests.contracts.cluster.objects import DEADLINE_S
from tests.narrowing import sure


@asynccontextmanager
async def embedded(tmp_path) -> AsyncIterator[port.Cluster]:
    ready, stop = asyncio.Event(), asyncio.Event()
    async with EmbeddedCluster.open(tmp_path / "cluster.sqlite", clock=clock.SystemClock(), ids=ids.RandomIds()) as opened:
        # A real cluster has its controller manager, which collects the garbage. A fixture is not one task, so it runs in its own.
        controllers = asyncio.create_task(controlled(opened, ready, stop))
        await asyncio.wait_for(ready.wait(), DEADLINE_S)
        yield opened
        stop.set()
        await controllers


async def controlled(cluster: port.Cluster, ready: asyncio.Event, stop: asyncio.Event) -> None:
    async with anyio.create_task_group() as group:
        await group.start(LocalControllers(cluster, clock=clock.SystemClock()).run)
        ready.set()
        await stop.wait()
        group.cancel_scope.cancel()


@asynccontextmanager
async def kubernetes(tmp_path) -> AsyncIterator[port.Cluster]:
    """A namespace of its own on a real API server."""
    from tests.contracts.cluster import namespaces

    file = os.environ.get("DYFF_TEST_KUBECONFIG")
    if not file:
        missing("no Kubernetes: DYFF_TEST_KUBECONFIG is not set; start one with make services, or run make test-engines")
    async with namespaces.fresh(sure(file)) as opened:
        yield opened


CLUSTERS = {"cluster:embedded": embedded, "cluster:kubernetes": kubernetes}


@pytest.fixture(params=["cluster:embedded", pytest.param("cluster:kubernetes", marks=pytest.mark.engines)])
async def cluster(request, tmp_path) -> AsyncIterator[port.Cluster]:
    async with CLUSTERS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def name() -> str:
    """A name of its own, since a real cluster is shared by the tests."""
    return f"contract-{uuid.uuid4().hex[:12]}"
