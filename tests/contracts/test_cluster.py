"""What every adapter of the `Cluster` port guarantees. Kubernetes is the reference: nothing here is ours alone."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator

import anyio
import pytest

from dyff.cluster import port
from dyff.cluster.embedded import EmbeddedCluster, LocalControllers
from dyff.entities import resources
from dyff.kernel import clock, errors, ids

EVALUATION = port.Kind(resources.GROUP_VERSION, "Evaluation", "evaluations")
SESSION = port.Kind(resources.GROUP_VERSION, "InferenceSession", "inferencesessions")
FINALIZER = "dyff.io/test"
DEADLINE_S = 20.0


@pytest.fixture(params=["cluster:embedded"])
async def cluster(request, tmp_path) -> AsyncIterator[port.Cluster]:
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


@pytest.fixture
def name() -> str:
    """A name of its own, since a real cluster is shared by the tests."""
    return f"contract-{uuid.uuid4().hex[:12]}"


def a_config(name: str, data: dict[str, str] | None = None, **metadata) -> port.Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {"key": "value"}}


def an_evaluation(name: str, spec: port.Object | None = None, **metadata) -> port.Object:
    spec = {"id": "0" * 32, "account": "1" * 32, "dataset": "2" * 32, **(spec or {})}
    return {"apiVersion": EVALUATION.api_version, "kind": "Evaluation", "metadata": {"name": name, **metadata}, "spec": spec}


def an_owner(obj: port.Object) -> port.Object:
    metadata = obj["metadata"]
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": metadata["name"], "uid": metadata["uid"]}


def condition(status: str) -> port.Object:
    return {
        "conditions": [
            {"type": "Complete", "status": status, "reason": "Test", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ]
    }


async def until_gone(cluster: port.Cluster, kind: port.Kind, name: str) -> None:
    with anyio.fail_after(DEADLINE_S):
        while await cluster.get(kind, name) is not None:
            await anyio.sleep(0.02)


async def watched(
    cluster: port.Cluster, kind: port.Kind, version: str, count: int, labels: dict[str, str] | None = None
) -> list[port.Event]:
    """The first `count` events after `version` that are not bookmarks."""
    events: list[port.Event] = []
    with anyio.fail_after(DEADLINE_S):
        async with contextlib.aclosing(cluster.watch(kind, version, timeout_s=DEADLINE_S, labels=labels)) as stream:
            async for event in stream:
                if event.type != "BOOKMARK":
                    events.append(event)
                if len(events) == count:
                    break
    return events


def told(events: list[port.Event]) -> list[tuple[str, str]]:
    return [(event.type, event.object["metadata"]["name"]) for event in events]


async def test_created_objects_can_be_read(cluster, name):
    """Create returns the stored object with the server's metadata, and get returns the same."""
    created = await cluster.create(port.CONFIG_MAP, a_config(name, {"a": "1"}, labels={"l": "x"}))
    assert created["data"] == {"a": "1"}
    assert created["metadata"]["labels"] == {"l": "x"}
    assert {"uid", "resourceVersion", "creationTimestamp"} <= created["metadata"].keys()
    assert clock.parse_iso(created["metadata"]["creationTimestamp"])
    assert await cluster.get(port.CONFIG_MAP, name) == created


async def test_absent_objects_are_none(cluster, name):
    """Get of a name that is not there is None, not an error."""
    assert await cluster.get(port.CONFIG_MAP, name) is None


async def test_a_name_is_taken_once(cluster, name):
    """A second create of a name is refused and changes nothing."""
    first = await cluster.create(port.CONFIG_MAP, a_config(name))
    with pytest.raises(errors.AlreadyExists):
        await cluster.create(port.CONFIG_MAP, a_config(name, {"other": "data"}))
    assert await cluster.get(port.CONFIG_MAP, name) == first


async def test_names_belong_to_a_kind(cluster, name):
    """Objects of different kinds may share a name."""
    config = await cluster.create(port.CONFIG_MAP, a_config(name))
    evaluation = await cluster.create(EVALUATION, an_evaluation(name))
    assert config["metadata"]["uid"] != evaluation["metadata"]["uid"]
    assert (await cluster.get(port.CONFIG_MAP, name))["kind"] == "ConfigMap"


