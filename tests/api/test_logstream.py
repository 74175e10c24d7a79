"""The stream of a workflow's log over a WebSocket, from the real web server."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import httpx
import pytest
import websockets
from dyff.schema import responses
from websockets.asyncio.client import connect

from dyff.accounts import grants
from dyff.cluster import port as cluster
from dyff.kernel import clock
from tests import waiting
from tests.api.test_role import serving
from tests.narrowing import sure

DEADLINE_S = 20.0


@pytest.fixture
async def workflow(world, api):
    """The ID of an evaluation whose client's pod has written two lines."""
    evaluation = (await api.post("/v0/evaluations", json=await world.evaluation_body())).json()["id"]
    pod(world, evaluation, "client", "one", "two")
    return evaluation


def pod(world, evaluation, component, *lines):
    """A pod of the evaluation that has written `lines`."""
    labels = {"dyff.io/id": evaluation, "dyff.io/component": component}
    world.cluster.put("Pod", f"eval-{component}", metadata={"labels": labels}, spec={"containers": [{"name": "main"}]}, status={})
    world.cluster.written[f"eval-{component}"] = [line(world, each) for each in lines]


def line(world, text):
    return cluster.LogLine(clock.iso(world.services.clock.now()), text)


def write(world, component, text):
    world.cluster.written[f"eval-{component}"].append(line(world, text))


def end(world, component):
    world.cluster.objects["Pod", f"eval-{component}"]["status"] = {"phase": "Succeeded"}
    world.cluster.objects["Pod", f"eval-{component}"]["metadata"]["resourceVersion"] = "2"
    world.cluster.ended.add(f"eval-{component}")


@asynccontextmanager
async def stream(world, evaluation, *, token=None, **options):
    async with serving(world) as url:
        address = f"{url.replace('http', 'ws')}/v0/evaluations/{evaluation}/logs/workflow/stream"
        headers = {"Authorization": f"Bearer {token or world.admin}"}
        with anyio.fail_after(DEADLINE_S):
            async with connect(address, additional_headers=headers, **options) as socket:
                yield socket


async def read(socket, count):
    return [responses.WorkflowLogEntry.model_validate(json.loads(await socket.recv())).message for _ in range(count)]


async def test_lines_come_as_they_are_written_until_the_workflow_has_ended(world, workflow):
    """What there is comes first, in order of time over all pods; then what comes; a pod that starts later too; then the normal end."""
    async with stream(world, workflow) as socket:
        assert await read(socket, 2) == ["one", "two"]
        write(world, "client", "three")
        assert await read(socket, 1) == ["three"]
        pod(world, workflow, "verify", "four")
        assert await read(socket, 1) == ["four"]
        end(world, "client")
        await world.set_status(workflow, "Complete")
        write(world, "verify", "after the status")
        assert await read(socket, 1) == ["after the status"]
        end(world, "verify")
        with pytest.raises(websockets.ConnectionClosedOK):
            await socket.recv()


async def test_the_log_of_a_workflow_that_has_ended_is_reported_once_and_closed(world, workflow):
    """Sorted by time over the pods, each line once, with the labels of its pod."""
    pod(world, workflow, "verify", "three")
    for component in ("client", "verify"):
        end(world, component)
    await world.set_status(workflow, "Complete")
    async with stream(world, workflow) as socket:
        entries = [json.loads(message) async for message in socket]
    assert [each["message"] for each in entries] == ["one", "two", "three"]
    assert entries[2]["labels"] == {"dyff.io/id": workflow, "dyff.io/component": "verify", "pod": "eval-verify"}
    assert socket.close_code == 1000


