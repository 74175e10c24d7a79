"""What every adapter of the `Cluster` port guarantees of deletion: preconditions, finalizers, dependents.

Kubernetes is the reference: nothing here is ours alone.
"""

from __future__ import annotations

import uuid

import anyio
import pytest

from dyff.cluster import port
from dyff.kernel import errors
from tests import waiting
from tests.contracts.cluster.objects import DEADLINE_S, EVALUATION, FINALIZER, SESSION, a_config, a_session, an_evaluation, condition


def an_owner(obj: port.Object) -> port.Object:
    metadata = obj["metadata"]
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": metadata["name"], "uid": metadata["uid"]}


async def until_gone(cluster: port.Cluster, kind: port.Kind, name: str) -> None:
    with anyio.fail_after(DEADLINE_S):
        while await cluster.get(kind, name) is not None:
            await waiting.a_moment()


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
    session = await cluster.create(SESSION, a_session(f"{name}-session", ownerReferences=[an_owner(owner)]))
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
            await waiting.a_moment()
    await cluster.patch(port.CONFIG_MAP, name, {"metadata": {"finalizers": None}})
    await until_gone(cluster, port.CONFIG_MAP, name)