async def test_concurrent_creates_have_one_winner(cluster, name):
    """Of many creates of one name at once exactly one succeeds."""
    outcomes: list[str] = []

    async def create(number: int) -> None:
        try:
            await cluster.create(port.CONFIG_MAP, a_config(name, {"n": str(number)}))
            outcomes.append("created")
        except errors.AlreadyExists:
            outcomes.append("taken")

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(create, number)
    assert sorted(outcomes) == ["created"] + ["taken"] * 7


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        pytest.param({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}, "name", id="no name"),
        pytest.param(a_config("Capital"), "name", id="a name with capitals"),
        pytest.param(a_config("under_score"), "name", id="a name with an underscore"),
        pytest.param(a_config("n" * 254), "name", id="a name that is too long"),
        pytest.param(a_config("labelled", labels={"key": "not a label"}), "labels", id="a label with a space"),
        pytest.param(a_config("labelled", labels={"key": "v" * 64}), "labels", id="a label that is too long"),
        pytest.param(a_config("labelled", labels={"/key": "value"}), "labels", id="a label key without a domain before its slash"),
        pytest.param(a_config("keyed", {"not/a/file": "value"}), "data", id="a ConfigMap key that is no file name"),
        pytest.param(
            a_config("owned", ownerReferences=[{"apiVersion": "v1", "kind": "ConfigMap", "name": "n"}]), "uid", id="an owner without uid"
        ),
    ],
)
async def test_bad_objects_are_refused(cluster, obj, field):
    """What the API server refuses is InvalidFields that names the field, and nothing is created."""
    with pytest.raises(errors.InvalidFields, match=field):
        await cluster.create(port.CONFIG_MAP, obj)


async def test_create_drops_status(cluster, name):
    """Status is set through its subresource only: what a create carries of it is dropped."""
    created = await cluster.create(EVALUATION, {**an_evaluation(name), "status": condition("True")})
    assert not created.get("status")


async def test_lists_are_sorted_out_by_labels(cluster, name):
    """A list holds exactly the objects that have all of the labels, and a version to watch from."""
    for suffix, labels in (("a", {"run": name, "part": "x"}), ("b", {"run": name, "part": "y"}), ("c", {"part": "x"})):
        await cluster.create(port.CONFIG_MAP, a_config(f"{name}-{suffix}", labels=labels))
    listing = await cluster.list(port.CONFIG_MAP, {"run": name})
    assert [each["metadata"]["name"] for each in listing.items] == [f"{name}-a", f"{name}-b"]
    both = await cluster.list(port.CONFIG_MAP, {"run": name, "part": "x"})
    assert [each["metadata"]["name"] for each in both.items] == [f"{name}-a"]
    assert (await cluster.list(port.CONFIG_MAP, {"run": f"{name}-not"})).items == ()
    everything = [each["metadata"]["name"] for each in (await cluster.list(port.CONFIG_MAP)).items]
    assert {f"{name}-a", f"{name}-b", f"{name}-c"} <= set(everything)


async def test_generation_counts_changes_of_spec(cluster, name):
    """Labels and status leave the generation alone, a change of spec adds one; each write makes a new version."""
    versions = []
    obj = await cluster.create(EVALUATION, an_evaluation(name))
    assert obj["metadata"]["generation"] == 1
    for patch, status, want in (
        ({"metadata": {"labels": {"a": "b"}}}, False, 1),
        ({"status": condition("False")}, True, 1),
        ({"spec": {"replications": 3}}, False, 2),
        ({"spec": {"replications": 4}}, False, 3),
    ):
        versions.append(obj["metadata"]["resourceVersion"])
        obj = await cluster.patch(EVALUATION, name, patch, status=status)
        assert obj["metadata"]["generation"] == want
        assert obj["metadata"]["resourceVersion"] not in versions


