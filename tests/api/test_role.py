"""The role: a real web server in our own loop that neither owns the process nor its signals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pyarrow as pa
import pyarrow.parquet
import pytest
from dyff.client import Client

from dyff.api import role, webserver
from dyff.kernel import errors, settings
from tests.entities import bodies


@contextlib.asynccontextmanager
async def serving(world, **changes):
    """The role on a free port; yields the base URL."""
    with role.listener("127.0.0.1", 0) as bound:
        services = msgspec.structs.replace(world.services, listener=bound, **changes)
        async with anyio.create_task_group() as group:

            async def run(*, task_status):
                await role.run(services, task_status=task_status)

            await group.start(run)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
            group.cancel_scope.cancel()


async def test_it_serves_until_it_is_cancelled_and_leaves_the_signals_alone(world):
    """Ready means that it answers; cancelled means that it has ended, also twice on the same socket."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    for _ in range(2):
        async with serving(world) as url, httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/health")).status_code == 200
            assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_a_taken_port_is_reported_and_ends_nothing(world):
    """The error says which address and what to do; no SystemExit tears through the loop."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        chosen = settings.Api(port=taken.getsockname()[1])
        with pytest.raises(errors.Misconfigured, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use; choose another"):
            await role.run(msgspec.structs.replace(world.services, settings=chosen))


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 0), ("127.0.0.1", 70000), ("203.0.113.1", 0)])
async def test_an_impossible_address_is_reported(host, port):
    """A wrong setting is a Misconfigured, not a traceback."""
    with pytest.raises(errors.Misconfigured, match="cannot listen on"):
        role.listener(host, port)


async def test_what_has_begun_is_ended_before_it_stops(world):
    """A request in flight gets its answer though the role is cancelled meanwhile; new ones are not taken."""
    world.view.pause()
    async with world.client() as inside:
        created = await inside.post("/v0/datasets", json=bodies.DATASET)
    answers = []
    async with (
        httpx.AsyncClient(headers={"Authorization": f"Bearer {world.admin}"}, timeout=10) as client,
        anyio.create_task_group() as group,
    ):
        async with serving(world) as url:

            async def read():
                answers.append(await client.get(f"{url}/v0/datasets/{created.json()['id']}"))

            group.start_soon(read)
            # real time: the request is on its way through a socket, and nothing reports that it waits
            await anyio.sleep(0.2)
            group.start_soon(_later, 0.2, world.view.proceed)
        assert [answer.status_code for answer in answers] == [200]


REQUEST = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


async def heard(connection):
    """All that the server sends on a connection until it closes it."""
    connection.settimeout(10)
    with connection:
        return await asyncio.to_thread(lambda: b"".join(iter(lambda: connection.recv(65536), b"")))


async def test_a_request_that_waits_to_be_accepted_is_answered(world, monkeypatch):
    """The kernel had accepted its connection when the server stops to listen, so its client does not know of the stop."""
    connections: list[socket.socket] = []
    stop = webserver._Server.shutdown

    async def late(self, sockets=None):
        connections.extend(socket.create_connection(("127.0.0.1", httpx.URL(url).port)) for _ in range(5))
        for each in connections:
            each.sendall(REQUEST)
        await stop(self, sockets)

    monkeypatch.setattr(webserver._Server, "shutdown", late)
    async with serving(world) as url:
        pass
    assert len(connections) == 5
    for each in connections:
        answer = await heard(each)
        assert (answer[:12], b"\r\nconnection: close\r\n" in answer) == (b"HTTP/1.1 200", True), answer


async def test_a_kept_connection_is_not_closed_under_a_request(world):
    """A proxy that uses one of its connections while the server stops gets an answer, and is asked to close it then."""
    async with serving(world) as url:
        connection = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", httpx.URL(url).port))
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(connection, REQUEST)
        assert (await asyncio.get_running_loop().sock_recv(connection, 65536)).startswith(b"HTTP/1.1 200")
        asyncio.get_running_loop().call_later(0.2, connection.send, REQUEST)
    answer = await heard(connection)
    assert (answer[:12], b"\r\nconnection: close\r\n" in answer) == (b"HTTP/1.1 200", True), answer


async def _later(seconds, act):
    # real time: an orderly stop begins first, which nothing reports
    await anyio.sleep(seconds)
    act()


async def test_the_published_client_uploads_and_reads_back(world, tmp_path):
    """The published client, unmodified: create, upload, finalize, query, label, document, download, delete."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    table = pa.table({"_index_": pa.array(range(3), pa.int64()), "text": ["a", "b", "c"]})
    pyarrow.parquet.write_table(table, folder / "rows ü.parquet")
    (folder / "split=x").mkdir()
    more = pa.table({"_index_": pa.array(range(3, 6), pa.int64()), "text": ["d", "e", "f"]})
    pyarrow.parquet.write_table(more, folder / "split=x" / "0.parquet")

    def journey(url: str, destination: Path):
        client = Client(api_token=world.admin, endpoint=f"{url}/v0")
        with contextlib.closing(client._http):
            dataset = client.datasets.create_arrow_dataset(folder, account="test", name="prompts")
            client.datasets.upload_arrow_dataset(dataset, folder)
            assert client.datasets.get(dataset.id).status == "Ready"
            client.datasets.label(dataset.id, {"a": "1"})
            assert [each.id for each in client.datasets.query(labels={"a": "1"})] == [dataset.id]
            client.datasets.download(dataset.id, destination)
            assert client.datasets.delete(dataset.id).status == "Deleted"
            needed: Any = {}
            model = client.models.create_from_volume(folder, account="test", name="m", resources=needed)
            client.models.upload_volume(model, folder)
            assert client.models.get(model.id).status == "Ready"
            assert client.datasets.documentation(dataset.id).title is None

    async with serving(world) as url:
        signer = type(world.services.signer)(b"secret", url, world.services.clock)
        world.services.objects._signer = signer
        await asyncio.to_thread(journey, url, tmp_path / "down")
    found = sorted(str(path.relative_to(tmp_path / "down")) for path in (tmp_path / "down").rglob("*.parquet"))
    assert found == ["rows ü.parquet", "split=x/0.parquet"]
    assert (tmp_path / "down" / "rows ü.parquet").read_bytes() == (folder / "rows ü.parquet").read_bytes()
