"""Validation of objects, as the API server does it, before anything is stored. Pure.

Specs are checked as far as our controllers and the kubelet rely on them. Features of Kubernetes that the local cluster
lacks (several completions, suspension, several ports of a Service) are refused explicitly rather than ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from dyff.cluster import port
from dyff.cluster.embedded import codec, kinds, names, podspecs
from dyff.cluster.embedded.problems import Found, Path, items, mapping, problem
from dyff.entities import registry, specs
from dyff.kernel import errors

_CONFIG_BYTES = 2**20
_PORTS = range(1, 65536)


def check_envelope(resource: kinds.Resource, obj: Any) -> None:
    """Check that the object has the type as which it was sent, and metadata.

    Raises:
        InvalidFields: it does not.
    """
    expected = {"apiVersion": resource.kind.api_version, "kind": resource.kind.kind}
    found = [problem(("body", key), f"must be {value}") for key, value in expected.items() if obj.get(key, value) != value]
    if not isinstance(obj.get("metadata"), dict):
        found.append(problem(("body", "metadata"), "must be an object with at least a name"))
    _raise(found)


def check(resource: kinds.Resource, obj: port.Object) -> None:
    """Check an object on its own, without its previous state.

    Raises:
        InvalidFields: the object is invalid; every problem is named.
    """
    found = [*names.metadata(obj["metadata"], resource.name_length)]
    if resource.kind != port.CONFIG_MAP and not isinstance(obj.get("spec", {}), dict):
        found.append(problem(("body", "spec"), "must be an object"))
    elif resource.kind in _SPECS:
        found.extend(_SPECS[resource.kind](obj))
    _raise(found)


def check_change(resource: kinds.Resource, old: port.Object, new: port.Object) -> None:
    """Check that immutable fields of an object have not changed.

    Raises:
        InvalidFields: an immutable field has changed.
    """
    found = []
    if new["metadata"].get("name") != old["metadata"]["name"]:
        found.append(problem(("body", "metadata", "name"), f"must stay {old['metadata']['name']}"))
    if "deletionTimestamp" in old["metadata"]:
        added = set(new["metadata"].get("finalizers", [])) - set(old["metadata"].get("finalizers", []))
        if added:
            found.append(
                problem(("body", "metadata", "finalizers"), f"cannot be added to an object that is being deleted: {sorted(added)}")
            )
    changed = [field for field in _FIXED.get(resource.kind, ()) if not codec.same(old["spec"].get(field), new["spec"].get(field))]
    found.extend(problem(("body", "spec", field), "cannot change after creation") for field in changed)
    if resource.kind == port.POD and not codec.same(podspecs.fixed(old["spec"]), podspecs.fixed(new["spec"])):
        found.append(problem(("body", "spec"), "of a Pod cannot change, except for images and activeDeadlineSeconds"))
    _raise(found)


def _raise(found: list[errors.Problem]) -> None:
    if found:
        raise errors.InvalidFields(*found)


def _pod(obj: port.Object) -> Found:
    yield from podspecs.spec(obj.get("spec"), ("body", "spec"), ("Always", "OnFailure", "Never"))


def _job(obj: port.Object) -> Found:
    path: Path = ("body", "spec")
    spec = obj.get("spec") or {}
    yield from podspecs.template(spec.get("template"), (*path, "template"), ("OnFailure", "Never"))
    yield from _whole(spec, "backoffLimit", 0, path)
    yield from _whole(spec, "activeDeadlineSeconds", 1, path)
    for field, only in (("completions", 1), ("parallelism", 1), ("completionMode", "NonIndexed"), ("suspend", False)):
        if not codec.same(spec.get(field, only), only):
            yield problem(
                (*path, field), f"must be {str(only).lower() if only is False else only}: the local cluster runs a Job as one Pod at a time"
            )
    policy = spec.get("podFailurePolicy")
    if policy is not None:
        containers = podspecs.names_of_containers(mapping(mapping(spec.get("template")).get("spec")))
        yield from _failure_policy(policy, containers, (*path, "podFailurePolicy", "rules"))


def _failure_policy(policy: Any, containers: set[str], path: Path) -> Found:
    """The problems of a policy. `containers`: the names of all containers of the pod, with those that run before it."""
    for rule, at in items(mapping(policy).get("rules"), path):
        if rule.get("action") not in ("FailJob", "Ignore", "Count"):
            yield problem((*at, "action"), "must be FailJob, Ignore or Count")
        if ("onExitCodes" in rule) == ("onPodConditions" in rule):
            yield problem(at, "must have either onExitCodes or onPodConditions")
        codes = mapping(rule.get("onExitCodes", {"operator": "In", "values": []}))
        values = codes.get("values")
        if codes.get("operator") not in ("In", "NotIn") or not isinstance(values, list) or not all(type(each) is int for each in values):
            yield problem((*at, "onExitCodes"), "must have the operator In or NotIn and values, a list of exit codes")
        if codes.get("containerName") is not None and codes["containerName"] not in containers:
            yield problem((*at, "onExitCodes", "containerName"), "must be one of the container or initContainer names in the pod template")
        for pattern, where in items(rule.get("onPodConditions"), (*at, "onPodConditions")):
            if not isinstance(pattern.get("type"), str) or pattern.get("status", "True") not in ("True", "False", "Unknown"):
                yield problem(where, "must have a type and the status True, False or Unknown")


def _deployment(obj: port.Object) -> Found:
    path: Path = ("body", "spec")
    spec = obj.get("spec") or {}
    yield from podspecs.template(spec.get("template"), (*path, "template"), ("Always",))
    yield from _whole(spec, "replicas", 0, path)
    yield from _whole(spec, "progressDeadlineSeconds", 1, path)
    if mapping(spec.get("strategy", {})).get("type") not in ("RollingUpdate", "Recreate"):
        yield problem((*path, "strategy", "type"), "must be RollingUpdate or Recreate")
    selector = mapping(spec.get("selector"))
    wanted = mapping(selector.get("matchLabels"))
    if not wanted or set(selector) != {"matchLabels"}:
        yield problem((*path, "selector"), "must have matchLabels, not empty, and nothing else")
    labels = mapping(mapping(mapping(spec.get("template")).get("metadata")).get("labels"))
    if not wanted.items() <= labels.items():
        yield problem((*path, "template", "metadata", "labels"), "must have all labels of spec.selector")


def _service(obj: port.Object) -> Found:
    path: Path = ("body", "spec")
    spec = obj.get("spec") or {}
    if spec.get("type") != "ClusterIP":
        yield problem((*path, "type"), "must be ClusterIP: the local cluster knows no other")
    if spec.get("selector") is not None:
        yield from names.labels(spec["selector"], (*path, "selector"))
    ports = spec.get("ports")
    if not isinstance(ports, list) or len(ports) != 1:
        yield problem((*path, "ports"), "must be a list of exactly one port: the local cluster gives a Service one")
    for each, at in items(ports, (*path, "ports")):
        if type(each.get("port")) is not int or each["port"] not in _PORTS:
            yield problem((*at, "port"), "must be a port number")
        if each.get("protocol") != "TCP":
            yield problem((*at, "protocol"), "must be TCP")


def _config_map(obj: port.Object) -> Found:
    data = obj.get("data")
    if data is None:
        return
    if not isinstance(data, dict):
        yield problem(("body", "data"), "must be an object")
        return
    for key, value in data.items():
        if not names.is_config_key(key):
            yield problem(("body", "data", key), "must be a file name of letters, digits, '-', '_' and '.'")
        if not isinstance(value, str):
            yield problem(("body", "data", key), "must be a text")
    if sum(len(value.encode()) for value in data.values() if isinstance(value, str)) > _CONFIG_BYTES:
        yield problem(("body", "data"), f"must have at most {_CONFIG_BYTES} bytes")


def _lease(obj: port.Object) -> Found:
    path: Path = ("body", "spec")
    spec = obj.get("spec") or {}
    yield from _whole(spec, "leaseDurationSeconds", 1, path)
    yield from _whole(spec, "leaseTransitions", 0, path)
    if not isinstance(spec.get("holderIdentity", ""), str):
        yield problem((*path, "holderIdentity"), "must be a text")


def _network_policy(obj: port.Object) -> Found:
    """Check what every policy must have. The local cluster keeps policies and does not apply them: its sandbox closes the network."""
    path: Path = ("body", "spec")
    spec = obj.get("spec") or {}
    selector = spec.get("podSelector")
    if not isinstance(selector, dict):
        yield problem((*path, "podSelector"), "must be an object")
    else:
        yield from names.labels(selector.get("matchLabels") or {}, (*path, "podSelector", "matchLabels"))
    types = spec.get("policyTypes", [])
    if not isinstance(types, list) or not set(types) <= {"Ingress", "Egress"}:
        yield problem((*path, "policyTypes"), "must be a list of Ingress and Egress")
    for field, peers in (("ingress", "from"), ("egress", "to")):
        for rule, at in items(spec.get(field), (*path, field)):
            for peer, where in items(rule.get(peers), (*at, peers)):
                if not set(peer) & {"podSelector", "namespaceSelector", "ipBlock"}:
                    yield problem(where, "must have podSelector, namespaceSelector or ipBlock")


def _custom(obj: port.Object) -> Found:
    """Check against the struct from which the definitions for a real cluster are generated. Only the first problem is found."""
    try:
        msgspec.convert(obj.get("spec", {}), registry.RESOURCE_BY_KIND[obj["kind"]].spec)
    except msgspec.ValidationError as error:
        yield problem(*specs.wrong(error, ("body", "spec")))


def _whole(spec: port.Object, field: str, least: int, path: Path) -> Iterator[errors.Problem]:
    value = spec.get(field)
    if value is not None and (type(value) is not int or value < least):
        yield problem((*path, field), f"must be a whole number, {least} or more")


_SPECS: dict[port.Kind, Callable[[port.Object], Found]] = {
    port.POD: _pod,
    port.JOB: _job,
    port.DEPLOYMENT: _deployment,
    port.SERVICE: _service,
    port.CONFIG_MAP: _config_map,
    port.LEASE: _lease,
    port.NETWORK_POLICY: _network_policy,
    **{port.custom(each): _custom for each in registry.RESOURCES},
}
_FIXED = {
    port.JOB: ("template", "selector", "completions", "completionMode", "podFailurePolicy"),
    port.DEPLOYMENT: ("selector",),
}
