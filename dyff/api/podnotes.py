"""What the cluster says about the containers of a workflow, as lines of its log: why one does not start, and how one ended.

A container that cannot be started writes nothing itself, and the pods of a failed run are removed. So these lines are added to the
log: from the pods while they exist, afterwards from the message with which the entity ended. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dyff.api import logstream
from dyff.cluster import port
from dyff.cluster.instants import instant
from dyff.entities import codecs, statuses

_QUIET = frozenset({"ContainerCreating", "PodInitializing", ""})
"""Reasons of a container that is about to start as it should."""

_UNKNOWN = "1970-01-01T00:00:00Z"
"""The time of a pod that has none yet."""


def of_pods(pods: Iterable[port.Object]) -> list[logstream.Entry]:
    """Return a line for each container that waits for something, or has ended with an error, now or in its previous attempt.

    One that has lost a process for its memory has one, too: what should come after it may never begin.
    """
    return [logstream.entry(pod, port.LogLine(instant(time), text)) for pod in pods for time, text in _notes(pod)]


def of_end(entity: codecs.Json, known: Iterable[str]) -> list[logstream.Entry]:
    """Return the lines of the message with which a run failed, which has the last lines of what failed. `known`: lines to leave out."""
    message = entity.get("message")
    if entity["status"] not in statuses.FAILURE or not message:
        return []
    said = set(known)
    time = entity.get("lastTransitionTime") or entity["creationTime"]
    labels = {"dyff.io/id": entity["id"], "dyff.io/component": "status"}
    head, *rest = str(message).splitlines()
    lines = [f"ended as {entity['status']}: {head}", *(each for each in rest if each not in said)]
    return [{"timestamp": instant(time), "message": each, "labels": labels} for each in lines]


def _notes(pod: port.Object) -> Iterator[tuple[str, str]]:
    status = pod.get("status") or {}
    began = status.get("startTime") or pod["metadata"].get("creationTimestamp") or _UNKNOWN
    for field in ("initContainerStatuses", "containerStatuses"):
        for each in status.get(field) or ():
            name = each.get("name")
            for when, key in (("in its previous attempt ", "lastState"), ("", "state")):
                ended = (each.get(key) or {}).get("terminated")
                if ended and (ended.get("exitCode") != 0 or ended.get("reason") == "OOMKilled"):
                    yield ended.get("finishedAt") or began, f"[container {name} {when}ended{_how(ended)}]"
            waits = (each.get("state") or {}).get("waiting") or {}
            if waits.get("reason", "") not in _QUIET:
                yield began, f"[container {name} does not run: {_said(waits)}]"
    if status.get("reason") and status.get("phase") in ("Failed", "Pending"):
        yield began, f"[pod {pod['metadata']['name']}: {_said(status)}]"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield condition.get("lastTransitionTime") or began, f"[pod {pod['metadata']['name']} does not run: {_said(condition)}]"


def _how(ended: Mapping[str, Any]) -> str:
    code = ended.get("exitCode")
    said = _said({key: value for key, value in ended.items() if value != "Error"} if ended.get("reason") == "Error" else ended)
    return (f" with exit code {code}" if code is not None else "") + (f": {said}" if said else "")


def _said(state: Mapping[str, Any]) -> str:
    return " ".join(": ".join(str(state[key]) for key in ("reason", "message") if state.get(key)).split())
