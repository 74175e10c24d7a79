"""A world for the API: the real embedded adapters, a fold from the log to the view, sealing, and a cluster that only remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import httpx
import msgspec
import pytest
import pytest_asyncio

from dyff.accounts import authority, embedded, grants
from dyff.accounts import port as accounts
from dyff.api import app, services
from dyff.bus import embedded as bus
from dyff.bus import envelope, topics
from dyff.cluster import port as cluster
from dyff.consumers.orchestrator import sealing
from dyff.entities import codecs, commands, folding, registry
from dyff.kernel import clock, ids, settings
from dyff.objects import layout, local, signing
from dyff.query import embedded as query
from dyff.query import port as views
from tests import waiting
from tests.api import conforming, studies
from tests.entities import bodies
from tests.narrowing import sure


class RememberedCluster:
    """Custom resources, pods, logs and Services that a test puts there."""

    def __init__(self):
        self.objects: dict[tuple[str, str], cluster.Object] = {}
        self.written: dict[str, list[cluster.LogLine]] = {}
        self.ended: set[str] = set()
        self.services: dict[str, str] = {}

    def put(self, kind: str, name: str, **fields):
        metadata = {"name": name, "resourceVersion": "1", **fields.pop("metadata", {})}
        self.objects[kind, name] = {"metadata": metadata, **fields}

    async def get(self, kind, name):
        return self.objects.get((kind.kind, name))

    async def list(self, kind, labels=None):
        found = [each for (of, _), each in self.objects.items() if of == kind.kind]
        wanted = (labels or {}).items()
        return cluster.Listing(tuple(each for each in found if wanted <= (each["metadata"].get("labels") or {}).items()), "1")

    async def watch(self, kind, resource_version, *, timeout_s, labels=None):
        """Tells every pod again and again."""
        while True:
            for each in (await self.list(kind, labels)).items:
                yield cluster.Event("MODIFIED", each)
            # real time: a watch reports at a pace, as one of a real cluster does
            await asyncio.sleep(0.02)

    async def follow(self, pod, container, *, since=None):
        reported = 0
        while True:
            ended, lines = pod in self.ended, self.written.get(pod, [])
            for line in lines[reported:]:
                if since is None or line.timestamp > since:
                    yield line
            if ended and reported == len(lines):
                return
            reported = len(lines)
            await waiting.a_moment()

    async def logs(self, pod, *, container=None, since=None, limit=None):
        lines = [line for line in self.written.get(pod, []) if since is None or line.timestamp > since]
        return tuple(lines[-limit:] if limit else lines)

    async def service_url(self, name):
        url = self.services.get(name)
        return None if url is None else cluster.Upstream(url)


class View:
    """Folds the log into the view, as the aggregator and the sink do together; can be paused, to be behind."""

    def __init__(self, log, store, sealer):
        self._log, self._store, self._sealer = log, store, sealer
        self._states: dict[str, folding.State] = {}
        self.running = anyio.Event()
        self.running.set()

    def pause(self):
        self.running = anyio.Event()

    def proceed(self):
        self.running.set()

    async def run(self):
        topic = await self._log.topic(topics.EVENTS)
        async with anyio.create_task_group() as group:
            for partition in range(topic.partitions):
                group.start_soon(self._follow, topic, partition)

    async def _follow(self, topic, partition):
        async with self._log.read(topics.EVENTS, partition, 0) as reader, anyio.create_task_group() as group:
            while True:
                records = await reader.poll(100, 1.0)
                await self.running.wait()
                documents = [document for record in records if (document := self._folded(record, topic.epoch))]
                await self._store.apply(documents, views.Reached("state", {}, {partition: reader.position}))
                for each in documents:
                    if each.body is not None:
                        group.start_soon(self._sealer.seal, codecs.decode_object(each.body))

    def _folded(self, record, epoch):
        event = envelope.event(record, epoch)
        entity_id = event.command.entity_id
        state, _ = folding.fold(self._states.get(entity_id), event, folding.VERSION)
        if state is None:
            return None
        self._states[entity_id] = state
        return views.Document(registry.BY_KIND[state.kind].plural, entity_id, state.source.offset, state.value())


class Sealer:
    """Seals finalized uploads as the orchestrator does; can be paused."""

    def __init__(self, known: services.Services):
        self._services = known
        self.running = anyio.Event()
        self.running.set()

    def pause(self):
        self.running = anyio.Event()

    def proceed(self):
        self.running.set()

    async def seal(self, entity):
        """Seal what is finalized, and record how it ended."""
        if entity.get("reason") != "Finalizing":
            return
        await self.running.wait()
        row, status, reason = registry.BY_KIND[entity["kind"]], "Ready", None
        try:
            await sealing.seal(self._services.objects, row, entity, lambda: True)
            await self._services.objects.delete_tree(layout.staging(row.plural, entity["id"]))
        except sealing.NotAsDeclared:
            status, reason = "Error", "UploadFailed"
        now = self._services.clock.now()
        command = commands.edit(
            self._services.ids.new(), commands.UPDATE_STATUS, entity["kind"], entity["id"], {"status": status, "reason": reason},
            time=now, expires=now + timedelta(hours=1),
        )  # fmt: skip
        await self._services.bus.publish(topics.EVENTS, [envelope.command_message(command)])


class World:
    """The API and what it stands on. `client(token)` speaks to it in this process."""

    def __init__(self, known: services.Services, application, view: View, sealer: Sealer):
        self.services, self.view, self.sealer = known, view, sealer
        self._applications = [application]
        self.cluster: Any = known.cluster
        self.account = ""
        self.admin = ""

    @property
    def app(self) -> Any:
        """The present application. A test can put another one in its place, whose lifespan does not run."""
        return self._applications[-1]

    @app.setter
    def app(self, application: Any) -> None:
        self._applications.append(application)

    async def close(self) -> None:
        """End what applications without a lifespan have started: which test is the first to need it depends on their order."""
        for each in self._applications:
            await each.schemas.close()
            await each.samples.close()

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        token = self.admin if token is None else token
        transport = conforming.Transport(self.app, raise_app_exceptions=True)
        return httpx.AsyncClient(
            transport=transport, base_url="http://dyff.test", headers={"Authorization": f"Bearer {token}"} if token else {}
        )

    async def token(self, *granted: grants.Grant, account: str | None = None) -> str:
        account = account or self.account
        return await self.services.authority.issue(account, granted, self.services.clock.now() + timedelta(hours=1))

    async def events(self) -> list[dict]:
        """The values of all commands in the log, in the order of their partitions."""
        found = []
        for partition, held in (await self.services.bus.ranges(topics.EVENTS)).items():
            async with self.services.bus.read(topics.EVENTS, partition, held.first) as reader:
                while reader.position < held.end:
                    found += [codecs.decode_object(sure(record.value)) for record in await reader.poll(100, 0.1)]
        return found

    async def set_status(self, entity_id: str, status: str, reason: str | None = None) -> None:
        """As a controller would."""
        await self._edit(entity_id, commands.UPDATE_STATUS, {"status": status, "reason": reason})

    async def fail(self, entity_id: str, reason: str, message: str) -> None:
        """As the informer would."""
        await self._edit(entity_id, commands.UPDATE_STATUS, {"status": "Failed", "reason": reason, "message": message})

    async def forget(self, entity_id: str) -> None:
        """As the sweep would, of a deleted entity."""
        await self._edit(entity_id, commands.FORGET, {})

    async def removed(self, entity_id: str) -> None:
        """As the sweep would, of a deleted entity that stays."""
        await self._edit(entity_id, commands.RECORD_STORAGE, {"stored": 0})

    async def put(self, entity: dict) -> None:
        """An entity that no request creates."""
        now = self.services.clock.now()
        command = commands.create(self.services.ids.new(), entity, time=now, expires=now + timedelta(hours=1))
        (position,) = await self.services.bus.publish(topics.EVENTS, [envelope.command_message(command)])
        assert await self.services.query.wait({position.partition: position.offset + 1}, 10)

    async def _edit(self, entity_id: str, name: str, attributes: dict) -> None:
        now = self.services.clock.now()
        kind = next(each["data"]["kind"] for each in await self.events() if each["data"]["id"] == entity_id)
        command = commands.edit(self.services.ids.new(), name, kind, entity_id, attributes, time=now, expires=now + timedelta(hours=1))
        (position,) = await self.services.bus.publish(topics.EVENTS, [envelope.command_message(command)])
        assert await self.services.query.wait({position.partition: position.offset + 1}, 10)

    async def ready_service(self, **changes) -> str:
        async with self.client() as client:
            response = await client.post("/v0/inferenceservices", json={**bodies.SERVICE, **changes})
        assert response.status_code == 201, response.text
        await self.set_status(response.json()["id"], "Ready")
        return response.json()["id"]

    async def dataset(self, **changes) -> str:
        async with self.client() as client:
            response = await client.post("/v0/datasets", json={**bodies.DATASET, **changes})
        assert response.status_code == 201, response.text
        return response.json()["id"]

    async def record(self, entity_id: str, attributes: dict) -> None:
        """As the orchestrator would, with the results of a run."""
        kind = next(each["data"]["kind"] for each in await self.events() if each["data"]["id"] == entity_id)
        run = registry.BY_KIND[kind].run
        await self._edit(entity_id, sure(sure(run).results).command, attributes)

    async def analysis_body(self, makes: str = "Measurement", account: str = "test", **method: Any) -> dict:
        """The body of a request for an analysis, after all that it refers to was made. `method`: changes of the method's body."""
        service, dataset = await self.ready_service(account=account), await self.dataset(account=account)
        async with self.client() as client:

            async def made(plural: str, body: dict) -> str:
                response = await client.post(f"/v0/{plural}", json={**body, "account": account})
                assert response.status_code == 201, response.text
                return response.json()["id"]

            module = await made("modules", bodies.MODULE_FULL)
            evaluation = await made("evaluations", {"dataset": dataset, "inferenceSession": {"inferenceService": service}})
            given = {"modules": [module], "inputs": [], "parameters": [], **method}
            if makes == "SafetyCase":
                given["implementation"] = {
                    "kind": "JupyterNotebook",
                    "jupyterNotebook": {"notebookModule": module, "notebookPath": "report.ipynb"},
                }
                return {
                    "account": account,
                    "method": await made("methods", {**bodies.METHOD_NOTEBOOK, **given}),
                    "scope": {"inferenceService": service},
                }
            return {
                "account": account,
                "method": await made("methods", {**bodies.METHOD, **given}),
                "scope": {"dataset": dataset, "inferenceService": service, "evaluation": evaluation},
            }

    async def evaluation_body(self) -> dict:
        return {"account": "test", "dataset": await self.dataset(), "inferenceSession": {"inferenceService": await self.ready_service()}}


