"""What each role may do to the cluster, as Kubernetes has it (RBAC). Pure; by role, what it calls and no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from dyff.cluster import port
from dyff.entities import custom_resource, registry

NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
_READ = ("get", "list", "watch")


class Permission(msgspec.Struct, frozen=True):
    """`verbs` on `resources`, which may have a subresource: `pods/log`."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]


def _custom(verbs: Sequence[str], kinds: Sequence[custom_resource.CustomResource], subresource: str = "") -> Permission:
    plurals = tuple(f"{each.plural}{subresource}" for each in kinds)
    return Permission(custom_resource.GROUP_VERSION.split("/")[0], plurals, tuple(verbs))


def _of(kind: port.Kind, *verbs: str) -> Permission:
    group, _, _ = kind.api_version.rpartition("/")
    return Permission(group, (kind.plural,), verbs)


_LEADS = _of(port.LEASE, "get", "create", "update")
_LOGS = Permission("", ("pods/log",), ("get",))

TABLE: Mapping[str, tuple[Permission, ...]] = {
    "operator": (
        _custom(_READ, registry.RESOURCES),
        _custom(("patch",), registry.RESOURCES, "/status"),
        # A child that names its owner as blocking its deletion needs it where the cluster checks that.
        _custom(("update",), registry.RESOURCES, "/finalizers"),
        _custom(("create", "delete"), (registry.RESOURCE_BY_KIND["InferenceSession"],)),
        _of(port.JOB, *_READ, "create", "patch", "delete"),
        _of(port.DEPLOYMENT, *_READ, "create", "delete"),
        _of(port.SERVICE, *_READ, "create", "delete"),
        _of(port.CONFIG_MAP, "get", "create", "delete"),
        _of(port.POD, *_READ, "delete"),
        _LOGS,
        _LEADS,
    ),
    "orchestrator": (_custom((*_READ, "create", "patch", "delete"), registry.MADE), _of(port.POD, *_READ), _LEADS),
    "informer": (_custom(_READ, registry.MADE), _LEADS),
    "api": (
        _custom(("get",), (registry.RESOURCE_BY_KIND["InferenceSession"],)),
        _of(port.POD, *_READ),
        _of(port.SERVICE, "get"),
        _LOGS,
    ),
}
"""By role; one that is not here does not speak with the cluster."""


def account(role: str) -> str:
    """The name of a role's service account, and of its Role and RoleBinding."""
    return f"dyff-{role}"


def labels(role: str) -> dict[str, str]:
    """Of all that is installed for a role."""
    return {NAME: "dyff", COMPONENT: role}


def manifests(namespace: str, roles: Sequence[str]) -> Iterator[port.Object]:
    """For each of `roles` a service account, and what it may do in the namespace."""
    for role in roles:
        metadata = {"name": account(role), "namespace": namespace, "labels": labels(role)}
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False}
        if role not in TABLE:
            continue
        rules = [{"apiGroups": [each.group], "resources": list(each.resources), "verbs": list(each.verbs)} for each in TABLE[role]]
        yield {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules}
        yield {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account(role)},
            "subjects": [{"kind": "ServiceAccount", "name": account(role), "namespace": namespace}],
        }
