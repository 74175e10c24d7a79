"""What every adapter of the `Cluster` port guarantees of copies, logs and addresses.

Kubernetes is the reference: nothing here is ours alone.
"""

from __future__ import annotations

import anyio

from dyff.cluster import port
from tests.contracts.cluster.objects import DEADLINE_S, a_config


async def test_objects_are_copies(cluster, name):
    """A change to an object that was passed or returned changes nothing in the cluster."""
    given = a_config(name, {"a": "1"})
    created = await cluster.create(port.CONFIG_MAP, given)
    given["data"]["a"] = "2"
    created["data"]["a"] = "3"
    (await cluster.get(port.CONFIG_MAP, name))["data"]["a"] = "4"
    assert (await cluster.get(port.CONFIG_MAP, name))["data"] == {"a": "1"}


async def test_logs_of_an_absent_pod_are_empty(cluster, name):
    """Logs of a Pod that is not there (any more) are no error."""
    assert await cluster.logs(name) == ()


async def test_services_have_urls_for_life(cluster, name):
    """A Service has a URL for us and one for pods from its creation on; a changed Service keeps it; no Service, no URL."""
    assert await cluster.service_url(name) is None
    assert await cluster.pod_service_url(name) is None
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8000}]}
    created = await cluster.create(port.SERVICE, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
    urls = (await cluster.service_url(name)).url, await cluster.pod_service_url(name)
    assert all(url.startswith("http") for url in urls)
    without = {**created, "metadata": {key: value for key, value in created["metadata"].items() if key != "annotations"}}
    await cluster.replace(port.SERVICE, {**without, "spec": {**created["spec"], "selector": {"app": "other"}}})
    assert ((await cluster.service_url(name)).url, await cluster.pod_service_url(name)) == urls
    await cluster.delete(port.SERVICE, name)
    assert await cluster.service_url(name) is None


async def test_following_an_absent_pod_or_container_ends_at_once(cluster, name):
    """Nobody writes there."""
    with anyio.fail_after(DEADLINE_S):
        assert [line async for line in cluster.follow(name, "main")] == []
        await cluster.create(
            port.POD, {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "example.org/absent"}]}}
        )
        assert [line async for line in cluster.follow(name, "other")] == []


async def test_following_a_pod_that_has_not_started_waits_and_ends_with_it(cluster, name):
    """A container that has written nothing yet is no end; its pod's deletion is."""
    await cluster.create(port.POD, {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "example.org/absent"}]}})
    ended = anyio.Event()

    async def read():
        assert [line async for line in cluster.follow(name, "main")] == []
        ended.set()

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            with anyio.move_on_after(0.5):
                await ended.wait()
            assert not ended.is_set()
            await cluster.delete(port.POD, name)
