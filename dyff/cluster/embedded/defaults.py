"""The defaults of the API server for omitted fields, as far as our controllers and the operator rely on them. Pure."""

from __future__ import annotations

from typing import Any

from dyff.cluster import port

LOCAL_PORT = "dyff.io/local-port"
LOCAL_SOCKET = "dyff.io/local-socket"
"""Annotation: the loopback port of a Service or a Pod."""
JOB_NAME = "batch.kubernetes.io/job-name"
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"


def fill(kind: port.Kind, obj: port.Object) -> None:
    """Set defaults in `obj` (at its creation and at each change). Fields of the wrong type are left to validation."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    spec = obj["spec"] = dict(spec)
    if kind == port.POD:
        _pod(spec)
    elif kind == port.JOB:
        _absent(spec, backoffLimit=6, completions=1, parallelism=1, completionMode="NonIndexed", suspend=False)
        _template(spec)
    elif kind == port.DEPLOYMENT:
        _absent(spec, replicas=1, strategy={"type": "RollingUpdate"}, progressDeadlineSeconds=600)
        _template(spec)
    elif kind == port.SERVICE:
        _service(spec)


def mark(kind: port.Kind, obj: port.Object) -> None:
    """Set the selector and labels of a new Job that distinguish its Pods from those of an earlier Job with its name."""
    spec = obj.get("spec")
    if kind != port.JOB or not isinstance(spec, dict) or not isinstance(spec.get("template"), dict):
        return
    name, uid = obj["metadata"].get("name"), obj["metadata"]["uid"]
    spec["selector"] = {"matchLabels": {CONTROLLER_UID: uid}}
    metadata = spec["template"].get("metadata") or {}
    if isinstance(metadata, dict) and isinstance(metadata.get("labels") or {}, dict):
        own = {JOB_NAME: name, CONTROLLER_UID: uid, "job-name": name, "controller-uid": uid}
        labels = {**(metadata.get("labels") or {}), **own}
        spec["template"] = {**spec["template"], "metadata": {**metadata, "labels": labels}}


def keep(kind: port.Kind, old: port.Object, new: port.Object) -> None:
    """Carry over values that the server assigned and that a client's replacement can lack."""
    given = old["metadata"].get("annotations", {}).get(LOCAL_PORT)
    if kind == port.SERVICE and given is not None:
        annotations = new["metadata"].get("annotations")
        new["metadata"]["annotations"] = {**(annotations if isinstance(annotations, dict) else {}), LOCAL_PORT: given}


def _pod(spec: dict[str, Any]) -> None:
    _absent(spec, restartPolicy="Always", terminationGracePeriodSeconds=30)


def _service(spec: dict[str, Any]) -> None:
    _absent(spec, type="ClusterIP")
    if isinstance(spec.get("ports"), list):
        spec["ports"] = [_service_port(each) for each in spec["ports"]]


def _service_port(each: Any) -> Any:
    return {"protocol": "TCP", "targetPort": each.get("port"), **each} if isinstance(each, dict) else each


def _template(spec: dict[str, Any]) -> None:
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        template = spec["template"] = {**template, "spec": dict(template["spec"])}
        _pod(template["spec"])


def _absent(spec: dict[str, Any], **values: Any) -> None:
    for key, value in values.items():
        if spec.get(key) is None:
            spec[key] = value
