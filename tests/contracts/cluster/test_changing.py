"""What every adapter of the `Cluster` port guarantees of changes: versions, generations, status, patches.

Kubernetes is the reference: nothing here is ours alone.
"""

from __future__ import annotations

import uuid

import anyio
import pytest

from dyff.cluster import port
from dyff.kernel import errors
from tests.contracts.cluster.objects import EVALUATION, a_config, an_evaluation, condition


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
        "client": {"batchSize": 1, "totalTimeoutSeconds": 5},
        "interface": {"endpoint": "a", "outputSchema": {"arrowSchema": ""}, "inputPipeline": [{"kind": "x"}, {"kind": "y"}]},
    }
    await cluster.create(EVALUATION, an_evaluation(name, spec, annotations={"one": "1", "two": "2"}))
    patch = {
        "metadata": {"annotations": {"one": None, "three": "3"}},
        "spec": {"client": {"totalTimeoutSeconds": None}, "interface": {"inputPipeline": [{"kind": "z"}]}},
    }
    patched = await cluster.patch(EVALUATION, name, patch)
    assert patched["metadata"]["annotations"] == {"two": "2", "three": "3"}
    assert patched["spec"]["client"] == {"batchSize": 1}
    assert patched["spec"]["interface"] == {"endpoint": "a", "outputSchema": {"arrowSchema": ""}, "inputPipeline": [{"kind": "z"}]}
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
