"""Builds a pod's Kubernetes status from its facts. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.cluster import port
from dyff.cluster.pods import directory, lifecycle, refusals, specs

ADDRESS = "127.0.0.1"
CRASH_LOOP = "CrashLoopBackOff"
_OWNED = ("phase", "reason", "message", "startTime", "hostIP", "podIP", "podIPs", "containerStatuses", "initContainerStatuses")


class Observed(msgspec.Struct, frozen=True):
    """The input of the status. `refusal`: why it is not started. `ready`: the readiness probe's result. `now`: RFC 3339.

    `said`: what the program answers to the probe if it is not ready; empty if nothing.
    """

    facts: directory.Facts
    stage: lifecycle.Stage
    now: str
    ready: bool = False
    refusal: refusals.Refused | None = None
    said: str = ""


def invalid(status: port.Object, message: str, now: str) -> port.Object | None:
    """The patch for a pod that can never run; None if it has failed already."""
    if status.get("phase") == "Failed":
        return None
    return {"phase": "Failed", "reason": refusals.INVALID, "message": message, "startTime": status.get("startTime") or now}


def patch(pod: specs.Pod, observed: Observed) -> port.Object | None:
    """The merge patch that updates the pod's status; None if it is up to date."""
    wanted = status(pod, observed)
    conditions = _conditions(pod, observed, wanted)
    changes = {key: wanted.get(key) for key in _OWNED if wanted.get(key) != pod.status.get(key)}
    if conditions != pod.status.get("conditions"):
        changes["conditions"] = conditions
    return changes or None


def status(pod: specs.Pod, observed: Observed) -> port.Object:
    """The status without its conditions."""
    intent = observed.facts.intent
    wanted = {
        "phase": _phase(pod, observed),
        "reason": observed.stage.reason or None,
        "message": observed.stage.message or None,
        "startTime": intent.since if intent else pod.status.get("startTime"),
        "hostIP": ADDRESS if intent else None,
        "podIP": ADDRESS if intent else None,
        "podIPs": [{"ip": ADDRESS}] if intent else None,
        "containerStatuses": [_container(pod, observed)],
        "initContainerStatuses": [_init_container(each, observed) for each in pod.spec.init_containers] or None,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _phase(pod: specs.Pod, observed: Observed) -> str:
    kind = observed.stage.kind
    if kind in ("succeeded", "failed"):
        return kind.capitalize()
    main = _outcome(observed, pod.main.name) or (observed.facts.intent.last if observed.facts.intent else None)
    return "Running" if main else "Pending"


def _outcome(observed: Observed, name: str) -> directory.Outcome | None:
    record, intent = observed.facts.record, observed.facts.intent
    if record is not None:
        return record.containers.get(name)
    return intent.done.get(name) if intent else None


def _container(pod: specs.Pod, observed: Observed) -> port.Object:
    intent, outcome = observed.facts.intent, _outcome(observed, pod.main.name)
    last = intent.last if intent else None
    if observed.stage.kind == "restarting" and outcome is not None:
        state, last = _waiting(CRASH_LOOP, f"it is started again; the last run: {outcome.reason}, exit code {outcome.exit_code}"), outcome
    elif outcome is not None:
        state = _state(outcome)
    elif observed.stage.reason == directory.LOST and intent is None:
        state = {"terminated": {"exitCode": directory.LOST_CODE, "reason": directory.LOST, "message": observed.stage.message}}
    else:
        state = _not_begun(pod, observed)
    running = "running" in state
    entry: dict[str, Any] = {
        "name": pod.main.name,
        "image": pod.main.image,
        "imageID": "",
        "ready": running and observed.ready,
        "started": running,
        "restartCount": intent.restarts if intent else 0,
        "state": state,
    }
    return entry | ({"lastState": _state(last)} if last else {})


def _not_begun(pod: specs.Pod, observed: Observed) -> port.Object:
    refusal = observed.refusal
    if refusal is not None and refusal.reason != refusals.UNSCHEDULABLE and refusal.container in (None, pod.main.name):
        return _waiting(refusal.reason, refusal.message)
    return _waiting("PodInitializing" if pod.spec.init_containers else "ContainerCreating")


def _init_container(container: specs.Container, observed: Observed) -> port.Object:
    intent, outcome, refusal = observed.facts.intent, _outcome(observed, container.name), observed.refusal
    refused = refusal is not None and refusal.container == container.name
    state = (
        _state(outcome) if outcome else _waiting(refusal.reason, refusal.message) if refusal and refused else _waiting("PodInitializing")
    )
    before: port.Object = {}
    if observed.stage.kind == "restarting" and outcome is not None and outcome.exit_code:
        before = {"lastState": _state(outcome)}
        state = _waiting(
            CRASH_LOOP, f"it is started again; the last run: {outcome.reason}, exit code {outcome.exit_code}: {outcome.message}"
        )
    ready = outcome is not None and outcome.exit_code == 0
    restarts = intent.failures if intent is not None and container.name not in intent.done else 0
    common = {"name": container.name, "image": container.image, "imageID": "", "restartCount": restarts}
    return {**common, "ready": ready, "started": "running" in state, "state": state, **before}


def _waiting(reason: str, message: str = "") -> port.Object:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def _state(outcome: directory.Outcome) -> port.Object:
    if not outcome.finished_at:
        return {"running": {"startedAt": outcome.started_at}}
    terminated: dict[str, Any] = {
        "exitCode": outcome.exit_code,
        "reason": outcome.reason,
        "startedAt": outcome.started_at,
        "finishedAt": outcome.finished_at,
    }
    if outcome.signal is not None:
        terminated["signal"] = outcome.signal
    return {"terminated": terminated | ({"message": outcome.message} if outcome.message else {})}


def _conditions(pod: specs.Pod, observed: Observed, wanted: port.Object) -> list[port.Object]:
    refusal = observed.refusal
    held_back = refusal is not None and refusal.reason in (refusals.UNSCHEDULABLE, refusals.STOPPING)
    ready = bool(wanted["containerStatuses"][0]["ready"])
    completed = wanted["phase"] == "Succeeded"
    initialized = observed.facts.intent is not None and all(each["ready"] for each in wanted.get("initContainerStatuses", ()))
    unready = "PodCompleted" if completed else "ContainersNotReady"
    conditions = [
        _condition("PodScheduled", not held_back, refusals.UNSCHEDULABLE, refusal.message if refusal and held_back else ""),
        _condition("Initialized", initialized, "ContainersNotInitialized"),
        _condition("ContainersReady", ready, unready, observed.said),
        _condition("Ready", ready, unready, observed.said),
    ]
    if observed.stage.disrupted:
        why = {"reason": "TerminationByKubelet", "message": observed.stage.message}
        conditions.append({"type": "DisruptionTarget", "status": "True", **why})
    before = {each["type"]: each for each in pod.status.get("conditions") or ()}
    ours = {each["type"] for each in conditions}
    others = [each for kind, each in before.items() if kind not in ours and kind != "DisruptionTarget"]
    return [{**each, "lastTransitionTime": _since(each, before.get(each["type"]), observed.now)} for each in conditions] + others


def _condition(kind: str, holds: bool, reason: str, message: str = "") -> port.Object:
    if holds:
        return {"type": kind, "status": "True"}
    return {"type": kind, "status": "False", "reason": reason} | ({"message": message} if message else {})


def _since(condition: port.Object, before: port.Object | None, now: str) -> str:
    if before is not None and before.get("status") == condition["status"]:
        return str(before.get("lastTransitionTime") or now)
    return now