@pytest.mark.parametrize("case", ["no token", "a forged token", "no grant", "no such entity"])
async def test_who_may_not_gets_an_http_answer(world, workflow, case):
    """The upgrade is refused with the status and the detail that any other request would get."""
    headers, entity, want = {"Authorization": f"Bearer {world.admin}"}, workflow, 404
    if case == "no token":
        headers, want = {}, 401
    if case == "a forged token":
        headers, want = {"Authorization": "Bearer x.y.z"}, 401
    if case == "no grant":
        token = await world.token(grants.Grant(("evaluations",), ("get",), accounts=("test",)))
        headers, want = {"Authorization": f"Bearer {token}"}, 403
    if case == "no such entity":
        entity = "0" * 32
    async with serving(world) as url:
        address = f"{url.replace('http', 'ws')}/v0/evaluations/{entity}/logs/workflow/stream"
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(address, additional_headers=headers)
    assert refused.value.response.status_code == want
    assert json.loads(refused.value.response.body)["detail"]


async def test_other_kinds_and_plain_requests_are_shown_what_to_do(world, workflow):
    """A GET without an upgrade is 426; a kind without pods has no such stream."""
    async with serving(world) as url, httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {world.admin}"}) as client:
        plain = await client.get(f"/v0/evaluations/{workflow}/logs/workflow/stream")
        assert (plain.status_code, plain.headers["upgrade"]) == (426, "websocket")
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(f"{url.replace('http', 'ws')}/v0/datasets/{workflow}/logs/workflow/stream")
        assert refused.value.response.status_code in (403, 404)


async def test_a_revoked_token_ends_the_stream(world, workflow):
    """Within a look or two; the code says that it is a matter of permission."""
    token = await world.token(*grants.ADMIN)
    async with stream(world, workflow, token=token) as socket:
        assert await read(socket, 2) == ["one", "two"]
        keys = await world.services.accounts.keys(world.account)
        await world.services.accounts.revoke_key(world.account, keys[-1].id)
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.recv()
    assert sure(closed.value.rcvd).code == 1008
    assert "revoked" in sure(closed.value.rcvd).reason


async def test_a_client_that_goes_away_ends_the_work(world, workflow):
    """Nothing is followed any more for nobody."""
    following, follow = set(), world.cluster.follow

    async def counted(pod, container, *, since=None):
        following.add(pod)
        try:
            async for each in follow(pod, container, since=since):
                yield each
        finally:
            following.discard(pod)

    world.cluster.follow = counted
    async with serving(world) as url:
        address = f"{url.replace('http', 'ws')}/v0/evaluations/{workflow}/logs/workflow/stream"
        socket = await connect(address, additional_headers={"Authorization": f"Bearer {world.admin}"})
        await read(socket, 2)
        await until(lambda: following == {"eval-client"})
        socket.transport.abort()
        await until(lambda: not following)


async def test_a_server_that_stops_says_so(world, workflow):
    """The stream of a running workflow is closed as a restart, at once: its reader knows that this was not the end."""
    async with serving(world) as url:
        address = f"{url.replace('http', 'ws')}/v0/evaluations/{workflow}/logs/workflow/stream"
        socket = await connect(address, additional_headers={"Authorization": f"Bearer {world.admin}"})
        await read(socket, 2)
        stopped = anyio.current_time()
    assert anyio.current_time() - stopped < 2
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await socket.recv()
    assert sure(closed.value.rcvd).code == 1012


async def test_a_slow_reader_is_waited_for(world, workflow):
    """Of a log far larger than the buffers in between only a little is read ahead of a client that does not read."""
    count, width = 20_000, 1_000
    now = world.services.clock.now()
    taken = 0

    async def follow(pod, container, *, since=None):
        nonlocal taken
        for n in range(count):
            taken += 1
            yield cluster.LogLine(clock.iso(now + timedelta(milliseconds=n)), f"{n} {'x' * width}")
        await anyio.sleep_forever()

    world.cluster.follow = follow
    async with stream(world, workflow, max_queue=1) as socket:
        before = -1
        while taken != before:
            before = taken
            # real time: until the buffers of the kernel are full, which nothing reports, nothing moves
            await asyncio.sleep(0.3)
        assert 0 < taken < count
        messages = await read(socket, 2 + count)
    assert [int(each.split()[0]) for each in messages[2:]] == list(range(count))


async def until(condition):
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await waiting.a_moment()
