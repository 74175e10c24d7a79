"""Objects for tests of controllers, each with what the API server would have filled in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dyff.cluster import port
from dyff.cluster.embedded import kinds, semantics
from dyff.cluster.embedded.controllers import jobs
from dyff.kernel import clock

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
JOB_UID = "00000000-0000-4000-8000-00000000000a"
DEPLOYMENT_UID = "00000000-0000-4000-8000-00000000000b"


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def made(kind: port.Kind, obj: port.Object, uid: str, seconds: float = 0) -> port.Object:
    """As the API server stores it, created this long after NOW."""
    new = semantics.created(kinds.resource(kind), obj, uid, at(seconds))
    new["metadata"]["resourceVersion"] = "1"
    return new


def a_template(**spec: Any) -> port.Object:
    return {"metadata": {"labels": {"app": "thing"}}, "spec": {"containers": [{"name": "main", "image": "i"}], **spec}}


def a_job(status: port.Object | None = None, **spec: Any) -> port.Object:
    spec = {"template": a_template(restartPolicy="Never"), "backoffLimit": 2, **spec}
    job = made(port.JOB, {"metadata": {"name": "job"}, "spec": spec}, JOB_UID)
    return {**job, "status": status} if status else job


def a_deployment(status: port.Object | None = None, image: str = "i", **spec: Any) -> port.Object:
    template = a_template(containers=[{"name": "main", "image": image}])
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "thing"}}, "template": template, **spec}
    deployment = made(port.DEPLOYMENT, {"metadata": {"name": "deployment"}, "spec": spec}, DEPLOYMENT_UID)
    return {**deployment, "status": status} if status else deployment


def a_service(name: str = "service", number: int = 20000, selector: dict[str, str] | None = None) -> port.Object:
    spec = {"selector": {"app": "thing"} if selector is None else selector, "ports": [{"port": 80}]}
    metadata = {"name": name, "annotations": {"dyff.io/local-port": str(number)}}
    return made(port.SERVICE, {"metadata": metadata, "spec": spec}, f"uid-of-{name}")


def running(pod: port.Object, *, ready: bool = True) -> port.Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {**pod, "status": {"phase": "Running", "conditions": conditions}}


def succeeded(pod: port.Object, seconds: float = 0) -> port.Object:
    return {**pod, "status": {"phase": "Succeeded", "containerStatuses": [terminated(0, seconds)]}}


def failed(pod: port.Object, code: int = 1, seconds: float = 0, *, disrupted: bool = False) -> port.Object:
    conditions = [{"type": "DisruptionTarget", "status": "True"}] if disrupted else []
    return {**pod, "status": {"phase": "Failed", "containerStatuses": [terminated(code, seconds)], "conditions": conditions}}


def failed_before(pod: port.Object, name: str, code: int = 1, seconds: float = 0) -> port.Object:
    """An init container has failed, so that the others never ran."""
    waiting = {"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}
    return {
        **pod,
        "status": {"phase": "Failed", "initContainerStatuses": [terminated(code, seconds, name)], "containerStatuses": [waiting]},
    }


def terminated(code: int, seconds: float, name: str = "main") -> port.Object:
    return {"name": name, "state": {"terminated": {"exitCode": code, "finishedAt": clock.iso(at(seconds))}}}


def deleting(obj: port.Object) -> port.Object:
    return {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": clock.iso(NOW)}}


def released(pod: port.Object) -> port.Object:
    kept = [each for each in pod["metadata"].get("finalizers", []) if each != jobs.FINALIZER]
    return {**pod, "metadata": {**pod["metadata"], "finalizers": kept}}


def labelled(pod: port.Object, **labels: str) -> port.Object:
    return {**pod, "metadata": {**pod["metadata"], "labels": labels}}


def reached(pod: port.Object, number: int) -> port.Object:
    return {**pod, "metadata": {**pod["metadata"], "annotations": {"dyff.io/local-port": str(number)}}}
