"""Paths and queries of the Kubernetes API. Pure."""

from __future__ import annotations

from urllib.parse import quote

from dyff.cluster import port


def of(kind: port.Kind, namespace: str, name: str | None = None, *subresource: str) -> str:
    """The path of a type in a namespace, of one object, or of an object's subresource."""
    root = f"/apis/{kind.api_version}" if "/" in kind.api_version else f"/api/{kind.api_version}"
    parts = [root, "namespaces", quote(namespace, safe=""), kind.plural]
    if name is not None:
        parts.append(quote(name, safe=""))
    return "/".join([*parts, *subresource])


def selector(labels: dict[str, str]) -> dict[str, str]:
    """The query for objects that have all of these labels."""
    return {"labelSelector": ",".join(f"{key}={value}" for key, value in sorted(labels.items()))} if labels else {}
