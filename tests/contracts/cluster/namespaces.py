"""Namespaces of a real API server, one for each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dyff.cluster.kubernetes import Connection, KubernetesCluster
from dyff.cluster.kubernetes.connecting import Access
from dyff.cluster.kubernetes.requests import Requests
from dyff.entities import definitions
from dyff.kernel import errors

_NAMESPACES = "/api/v1/namespaces"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@asynccontextmanager
async def fresh(kubeconfig: str) -> AsyncIterator[KubernetesCluster]:
    """A new namespace, which is removed afterwards. The custom types are installed where they are not."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    connection = Connection(kubeconfig=kubeconfig, namespace=name)
    access = await Access.open(connection)
    requests = Requests(access, 15.0)
    try:
        for each in definitions.all_():
            try:
                await requests.send("POST", _CRDS, what="installing a type", body=each)
            except errors.AlreadyExists:
                continue
        await requests.send("POST", _NAMESPACES, what="making a namespace", body={"metadata": {"name": name}})
        async with KubernetesCluster.open(connection) as opened:
            yield opened
        await requests.send("DELETE", f"{_NAMESPACES}/{name}", what="removing a namespace")
    finally:
        await access.close()
