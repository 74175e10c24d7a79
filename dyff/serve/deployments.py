"""Kubernetes Deployments for the roles, one for each, with settings from a ConfigMap and secrets from a Secret. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from dyff.cluster import port
from dyff.kernel import engines, errors, settings
from dyff.operator.manifests import containers
from dyff.serve import combinations, judging, opening, permissions, roles

SETTINGS, SECRETS = "dyff-settings", "dyff-secrets"
"""The ConfigMap, which is built here, and the Secret, which is not: its keys are variables of every role, and files in `SECRETS_DIR`."""
SETTINGS_DIR, SECRETS_DIR = "/etc/dyff/settings", "/etc/dyff/secrets"
API_PORT, PROBES_PORT = 8000, 8081
SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PROBES_PORT), "prometheus.io/path": "/metrics"}
"""The usual annotations by which Prometheus finds pods (deploy/prometheus/kubernetes.yaml)."""
_FILE = "settings.yaml"
_SCRATCH_DIR = "/tmp"
GRACE_S = 30
"""Time from SIGTERM to SIGKILL: more than `supervision.shutdown_grace_s` plus the time for what comes after it."""
REPLICAS = 2
"""Replicas of every role: two share the load, or one works while the other stands by."""
_REQUESTS = {"cpu": "100m", "memory": "192Mi"}
_LIMITS = {"memory": "1Gi"}
_WHY = {
    "bus": "bus.kafka.bootstrap_servers",
    "query": "query.mongodb.uri",
    "accounts": "accounts.mongodb.uri",
    "objects": "objects.url",
}


def manifests(
    namespace: str,
    rows: Sequence[roles.Row],
    image: str,
    loaded: settings.Settings,
    text: str,
    warn: Callable[[judging.Finding], object],
) -> Iterator[port.Object]:
    """The ConfigMap, the Deployments, and a Service for each role that serves HTTP.

    `loaded`: the settings parsed from `text`, a settings file. `warn`: called with what may not work.

    Raises:
        Misconfigured: the settings use an embedded adapter for a port, which pods cannot share, or they cannot work in the pods.
    """
    _check(rows, loaded, image, warn)
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": SETTINGS, "namespace": namespace, "labels": {permissions.NAME: "dyff"}},
        "data": {_FILE: text},
    }
    for row in rows:
        yield _deployment(namespace, row, image, _environment(row, image, loaded))
    for row in rows:
        if row.serves_http:
            yield _service(namespace, row)


def _check(rows: Sequence[roles.Row], loaded: settings.Settings, image: str, warn: Callable[[judging.Finding], object]) -> None:
    # The cluster is the one in which the pods run. Where its steps find the object store has to be set.
    needed = roles.ports(rows) - {"cluster"} | ({"objects"} if any(row.starts_steps for row in rows) else set())
    missing = sorted(_WHY[each] for each in needed & opening.embedded(loaded) if each in _WHY)
    if missing:
        raise errors.Misconfigured(f"settings: {', '.join(missing)} must be set: pods cannot share what is embedded in one process")
    for row in rows:
        found = combinations.examine(_effective(row, image, loaded), [row], here=False)
        combinations.require(found, warn)


def _effective(row: roles.Row, image: str, loaded: settings.Settings) -> settings.Settings:
    """The settings of a role's pods: the file's, and those of the pods' variables that rules look at."""
    chosen = loaded
    if row.serves_http:
        chosen = msgspec.structs.replace(chosen, api=msgspec.structs.replace(chosen.api, host="0.0.0.0", port=API_PORT))
    if row.starts_steps and chosen.operator.steps_image == settings.Operator().steps_image:
        chosen = msgspec.structs.replace(chosen, operator=msgspec.structs.replace(chosen.operator, steps_image=image))
    if row.granted:
        inside = msgspec.structs.replace(chosen.cluster.kubernetes, in_cluster=True, kubeconfig=None)
        chosen = msgspec.structs.replace(chosen, cluster=engines.Cluster(kubernetes=inside))
    return chosen


def _deployment(namespace: str, row: roles.Row, image: str, environment: list[dict[str, Any]]) -> port.Object:
    labels = permissions.labels(row.name)
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    pod = containers.pod(
        {
            "serviceAccountName": permissions.account(row.name),
            "automountServiceAccountToken": bool(row.granted),
            "terminationGracePeriodSeconds": GRACE_S,
            "topologySpreadConstraints": [spread],
            "containers": [_container(row, image, environment)],
            "volumes": [
                {"name": "settings", "configMap": {"name": SETTINGS}},
                {"name": "secrets", "secret": {"secretName": SECRETS, "optional": True, "defaultMode": 0o440}},
                {"name": "scratch", "emptyDir": {}},
            ],
        }
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"dyff-{row.name}", "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": SCRAPED}, "spec": pod},
        },
    }


def _service(namespace: str, row: roles.Row) -> port.Object:
    labels = permissions.labels(row.name)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"dyff-{row.name}", "namespace": namespace, "labels": labels},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


def _container(row: roles.Row, image: str, environment: list[dict[str, Any]]) -> dict[str, Any]:
    ports = [{"name": "probes", "containerPort": PROBES_PORT}]
    if row.serves_http:
        ports.append({"name": "http", "containerPort": API_PORT})
    spec = {
        "args": ["serve", "--role", row.name],
        "env": environment,
        "envFrom": [{"secretRef": {"name": SECRETS, "optional": True}}],
        "ports": ports,
        "startupProbe": {**_probe("/health"), "failureThreshold": 60, "periodSeconds": 2},
        "livenessProbe": {**_probe("/health"), "failureThreshold": 3, "periodSeconds": 10},
        "readinessProbe": {**_probe("/ready"), "failureThreshold": 2, "periodSeconds": 5},
        "resources": {"requests": _REQUESTS, "limits": _LIMITS},
        "volumeMounts": [
            {"name": "settings", "mountPath": SETTINGS_DIR, "readOnly": True},
            {"name": "secrets", "mountPath": SECRETS_DIR, "readOnly": True},
            {"name": "scratch", "mountPath": _SCRATCH_DIR},
        ],
    }
    return containers.container("dyff", image, spec)


def _environment(row: roles.Row, image: str, loaded: settings.Settings) -> list[dict[str, Any]]:
    own = {
        "DYFF_CONFIG_FILE": f"{SETTINGS_DIR}/{_FILE}",
        "DYFF_DATA_DIR": f"{_SCRATCH_DIR}/dyff",
        "DYFF_PROBES__HOST": "0.0.0.0",
        "DYFF_PROBES__PORT": str(PROBES_PORT),
    }
    if row.serves_http:
        own |= {"DYFF_API__HOST": "0.0.0.0", "DYFF_API__PORT": str(API_PORT)}
    if row.starts_steps and loaded.operator.steps_image == settings.Operator().steps_image:
        own["DYFF_OPERATOR__STEPS_IMAGE"] = image
    if row.granted:
        own["DYFF_CLUSTER__KUBERNETES__IN_CLUSTER"] = "true"
    found: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in own.items()]
    if row.granted:
        found.append({"name": "DYFF_CLUSTER__KUBERNETES__NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}})
    return found


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "probes"}, "timeoutSeconds": 3}