@asynccontextmanager
async def opened(path, **changes) -> AsyncIterator[World]:
    """A world in the directory `path`. `changes`: other services."""
    time, names = clock.SystemClock(), ids.RandomIds()
    chosen = settings.Api(read_wait_s=5.0, max_body_bytes=200_000)
    signer = signing.Signer(b"secret", "http://dyff.test", time)
    async with (
        bus.EmbeddedBus.open(path / "log", clock=time, ids=names) as log,
        query.EmbeddedQuery.open(path / "view") as view_store,
        embedded.EmbeddedAccounts.open(path / "accounts") as database,
    ):
        await log.create_topics(topics.specs(2))
        remembered: Any = RememberedCluster()
        known = services.Services(
            bus=log, query=view_store, accounts=database, authority=authority.Authority(database, time, names, cost=4),
            objects=local.LocalObjects.open(path / "objects", signer), cluster=remembered, clock=time, ids=names,
            settings=chosen, signer=signer, url="http://dyff.test",
        )  # fmt: skip
        known = msgspec.structs.replace(known, **changes)
        application = app.build(known)
        sealer = Sealer(known)
        world = World(known, application, View(log, view_store, sealer), sealer)
        world.account = names.new()
        admin = accounts.Account(id=world.account, name="auditor", created=time.now(), permissions=grants.ADMIN)
        await database.create(admin)
        world.admin = await world.token(*grants.ADMIN)
        async with anyio.create_task_group() as group, application.lifespan():
            group.start_soon(world.view.run)
            try:
                yield world
            finally:
                await world.close()
            group.cancel_scope.cancel()


async def held(context):
    """What a context manager gives, entered and left in a task of its own: a fixture's two halves run in different tasks, which cancel
    scopes do not bear.
    """
    done = asyncio.Event()
    opening = asyncio.get_running_loop().create_future()

    async def host():
        async with context as subject:
            opening.set_result(subject)
            await done.wait()

    task = asyncio.create_task(host())
    await asyncio.wait([task, opening], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    yield opening.result()
    done.set()
    await task


@pytest.fixture
async def world(tmp_path):
    """A world of the test's own."""
    async for subject in held(opened(tmp_path)):
        yield subject


@pytest.fixture
async def api(world):
    """A client with an administrator's token."""
    async with world.client() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_world(tmp_path_factory):
    """One world for a module's tests, which do not get into each other's way."""
    async for subject in held(opened(tmp_path_factory.mktemp("world"))):
        yield subject


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_api(shared_world):
    """A client of the shared world."""
    async with shared_world.client() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def study(shared_world, shared_api):
    """Systems to compare, in the shared world: what a test adds is in nobody's way."""
    return await studies.Study(shared_world, shared_api).prepare()
