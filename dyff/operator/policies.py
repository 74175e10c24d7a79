"""Keeps the NetworkPolicy of a resource's pods as it is wanted now. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from dyff.cluster import port
from dyff.operator import plan, pods


def ensure(observed: plan.Observed, wanted: port.Object) -> Iterator[plan.Action]:
    """Create the policy, or change it to what is wanted."""
    name = wanted["metadata"]["name"]
    found = observed.get(port.NETWORK_POLICY, name)
    if found is None:
        yield plan.Create(port.NETWORK_POLICY, wanted)
    elif found["spec"] != wanted["spec"] and not pods.deleting(found):
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        removed = {key: None for key in found["spec"] if key not in wanted["spec"]}
        yield plan.Patch(port.NETWORK_POLICY, name, {"metadata": version, "spec": {**wanted["spec"], **removed}})
