"""A small installation for the roles: an embedded log that is folded, an embedded cluster, and hands to play the others with."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import anyio

from dyff.bus import envelope, expiry, topics
from dyff.bus.embedded import EmbeddedBus
from dyff.cluster import port
from dyff.cluster.embedded import EmbeddedCluster
from dyff.consumers.common import custom_resources, mirror
from dyff.entities import commands, custom_resource, folding, registry
from dyff.kernel import clock, ids, positions
from tests import waiting
from tests.narrowing import sure

DEADLINE_S = 20.0
DATASET, SERVICE = "d" * 32, "5" * 32


async def until(condition, *, what="it"):
    """Poll `condition` (a function, or an async one) until it is true; fails after a while."""
    return await waiting.until(condition, what, limit_s=DEADLINE_S)


def an_id(number):
    """An entity's ID."""
    return f"{number:032x}"


def entity(kind, entity_id, status="Created", *, account="acme", born=0, **fields):
    """What all kinds share; `born`: seconds after noon."""
    return {
        "kind": kind,
        "id": entity_id,
        "account": account,
        "schemaVersion": "0.1",
        "creationTime": f"2026-11-03T12:{born // 60:02}:{born % 60:02}.000000Z",
        "status": status,
        "labels": {},
        "metadata": {},
        **fields,
    }


def a_dataset(entity_id=DATASET, status="Ready", **fields):
    return entity("Dataset", entity_id, status, **fields)


def a_service(entity_id=SERVICE, status="Ready", **fields):
    interface = {"endpoint": "generate", "outputSchema": {"arrowSchema": ""}}
    return entity("InferenceService", entity_id, status, interface=interface, **fields)


def a_session(entity_id, status="Created", **fields):
    service = {"id": SERVICE, "name": "mock", "interface": {"endpoint": "generate", "outputSchema": {"arrowSchema": ""}}}
    return entity("InferenceSession", entity_id, status, inferenceService=service, **fields)


def an_evaluation(entity_id, status="Created", **fields):
    """Needs the dataset `DATASET` and the service `SERVICE`."""
    session = {"inferenceService": a_session("")["inferenceService"]}
    return entity("Evaluation", entity_id, status, **{"dataset": DATASET, "inferenceSession": session, "client": {}, **fields})


