"""Leadership saves work and protects nothing: with two leaders at once, or one that wakes from a long pause, nothing is doubled."""

from __future__ import annotations

import contextlib
import functools
import random
from collections import Counter
from typing import Any

import anyio
import pytest

from dyff.bus import envelope, topics
from dyff.cluster import conditions, port
from dyff.consumers import informer
from dyff.consumers.common import custom_resources
from dyff.consumers.orchestrator import role as orchestrator
from dyff.entities import registry
from dyff.kernel import errors, settings
from dyff.operator import pods
from tests.planning import world as planned
from tests.roles import operated, world

E = [world.an_id(number) for number in range(20)]
FAST = settings.Settings(orchestrator=settings.Orchestrator(resync_s=0.2), quotas=settings.Quotas(admitted=100))


class Paused:
    """A cluster whose client is stopped before its write number `at`, as by SIGSTOP, until `resume` is set. `landed`: its later writes."""

    def __init__(self, cluster: port.Cluster, at: int = 1, verbs: tuple[str, ...] = ("create", "patch", "delete")):
        self._cluster, self._at, self._verbs, self._writes = cluster, at, verbs, 0
        self.stopped, self.resume = anyio.Event(), anyio.Event()
        self.landed: Counter[Any] = Counter()

    def __getattr__(self, name):
        found = getattr(self._cluster, name)
        return functools.partial(self._write, name, found) if name in self._verbs else found

    async def _write(self, name, write, *args, **kwargs):
        self._writes += 1
        if self._writes < self._at or self.resume.is_set():
            return await write(*args, **kwargs)
        self.stopped.set()
        await self.resume.wait()
        self.landed["tried"] += 1
        result = await write(*args, **kwargs)
        self.landed[f"{name} {args[0].kind}"] += 1
        return result


@pytest.fixture(params=["cluster:embedded", pytest.param("cluster:kubernetes", marks=pytest.mark.engines)])
async def there(request, tmp_path):
    """A cluster with a kubelet, without an operator."""
    async with operated.ADAPTERS[request.param](tmp_path) as cluster, operated.Operated.open(cluster) as opened:
        yield opened


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6, 7, 8])
async def test_an_operator_that_wakes_after_the_end_changes_nothing(there, at):
    """Paused before any of its writes until another operator has brought the run to its end, it leaves no trace when it goes on."""
    old = Paused(there.cluster, at)

    async def at_rest():
        evaluation = await there.get(registry.RESOURCE_BY_KIND["Evaluation"], planned.ID)
        left = await there.everything(planned.ID)
        jobs = [await there.cluster.get(port.JOB, name) for name in left.get("Job", ())]
        held = [each for each in jobs if each is None or "dyff.io/operator" in each["metadata"].get("finalizers", [])]
        live = [each for each in (await there.cluster.list(port.POD, {"dyff.io/id": planned.ID})).items if pods.live(each)]
        done = conditions.finished(evaluation) and not held and not live
        return evaluation["status"] if done and not {"InferenceSession", "Deployment", "Service"} & set(left) else None

    async with there.operator(old):
        await there.create(planned.an_evaluation())
        with anyio.fail_after(operated.DEADLINE_S):
            await old.stopped.wait()
        async with there.operator():
            ended = await there.until("the end, without the old one", at_rest)
            old.resume.set()
            await there.until("what it was about to do", lambda: _true(old.landed["tried"] > 0))
            # real time: nothing reports that it does no more by itself, which is what this is about
            await anyio.sleep(0.3)
            assert await there.until("rest again", at_rest) == ended


async def _true(value):
    return value