async def test_patches_that_change_nothing_are_no_change(cluster, name):
    """A patch to what already is leaves version and generation as they are."""
    created = await cluster.create(EVALUATION, an_evaluation(name, labels={"a": "b"}))
    same = await cluster.patch(EVALUATION, name, {"metadata": {"labels": {"a": "b"}}, "spec": {"dataset": "2" * 32}})
    assert same["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_merge_patches_merge(cluster, name):
    """Objects are merged key by key, null removes, lists are replaced."""
    spec = {
        "client": {"maxRetries": 1, "totalTimeoutSeconds": 5},
        "interface": {"endpoint": "a", "inputPipeline": [{"kind": "x"}, {"kind": "y"}]},
    }
    await cluster.create(EVALUATION, an_evaluation(name, spec, annotations={"one": "1", "two": "2"}))
    patch = {
        "metadata": {"annotations": {"one": None, "three": "3"}},
        "spec": {"client": {"totalTimeoutSeconds": None}, "interface": {"inputPipeline": [{"kind": "z"}]}},
    }
    patched = await cluster.patch(EVALUATION, name, patch)
    assert patched["metadata"]["annotations"] == {"two": "2", "three": "3"}
    assert patched["spec"]["client"] == {"maxRetries": 1}
    assert patched["spec"]["interface"] == {"endpoint": "a", "inputPipeline": [{"kind": "z"}]}
    assert await cluster.get(EVALUATION, name) == patched


async def test_status_and_spec_are_written_apart(cluster, name):
    """A status patch changes the status only, any other write leaves the status alone."""
    await cluster.create(EVALUATION, an_evaluation(name))
    status = await cluster.patch(EVALUATION, name, {"spec": {"replications": 9}, "status": condition("True")}, status=True)
    assert status["status"] == condition("True")
    assert "replications" not in status["spec"]
    spec = await cluster.patch(EVALUATION, name, {"spec": {"replications": 2}, "status": condition("False")})
    assert (spec["status"], spec["spec"]["replications"]) == (condition("True"), 2)
    replaced = await cluster.replace(EVALUATION, {**spec, "spec": {**spec["spec"], "replications": 3}, "status": {}})
    assert (replaced["status"], replaced["spec"]["replications"]) == (condition("True"), 3)


async def test_the_servers_metadata_cannot_be_written(cluster, name):
    """Writes leave uid, creation time and generation as the server has them."""
    created = await cluster.create(EVALUATION, an_evaluation(name))
    patch = {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 77, "labels": {"a": "b"}}}
    patched = await cluster.patch(EVALUATION, name, patch)
    for field in ("uid", "creationTimestamp", "generation"):
        assert patched["metadata"][field] == created["metadata"][field]


async def test_replace_demands_the_current_version(cluster, name):
    """Replace with the current version replaces everything but status; with an older one it is refused."""
    first = await cluster.create(port.CONFIG_MAP, a_config(name, {"a": "1"}, labels={"l": "x"}))
    second = await cluster.replace(port.CONFIG_MAP, {**first, "data": {"b": "2"}})
    assert second["data"] == {"b": "2"}
    with pytest.raises(errors.StaleVersion):
        await cluster.replace(port.CONFIG_MAP, {**first, "data": {"c": "3"}})
    assert await cluster.get(port.CONFIG_MAP, name) == second


async def test_replace_of_an_absent_object_is_not_found(cluster, name):
    """Replace creates nothing."""
    created = await cluster.create(port.CONFIG_MAP, a_config(name))
    await cluster.delete(port.CONFIG_MAP, name)
    with pytest.raises(errors.NotFound):
        await cluster.replace(port.CONFIG_MAP, created)


async def test_a_patch_may_demand_a_version_or_a_uid(cluster, name):
    """`metadata.resourceVersion` and `metadata.uid` in a patch are preconditions, for spec and status alike."""
    first = await cluster.create(EVALUATION, an_evaluation(name))
    version, uid = first["metadata"]["resourceVersion"], first["metadata"]["uid"]
    await cluster.patch(EVALUATION, name, {"metadata": {"resourceVersion": version, "uid": uid}, "spec": {"replications": 2}})
    for status in (False, True):
        with pytest.raises(errors.StaleVersion):
            await cluster.patch(EVALUATION, name, {"metadata": {"resourceVersion": version}, "status": condition("True")}, status=status)
    with pytest.raises(errors.StaleVersion):
        await cluster.patch(EVALUATION, name, {"metadata": {"uid": str(uuid.uuid4())}, "spec": {"replications": 3}})
    assert (await cluster.get(EVALUATION, name))["spec"]["replications"] == 2


