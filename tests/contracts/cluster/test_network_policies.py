"""What every adapter of the `Cluster` port guarantees of NetworkPolicies: they are kept as they were made, so they can be compared."""

from __future__ import annotations

import copy

import pytest

from dyff.cluster import owners, port
from dyff.entities import custom_resource
from dyff.kernel import errors, programs, settings
from dyff.operator import plan
from dyff.operator.manifests import network
from tests.contracts.cluster.objects import SESSION, a_session
from tests.contracts.cluster.test_deleting import until_gone
from tests.planning import world

DATA = {"kind": "Data", "name": "weights", "mountPath": "/weights", "source": {"kind": "Model", "id": world.OTHER}}
OPEN = {"service": settings.Image(command=("x",), network="outside")}
SETUPS = {
    "closed": plan.Setup(settings.Operator()),
    "outside": plan.Setup(settings.Operator(), {}, OPEN),
    "callers": plan.Setup(settings.Operator(programs=programs.Programs(callers=("10.0.0.0/8", "fd00::/8")))),
    "a store on the Internet": plan.Setup(settings.Operator(), {"DYFF_STORAGE_URL": "s3://bucket"}),
    "a store with an address": plan.Setup(settings.Operator(), {"DYFF_STORAGE_URL": "s3://bucket?endpoint=http://10.0.0.1:9000"}),
    "a store in the cluster": plan.Setup(settings.Operator(), {"DYFF_STORAGE_URL": "s3://bucket?endpoint=http://minio.minio.svc:9000"}),
    "everything": plan.Setup(
        settings.Operator(programs=programs.Programs(storage=("10.0.0.0/8",))), {"DYFF_STORAGE_URL": "s3://bucket"}, OPEN
    ),
}


def a_policy(name: str, setup: plan.Setup, owner: port.Object | None = None) -> port.Object:
    """The policy of a session with that name."""
    session = world.a_session(volumes=[DATA])
    session["metadata"] |= {"name": name, "uid": (owner or {"metadata": {"uid": ""}})["metadata"]["uid"]}
    made = network.build(session, "infer", setup)
    references = [owners.reference({**owner, "apiVersion": custom_resource.GROUP_VERSION, "kind": "InferenceSession"})] if owner else []
    made["metadata"] |= {"ownerReferences": references, "finalizers": []}
    return made


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
async def test_a_policy_is_read_as_it_was_made(cluster, name, setup):
    """Nothing is filled in or left out, so the operator does not write again what is right."""
    made = a_policy(name, setup)
    created = await cluster.create(port.NETWORK_POLICY, copy.deepcopy(made))
    assert created["spec"] == made["spec"]
    assert (await cluster.get(port.NETWORK_POLICY, name))["spec"] == made["spec"]


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
async def test_a_policy_of_a_step_is_read_as_it_was_made(cluster, name, setup):
    """Also one that lets nothing in, and perhaps nothing out."""
    analysis = world.an_analysis()
    analysis["metadata"] |= {"name": name, "uid": ""}
    made = network.of_step(analysis, name, "run", setup)
    made["metadata"] |= {"ownerReferences": [], "finalizers": []}
    created = await cluster.create(port.NETWORK_POLICY, copy.deepcopy(made))
    assert created["spec"] == made["spec"]
    assert (await cluster.get(port.NETWORK_POLICY, name))["spec"] == made["spec"]


async def test_a_policy_can_be_closed_and_opened(cluster, name):
    """A merge patch replaces the rules; a rule that is taken away is absent afterwards."""
    opened, closed = (a_policy(name, SETUPS[each])["spec"] for each in ("outside", "closed"))
    await cluster.create(port.NETWORK_POLICY, a_policy(name, SETUPS["outside"]))
    patched = await cluster.patch(port.NETWORK_POLICY, name, {"spec": {**closed, "egress": None}})
    assert patched["spec"] == closed
    patched = await cluster.patch(port.NETWORK_POLICY, name, {"spec": opened})
    assert patched["spec"] == opened


async def test_a_policy_goes_with_its_session(cluster, name):
    """It is garbage-collected with its owner."""
    session = await cluster.create(SESSION, a_session(name))
    await cluster.create(port.NETWORK_POLICY, a_policy(name, SETUPS["closed"], session))
    await cluster.delete(SESSION, name)
    await until_gone(cluster, port.NETWORK_POLICY, name)


@pytest.mark.parametrize("changes", [{"policyTypes": ["Sideways"]}, {"ingress": [{"from": [{}]}]}])
async def test_a_wrong_policy_is_refused(cluster, name, changes):
    """A direction that does not exist, and a peer that says nothing, are refused."""
    made = a_policy(name, SETUPS["closed"])
    made["spec"] |= changes
    with pytest.raises(errors.InvalidFields):
        await cluster.create(port.NETWORK_POLICY, made)
