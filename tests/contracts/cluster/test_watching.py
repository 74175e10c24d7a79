"""What every adapter of the `Cluster` port guarantees of watches.

Kubernetes is the reference: nothing here is ours alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import random

import anyio
import pytest

from dyff.cluster import port
from dyff.kernel import errors
from tests.contracts.cluster.objects import DEADLINE_S, EVALUATION, FINALIZER, a_config, an_evaluation, condition
from tests.narrowing import closing_stream


async def watched(
    cluster: port.Cluster, kind: port.Kind, version: str, count: int, labels: dict[str, str] | None = None
) -> list[port.Event]:
    """The first `count` events after `version` that are not bookmarks."""
    events: list[port.Event] = []
    with anyio.fail_after(DEADLINE_S):
        async with closing_stream(cluster.watch(kind, version, timeout_s=DEADLINE_S, labels=labels)) as stream:
            async for event in stream:
                if event.type != "BOOKMARK":
                    events.append(event)
                if len(events) == count:
                    break
    return events


def reported(events: list[port.Event]) -> list[tuple[str, str]]:
    return [(event.type, event.object["metadata"]["name"]) for event in events]


async def test_a_watch_reports_every_change_in_order(cluster, name):
    """A watch from a list's version tells each later change once, in the order of the versions."""
    await cluster.create(port.CONFIG_MAP, a_config(f"{name}-before", labels={"run": name}))
    listing = await cluster.list(port.CONFIG_MAP, {"run": name})
    await cluster.create(port.CONFIG_MAP, a_config(name, labels={"run": name}))
    for number in range(5):
        await cluster.patch(port.CONFIG_MAP, name, {"data": {"n": str(number)}})
    await cluster.delete(port.CONFIG_MAP, name)
    events = await watched(cluster, port.CONFIG_MAP, listing.resource_version, 7, {"run": name})
    assert reported(events) == [("ADDED", name), *[("MODIFIED", name)] * 5, ("DELETED", name)]
    assert [event.object["data"].get("n") for event in events[1:6]] == ["0", "1", "2", "3", "4"]
    assert events[-1].object["data"]["n"] == "4"
    versions = [int(event.object["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


async def test_a_watch_continues_from_any_event(cluster, name):
    """A watch that begins at an event's version tells what came after that event, and nothing twice."""
    listing = await cluster.list(port.CONFIG_MAP)
    for number in range(6):
        await cluster.create(port.CONFIG_MAP, a_config(f"{name}-{number}", labels={"run": name}))
    first = await watched(cluster, port.CONFIG_MAP, listing.resource_version, 3, {"run": name})
    rest = await watched(cluster, port.CONFIG_MAP, first[-1].object["metadata"]["resourceVersion"], 3, {"run": name})
    assert [each for _, each in reported(first + rest)] == [f"{name}-{number}" for number in range(6)]


async def test_a_watch_sees_changes_while_it_waits(cluster, name):
    """An open watch gets a change without asking again."""
    listing = await cluster.list(EVALUATION, {"run": name})
    events: list[port.Event] = []

    async def follow() -> None:
        events.extend(await watched(cluster, EVALUATION, listing.resource_version, 2, {"run": name}))

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        await cluster.create(EVALUATION, an_evaluation(name, labels={"run": name}))
        await cluster.patch(EVALUATION, name, {"status": condition("True")}, status=True)
    assert reported(events) == [("ADDED", name), ("MODIFIED", name)]
    assert events[1].object["status"] == condition("True")


async def test_a_watch_with_labels_follows_what_matches(cluster, name):
    """An object that begins to match is ADDED, one that ceases to is DELETED, others are not reported."""
    listing = await cluster.list(port.CONFIG_MAP)
    await cluster.create(port.CONFIG_MAP, a_config(name, labels={"run": name, "part": "other"}))
    await cluster.patch(port.CONFIG_MAP, name, {"metadata": {"labels": {"part": "mine"}}})
    await cluster.patch(port.CONFIG_MAP, name, {"data": {"a": "b"}})
    gone = await cluster.patch(port.CONFIG_MAP, name, {"metadata": {"labels": {"part": "other"}}})
    await cluster.patch(port.CONFIG_MAP, name, {"data": {"c": "d"}})
    await cluster.create(port.CONFIG_MAP, a_config(f"{name}-end", labels={"run": name, "part": "mine"}))
    events = await watched(cluster, port.CONFIG_MAP, listing.resource_version, 4, {"run": name, "part": "mine"})
    assert reported(events) == [("ADDED", name), ("MODIFIED", name), ("DELETED", name), ("ADDED", f"{name}-end")]
    assert events[2].object["metadata"]["labels"]["part"] == "mine"
    assert events[2].object["metadata"]["resourceVersion"] == gone["metadata"]["resourceVersion"]


@pytest.mark.parametrize("seed", range(3))
async def test_a_list_and_the_changes_after_it_make_a_later_list(cluster, name, seed):
    """A client that lists once and then follows the changes knows, for any labels, exactly what a later list would say."""
    chance = random.Random(seed)
    listing = await cluster.list(port.CONFIG_MAP)
    await asyncio.gather(*(change_at_random(cluster, f"{name}-{writer}", name, random.Random(chance.random()), 25) for writer in range(4)))
    await cluster.create(port.CONFIG_MAP, a_config(f"{name}-end", labels={"run": name, "part": "a", "end": "end"}))
    for labels in ({"run": name}, {"run": name, "part": "a"}):
        known: dict[str, port.Object] = {}
        async with contextlib.aclosing(
            cluster.watch(port.CONFIG_MAP, listing.resource_version, timeout_s=DEADLINE_S, labels=labels)
        ) as stream:
            async for event in stream:
                follow(known, event)
                if f"{name}-end" in known:
                    break
        assert {each["metadata"]["name"]: each for each in (await cluster.list(port.CONFIG_MAP, labels)).items} == known


def follow(known: dict[str, port.Object], event: port.Event) -> None:
    if event.type == "BOOKMARK":
        return
    name = event.object["metadata"]["name"]
    assert (name in known) == (event.type != "ADDED"), f"{event.type} of {name}"
    known.pop(name, None)
    if event.type != "DELETED":
        known[name] = event.object


async def change_at_random(cluster: port.Cluster, name: str, run: str, chance: random.Random, steps: int) -> None:
    for step in range(steps):
        labels = {"run": run, "part": chance.choice("ab")}
        if await cluster.get(port.CONFIG_MAP, name) is None:
            await cluster.create(port.CONFIG_MAP, a_config(name, {"step": str(step)}, labels=labels))
        elif chance.random() < 0.2:
            await cluster.delete(port.CONFIG_MAP, name)
        else:
            await cluster.patch(port.CONFIG_MAP, name, {"metadata": {"labels": labels}, "data": {"step": str(step)}})


async def test_a_watch_is_of_one_kind(cluster, name):
    """Changes of other kinds are not reported."""
    listing = await cluster.list(EVALUATION)
    await cluster.create(port.CONFIG_MAP, a_config(name, labels={"run": name}))
    await cluster.create(EVALUATION, an_evaluation(name, labels={"run": name}))
    events = await watched(cluster, EVALUATION, listing.resource_version, 1, {"run": name})
    assert [event.object["kind"] for event in events] == ["Evaluation"]


async def test_a_watch_reports_finalization(cluster, name):
    """The mark is MODIFIED, the end is DELETED."""
    created = await cluster.create(EVALUATION, an_evaluation(name, finalizers=[FINALIZER], labels={"run": name}))
    await cluster.delete(EVALUATION, name)
    await cluster.patch(EVALUATION, name, {"metadata": {"finalizers": None}})
    events = await watched(cluster, EVALUATION, created["metadata"]["resourceVersion"], 2, {"run": name})
    assert reported(events) == [("MODIFIED", name), ("DELETED", name)]
    assert "deletionTimestamp" in events[0].object["metadata"]


async def test_a_watch_ends_by_itself(cluster, name):
    """A watch ends after about its timeout, without an error."""
    listing = await cluster.list(port.CONFIG_MAP)
    with anyio.fail_after(DEADLINE_S):
        events = [event async for event in cluster.watch(port.CONFIG_MAP, listing.resource_version, timeout_s=1.0, labels={"run": name})]
    assert {event.type for event in events} <= {"BOOKMARK"}


async def test_a_watch_from_a_forgotten_version_has_expired(cluster, name):
    """A watch from before the history says so, so that its client lists again."""
    await cluster.create(EVALUATION, an_evaluation(name))
    with pytest.raises(errors.WatchExpired):
        await watched(cluster, EVALUATION, "1", 1)
