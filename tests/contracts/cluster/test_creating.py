"""What every adapter of the `Cluster` port guarantees of creating and reading.

Kubernetes is the reference: nothing here is ours alone.
"""

from __future__ import annotations

import anyio
import pytest

from dyff.cluster import port
from dyff.kernel import clock, errors
from tests.contracts.cluster.objects import EVALUATION, a_config, an_evaluation, condition


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


async def test_a_custom_resource_with_a_wrong_spec_is_refused(cluster, name):
    """What the definition does not allow is refused with the field's name, also as a change; an unknown field is dropped."""
    for changes, field in (
        ({"dataset": None}, "dataset"),
        ({"replications": 0}, "replications"),
        ({"interface": {"endpoint": "generate"}}, "interface.outputSchema"),
        ({"inferenceSession": {"runner": "mock"}}, "inferenceSessionReference"),
    ):
        spec = {key: value for key, value in {**an_evaluation(name)["spec"], **changes}.items() if value is not None}
        with pytest.raises(errors.InvalidFields, match=field):
            await cluster.create(EVALUATION, {**an_evaluation(name), "spec": spec})
    created = await cluster.create(EVALUATION, an_evaluation(name, {"unknown": 1}))
    assert "unknown" not in created["spec"]
    with pytest.raises(errors.InvalidFields, match="replications"):
        await cluster.patch(EVALUATION, name, {"spec": {"replications": 0}})
    assert await cluster.get(EVALUATION, name) == created