async def test_a_patch_of_an_absent_object_is_not_found(cluster, name):
    """Patch creates nothing."""
    with pytest.raises(errors.NotFound):
        await cluster.patch(port.CONFIG_MAP, name, {"data": {"a": "b"}})


async def test_concurrent_patches_lose_nothing(cluster, name):
    """Patches of different keys at once all take effect."""
    await cluster.create(port.CONFIG_MAP, a_config(name, {"start": "x"}))
    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(cluster.patch, port.CONFIG_MAP, name, {"data": {f"k{number}": str(number)}})
    assert (await cluster.get(port.CONFIG_MAP, name))["data"] == {"start": "x", **{f"k{n}": str(n) for n in range(10)}}


async def test_delete_removes(cluster, name):
    """A deleted object is gone, deleting it again is fine, and its name is free for an object with another uid."""
    first = await cluster.create(port.CONFIG_MAP, a_config(name))
    await cluster.delete(port.CONFIG_MAP, name)
    assert await cluster.get(port.CONFIG_MAP, name) is None
    await cluster.delete(port.CONFIG_MAP, name)
    second = await cluster.create(port.CONFIG_MAP, a_config(name))
    assert second["metadata"]["uid"] != first["metadata"]["uid"]


async def test_delete_may_demand_a_uid(cluster, name):
    """Delete with another uid is refused and leaves the object; with its own uid it works; absent is fine."""
    created = await cluster.create(port.CONFIG_MAP, a_config(name))
    with pytest.raises(errors.StaleVersion):
        await cluster.delete(port.CONFIG_MAP, name, uid=str(uuid.uuid4()))
    assert await cluster.get(port.CONFIG_MAP, name) == created
    await cluster.delete(port.CONFIG_MAP, name, uid=created["metadata"]["uid"])
    await cluster.delete(port.CONFIG_MAP, name, uid=created["metadata"]["uid"])
    assert await cluster.get(port.CONFIG_MAP, name) is None