async def test_an_orchestrator_that_wakes_makes_nothing_that_stays(here):
    """It was about to create a resource when it was paused; meanwhile its successor made it, and it was deleted by hand. What the
    old one makes of an entity that has ended is removed at once, although the resources of what has failed are kept for a while.
    """
    old = Paused(here.cluster, verbs=("create",))
    async with anyio.create_task_group() as group:

        async def paused():
            with pytest.RaisesGroup(errors.Fenced, flatten_subgroups=True):
                await orchestrator.run(here.bus, old, clock=here.clock, settings=FAST)

        group.start_soon(paused)
        await here.create(world.an_evaluation(E[1]))
        await old.stopped.wait()
        async with world.running(orchestrator, here.bus, here.cluster, clock=here.clock, settings=FAST):
            await here.until_status(E[1], "Admitted")
            await here.cluster.delete(custom_resources.KINDS["Evaluation"], f"eval-{E[1]}")
            await here.until_status(E[1], "Failed", "Interrupted")
            await world.until(lambda: _gone(here, E[1]), what="the first resource's end")
            old.resume.set()
            await world.until(lambda: old.landed["create Evaluation"] == 1, what="the second resource")
            await world.until(lambda: _gone(here, E[1]), what="the second resource's end")
            assert await here.reported(E[1]) == [("Schedulable", None), ("Admitted", None), ("Failed", "Interrupted")]


async def _gone(here, entity_id):
    return await here.resource("Evaluation", entity_id) is None


async def test_orchestrators_that_fight_double_nothing(here):
    """Three that take the leadership from each other all the time, as no election would let them, admit each entity once and make
    each resource once; what they wrote to the log twice is folded once.
    """
    kind, chance = custom_resources.KINDS["Evaluation"], random.Random(5)
    terms: Counter[Any] = Counter()
    before = (await here.cluster.list(kind)).resource_version

    async def insist():
        while True:
            terms["begun"] += 1
            with anyio.move_on_after(chance.uniform(0.05, 0.6)), contextlib.suppress(errors.Fenced, BaseExceptionGroup):
                await orchestrator.run(here.bus, here.cluster, clock=here.clock, settings=FAST)

    wanted = E[1:15]
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(insist)
        for each in wanted:
            await here.create(world.an_evaluation(each))
            # real time: creates come one after the other, in the middle of what the leaders do
            await anyio.sleep(0.1)
        for each in wanted:
            await here.until_status(each, "Admitted")
        group.cancel_scope.cancel()
    assert terms["begun"] > 5
    made = [each.object["metadata"]["name"] async for each in here.cluster.watch(kind, before, timeout_s=0.5) if each.type == "ADDED"]
    assert sorted(made) == [f"eval-{each}" for each in wanted]
    assert await folded(here, wanted) == {each: ["Created", "Schedulable", "Admitted"] for each in wanted}


async def test_informers_that_run_twice_say_nothing_twice(here):
    """Both see every end, and each end is folded once, with the same command from either."""
    wanted = E[1:10]
    async with world.running(orchestrator, here.bus, here.cluster, clock=here.clock, settings=FAST):
        await here.create(*(world.an_evaluation(each) for each in wanted))
        async with (
            world.running(informer, here.bus, here.cluster, clock=here.clock),
            world.running(informer, here.bus, here.cluster, clock=here.clock),
        ):
            for each in wanted:
                await here.until_status(each, "Admitted")
                await here.set_condition("Evaluation", each, "Complete")
            for each in wanted:
                await here.until_status(each, "Complete")
    assert await folded(here, wanted) == {each: ["Created", "Schedulable", "Admitted", "Complete"] for each in wanted}


async def folded(here, wanted):
    """The statuses that each entity went through, as folded: a status is there as often as the entity came to it."""
    seen: dict[Any, list[Any]] = {each: [] for each in wanted}
    positions = set()
    for partition, held in (await here.bus.ranges(topics.STATE)).items():
        async with here.bus.read(topics.STATE, partition, held.first) as reader:
            while reader.position < held.end:
                for record in await reader.poll(500, 0.1):
                    state = envelope.state(record)
                    if state is None or state.entity is None or state.entity["id"] not in seen:
                        continue
                    if (record.key, state.status_source) not in positions:
                        positions.add((record.key, state.status_source))
                        seen[state.entity["id"]].append(state.entity["status"])
    return seen