class World:
    """Bus, cluster, and what is folded."""

    def __init__(self, bus, cluster, folded):
        self.bus, self.cluster, self.folded = bus, cluster, folded
        self.clock, self._ids = clock.SystemClock(), ids.RandomIds()

    async def create(self, *entities):
        """Publish them, and return when they are folded."""
        now = self.clock.now()
        expires = expiry.after(now, self.bus.clock_offset_s())
        given = [commands.create(self._ids.new(), each, time=now, expires=expires) for each in entities]
        await self.publish(*given)

    async def set_status(self, kind, entity_id, status, reason=None, message=None):
        """What the api says when someone terminates, deletes or finalizes."""
        now = self.clock.now()
        attributes = {"status": status, "reason": reason, "message": message}
        expires = expiry.after(now, self.bus.clock_offset_s())
        await self.publish(commands.edit(self._ids.new(), commands.UPDATE_STATUS, kind, entity_id, attributes, time=now, expires=expires))

    async def publish(self, *given):
        """Publish commands, and return when they are folded."""
        await self.bus.publish(topics.EVENTS, [envelope.command_message(each) for each in given])
        await self.folded.wait_current()

    def entity(self, entity_id):
        """As folded."""
        return self.folded.get(entity_id).entity

    async def whole(self, entity_id):
        """The whole entity, as the newest version of the fold makes it of the log's events, also after its end."""
        events, epoch = [], (await self.bus.topic(topics.EVENTS)).epoch
        for partition, held in (await self.bus.ranges(topics.EVENTS)).items():
            async with self.bus.read(topics.EVENTS, partition, held.first) as reader:
                while reader.position < held.end:
                    events += [envelope.event(record, epoch) for record in await reader.poll(500, 0.1)]
        state = None
        for event in (each for each in events if each.command.entity_id == entity_id):
            state, _ = folding.fold(state, event, folding.VERSION)
        return sure(sure(state).entity)

    def said(self, entity_id):
        """Status, reason and message, as folded: of an ended entity only the first two."""
        return tuple(self.entity(entity_id).get(field) for field in ("status", "reason", "message"))

    async def until_status(self, entity_id, *wanted):
        """Wait until the entity has this status, and this reason where it is given."""

        def reached():
            return self.folded.get(entity_id) is not None and self.said(entity_id)[: len(wanted)] == wanted

        try:
            await until(reached)
        except AssertionError:
            raise AssertionError(f"{entity_id} is {self.said(entity_id)}, not {wanted}") from None

    async def reported(self, entity_id):
        """Every (status, reason) that commands on the log gave the entity, in order."""
        return [(each["status"], each.get("reason")) for each in await self.status_changes(entity_id)]

    async def status_changes(self, entity_id):
        """The attributes of every command on the log that changed the entity's status, in order."""
        found = []
        for partition, held in (await self.bus.ranges(topics.EVENTS)).items():
            async with self.bus.read(topics.EVENTS, partition, held.first) as reader:
                while reader.position < held.end:
                    for record in await reader.poll(500, 0.1):
                        command = envelope.event(record, "").command
                        if command.entity_id == entity_id and command.name == commands.UPDATE_STATUS:
                            found.append(command.data["attributes"])
        return found

    async def resource(self, kind, entity_id):
        """The custom resource of an entity; None: there is none."""
        of = sure(registry.BY_KIND[kind].run).resource
        return await self.cluster.get(custom_resources.KINDS[of.kind], custom_resource.name(of, entity_id))

    async def set_condition(self, kind, entity_id, name, reason="Complete", message="", status="True"):
        """What the operator says about a run."""
        condition = {"type": name, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-03T12:00:00Z"}
        of = sure(registry.BY_KIND[kind].run).resource
        name = custom_resource.name(of, entity_id)
        await self.cluster.patch(custom_resources.KINDS[of.kind], name, {"status": {"conditions": [condition]}}, status=True)

    async def start_pod(self, entity_id, name="pod"):
        """A pod of the run, as the operator's Jobs make them; it is `Running`."""
        metadata = {"name": name, "labels": {"dyff.io/id": entity_id}}
        spec = {"containers": [{"name": "main", "image": "image"}]}
        await self.cluster.create(port.POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        await self.cluster.patch(port.POD, name, {"status": {"phase": "Running"}}, status=True)

    async def end_pod(self, name="pod"):
        """The pod ends."""
        await self.cluster.patch(port.POD, name, {"status": {"phase": "Succeeded"}}, status=True)


@contextlib.asynccontextmanager
async def installation(folder, version=1, log_clock=None):
    """A world with an empty log and an empty cluster, in which everything published is folded, by this version of the fold.

    `log_clock`: of the log, if it is not ours.
    """
    time, names = clock.SystemClock(), ids.RandomIds()
    async with (
        EmbeddedBus.open(folder / "bus.sqlite", clock=log_clock or time, ids=names) as bus,
        EmbeddedCluster.open(folder / "cluster.sqlite", clock=time, ids=names) as cluster,
    ):
        await bus.create_topics(topics.specs(2))
        folded = mirror.StateMirror(bus)
        # A fixture begins and ends in tasks of its own, which a task group does not survive.
        background = asyncio.create_task(_background(bus, folded, version))
        yield World(bus, cluster, folded)
        background.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await background


async def _background(bus, folded, version):
    async with anyio.create_task_group() as group:
        group.start_soon(folded.run)
        for partition in range(2):
            group.start_soon(_fold, bus, partition, version)


async def _fold(bus, partition, version):
    """What the aggregator does, without its concern for restarts."""
    states: dict[Any, Any] = {}
    epoch = (await bus.topic(topics.EVENTS)).epoch
    async with bus.read(topics.EVENTS, partition, 0) as reader:
        while True:
            for record in await reader.poll(500, 5.0):
                event = envelope.event(record, epoch)
                states[record.key], _ = folding.fold(states.get(record.key), event, version)
                state = states[record.key]
                if state is None:
                    message = envelope.progress_message(positions.Position(epoch, partition, record.offset))
                else:
                    message = envelope.state_message(state, record.key.decode())
                await bus.publish(topics.STATE, [message])


@contextlib.asynccontextmanager
async def running(role, *args, **options):
    """The role runs, and is ready, while the context lasts."""

    async def start(*, task_status):
        await role.run(*args, **options, task_status=task_status)

    async with anyio.create_task_group() as group:
        await group.start(start)
        yield
        group.cancel_scope.cancel()
