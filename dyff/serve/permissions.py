"""The roles' permissions in the cluster, as Kubernetes RBAC objects. Pure. Each role's permissions are in its row in `roles`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from dyff.cluster import port
from dyff.entities import custom_resource

NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
READ = ("get", "list", "watch")


class Permission(msgspec.Struct, frozen=True):
    """`verbs` on `resources`, which can include a subresource, as in `pods/log`."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]


def on_custom(verbs: Sequence[str], kinds: Sequence[custom_resource.CustomResource], subresource: str = "") -> Permission:
    """`verbs` on these custom resources, or on their `subresource`, such as `/status`."""
    plurals = tuple(f"{each.plural}{subresource}" for each in kinds)
    return Permission(custom_resource.GROUP_VERSION.split("/")[0], plurals, tuple(verbs))


def of_kind(kind: port.Kind, *verbs: str) -> Permission:
    """`verbs` on a built-in Kubernetes kind."""
    group, _, _ = kind.api_version.rpartition("/")
    return Permission(group, (kind.plural,), verbs)


LOGS = Permission("", ("pods/log",), ("get",))
"""Reading the logs of pods."""
LEADS = of_kind(port.LEASE, "get", "create", "update")
"""Holding the Lease of a role of which one instance does the work."""


def account(role: str) -> str:
    """The name of a role's service account, and of its Role and RoleBinding."""
    return f"dyff-{role}"


def labels(role: str) -> dict[str, str]:
    """The labels of all objects that are installed for a role."""
    return {NAME: "dyff", COMPONENT: role}


def manifests(namespace: str, granted: Mapping[str, Sequence[Permission]]) -> Iterator[port.Object]:
    """For each role, by name, a service account with its permissions in the namespace; only the account if nothing is granted."""
    for role, permissions in granted.items():
        metadata = {"name": account(role), "namespace": namespace, "labels": labels(role)}
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False}
        if not permissions:
            continue
        rules = [{"apiGroups": [each.group], "resources": list(each.resources), "verbs": list(each.verbs)} for each in permissions]
        yield {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules}
        yield {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account(role)},
            "subjects": [{"kind": "ServiceAccount", "name": account(role), "namespace": namespace}],
        }