async def test_finalizers_keep_an_object(cluster, name):
    """Delete only marks an object with finalizers; it goes when the last of them does."""
    await cluster.create(EVALUATION, an_evaluation(name, finalizers=[FINALIZER, f"{FINALIZER}-two"]))
    await cluster.delete(EVALUATION, name)
    marked = await cluster.get(EVALUATION, name)
    assert marked["metadata"]["deletionTimestamp"]
    await cluster.delete(EVALUATION, name)
    assert (await cluster.get(EVALUATION, name))["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    await cluster.patch(EVALUATION, name, {"status": condition("True")}, status=True)
    await cluster.patch(EVALUATION, name, {"metadata": {"finalizers": [FINALIZER]}})
    assert (await cluster.get(EVALUATION, name))["status"] == condition("True")
    await cluster.patch(EVALUATION, name, {"metadata": {"finalizers": []}})
    assert await cluster.get(EVALUATION, name) is None


async def test_finalizers_cannot_be_added_to_what_is_being_deleted(cluster, name):
    """After the mark finalizers can only go."""
    await cluster.create(EVALUATION, an_evaluation(name, finalizers=[FINALIZER]))
    await cluster.delete(EVALUATION, name)
    with pytest.raises(errors.InvalidFields, match="finalizers"):
        await cluster.patch(EVALUATION, name, {"metadata": {"finalizers": [FINALIZER, f"{FINALIZER}-two"]}})
    await cluster.patch(EVALUATION, name, {"metadata": {"finalizers": None}})
    assert await cluster.get(EVALUATION, name) is None


async def test_dependents_go_with_their_owner(cluster, name):
    """When an owner is deleted, what it owns is deleted in the background, and what that owns too."""
    owner = await cluster.create(EVALUATION, an_evaluation(name))
    middle = an_evaluation(f"{name}-session", ownerReferences=[an_owner(owner)]) | {"kind": "InferenceSession"}
    session = await cluster.create(SESSION, middle)
    await cluster.create(port.CONFIG_MAP, a_config(name, ownerReferences=[an_owner(session)]))
    await cluster.delete(EVALUATION, name)
    await until_gone(cluster, SESSION, f"{name}-session")
    await until_gone(cluster, port.CONFIG_MAP, name)


async def test_owners_are_known_by_uid(cluster, name):
    """A dependent of an owner that is gone goes, even if something new has the owner's name."""
    first = await cluster.create(EVALUATION, an_evaluation(name))
    await cluster.delete(EVALUATION, name)
    second = await cluster.create(EVALUATION, an_evaluation(name))
    await cluster.create(port.CONFIG_MAP, a_config(f"{name}-mine", ownerReferences=[an_owner(second)]))
    await cluster.create(port.CONFIG_MAP, a_config(f"{name}-orphan", ownerReferences=[an_owner(first)]))
    await until_gone(cluster, port.CONFIG_MAP, f"{name}-orphan")
    assert await cluster.get(port.CONFIG_MAP, f"{name}-mine") is not None


async def test_one_owner_is_enough(cluster, name):
    """A dependent of several owners stays until the last of them is gone."""
    owners = [await cluster.create(EVALUATION, an_evaluation(f"{name}-{number}")) for number in range(2)]
    await cluster.create(port.CONFIG_MAP, a_config(name, ownerReferences=[an_owner(each) for each in owners]))
    await cluster.create(port.CONFIG_MAP, a_config(f"{name}-first", ownerReferences=[an_owner(owners[0])]))
    await cluster.delete(EVALUATION, f"{name}-0")
    await until_gone(cluster, port.CONFIG_MAP, f"{name}-first")
    assert await cluster.get(port.CONFIG_MAP, name) is not None
    await cluster.delete(EVALUATION, f"{name}-1")
    await until_gone(cluster, port.CONFIG_MAP, name)


async def test_finalizers_hold_dependents_too(cluster, name):
    """A dependent with a finalizer is only marked when its owner goes."""
    owner = await cluster.create(EVALUATION, an_evaluation(name))
    await cluster.create(port.CONFIG_MAP, a_config(name, ownerReferences=[an_owner(owner)], finalizers=[FINALIZER]))
    await cluster.delete(EVALUATION, name)
    with anyio.fail_after(DEADLINE_S):
        while "deletionTimestamp" not in (await cluster.get(port.CONFIG_MAP, name))["metadata"]:
            await anyio.sleep(0.02)
    await cluster.patch(port.CONFIG_MAP, name, {"metadata": {"finalizers": None}})
    await until_gone(cluster, port.CONFIG_MAP, name)


async def test_a_watch_tells_every_change_in_order(cluster, name):
    """A watch from a list's version tells each later change once, in the order of the versions."""
    await cluster.create(port.CONFIG_MAP, a_config(f"{name}-before", labels={"run": name}))
    listing = await cluster.list(port.CONFIG_MAP, {"run": name})
    await cluster.create(port.CONFIG_MAP, a_config(name, labels={"run": name}))
    for number in range(5):
        await cluster.patch(port.CONFIG_MAP, name, {"data": {"n": str(number)}})
    await cluster.delete(port.CONFIG_MAP, name)
    events = await watched(cluster, port.CONFIG_MAP, listing.resource_version, 7, {"run": name})
    assert told(events) == [("ADDED", name), *[("MODIFIED", name)] * 5, ("DELETED", name)]
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
    assert [each for _, each in told(first + rest)] == [f"{name}-{number}" for number in range(6)]


async def test_a_watch_sees_changes_while_it_waits(cluster, name):
    """An open watch is told of a change without asking again."""
    listing = await cluster.list(EVALUATION, {"run": name})
    events: list[port.Event] = []

    async def follow() -> None:
        events.extend(await watched(cluster, EVALUATION, listing.resource_version, 2, {"run": name}))

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await anyio.sleep(0.05)
        await cluster.create(EVALUATION, an_evaluation(name, labels={"run": name}))
        await cluster.patch(EVALUATION, name, {"status": condition("True")}, status=True)
    assert told(events) == [("ADDED", name), ("MODIFIED", name)]
    assert events[1].object["status"] == condition("True")


async def test_a_watch_with_labels_follows_what_matches(cluster, name):
    """An object that begins to match is ADDED, one that ceases to is DELETED, others are not told."""
    listing = await cluster.list(port.CONFIG_MAP)
    await cluster.create(port.CONFIG_MAP, a_config(name, labels={"run": name, "part": "other"}))
    await cluster.patch(port.CONFIG_MAP, name, {"metadata": {"labels": {"part": "mine"}}})
    await cluster.patch(port.CONFIG_MAP, name, {"data": {"a": "b"}})
    gone = await cluster.patch(port.CONFIG_MAP, name, {"metadata": {"labels": {"part": "other"}}})
    await cluster.patch(port.CONFIG_MAP, name, {"data": {"c": "d"}})
    await cluster.create(port.CONFIG_MAP, a_config(f"{name}-end", labels={"run": name, "part": "mine"}))
    events = await watched(cluster, port.CONFIG_MAP, listing.resource_version, 4, {"run": name, "part": "mine"})
    assert told(events) == [("ADDED", name), ("MODIFIED", name), ("DELETED", name), ("ADDED", f"{name}-end")]
    assert events[2].object["metadata"]["labels"]["part"] == "mine"
    assert events[2].object["metadata"]["resourceVersion"] == gone["metadata"]["resourceVersion"]


@pytest.mark.parametrize("seed", range(3))
async def test_a_list_and_the_changes_after_it_make_a_later_list(cluster, name, seed):
    """Whoever lists once and then follows the changes knows, for any labels, exactly what a later list would say."""
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
    """Changes of other kinds are not told."""
    listing = await cluster.list(EVALUATION)
    await cluster.create(port.CONFIG_MAP, a_config(name, labels={"run": name}))
    await cluster.create(EVALUATION, an_evaluation(name, labels={"run": name}))
    events = await watched(cluster, EVALUATION, listing.resource_version, 1, {"run": name})
    assert [event.object["kind"] for event in events] == ["Evaluation"]


async def test_a_watch_tells_of_finalization(cluster, name):
    """The mark is MODIFIED, the end is DELETED."""
    created = await cluster.create(EVALUATION, an_evaluation(name, finalizers=[FINALIZER], labels={"run": name}))
    await cluster.delete(EVALUATION, name)
    await cluster.patch(EVALUATION, name, {"metadata": {"finalizers": None}})
    events = await watched(cluster, EVALUATION, created["metadata"]["resourceVersion"], 2, {"run": name})
    assert told(events) == [("MODIFIED", name), ("DELETED", name)]
    assert "deletionTimestamp" in events[0].object["metadata"]


async def test_a_watch_ends_by_itself(cluster, name):
    """A watch ends after about its timeout, without an error."""
    listing = await cluster.list(port.CONFIG_MAP)
    with anyio.fail_after(DEADLINE_S):
        events = [event async for event in cluster.watch(port.CONFIG_MAP, listing.resource_version, timeout_s=1.0, labels={"run": name})]
    assert {event.type for event in events} <= {"BOOKMARK"}


async def test_a_watch_from_a_forgotten_version_has_expired(cluster, name):
    """A watch from before the history says so, so that its client lists again."""
    await cluster.create(port.CONFIG_MAP, a_config(name))
    with pytest.raises(errors.WatchExpired):
        await watched(cluster, port.CONFIG_MAP, "1", 1)


async def test_objects_are_copies(cluster, name):
    """Whoever changes an object that was given or returned changes nothing in the cluster."""
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
    urls = await cluster.service_url(name), await cluster.pod_service_url(name)
    assert all(url.startswith("http") for url in urls)
    without = {**created, "metadata": {key: value for key, value in created["metadata"].items() if key != "annotations"}}
    await cluster.replace(port.SERVICE, {**without, "spec": {**created["spec"], "selector": {"app": "other"}}})
    assert (await cluster.service_url(name), await cluster.pod_service_url(name)) == urls
    await cluster.delete(port.SERVICE, name)
    assert await cluster.service_url(name) is None
