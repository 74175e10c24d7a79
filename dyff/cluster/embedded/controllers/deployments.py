"""Deployments: the wanted number of Pods of the current template, created directly (without ReplicaSets). Pure.

A new template is rolled out with a surge of one Pod and none unavailable (which is Kubernetes' 25 % for a few replicas), or with
the strategy `Recreate` after the old Pods are gone. A Pod that failed permanently (containers are restarted by the kubelet) is
replaced, with back-off while failures continue; the last failed one is kept for its logs.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dyff.cluster import owners, port
from dyff.cluster.embedded.controllers import plan, podstates
from dyff.kernel import clock

HASH = "pod-template-hash"
STREAK = "dyff.io/failures-before"
"""Pod annotation: the number of consecutive failures before it."""
_COMPLETE, _UNDERWAY = "NewReplicaSetAvailable", "ReplicaSetUpdated"
_SURGE = 1
_FIRST_DELAY_S, _MAX_DELAY_S = 1.0, 60.0
_FORGIVEN_AFTER = timedelta(minutes=10)
"""A Pod that lived longer ends a series of consecutive failures."""
_ENCODER = msgspec.json.Encoder(order="sorted")


class _Pods(msgspec.Struct, frozen=True):
    """The Pods of a Deployment. `new`: alive, of the current template. `old`: alive, of another template. `old_leaving`: of another
    template and being deleted. `failed`: ended, by time.
    """

    new: tuple[port.Object, ...]
    old: tuple[port.Object, ...]
    old_leaving: tuple[port.Object, ...]
    failed: tuple[port.Object, ...]

    @property
    def alive(self) -> tuple[port.Object, ...]:
        """The Pods that count as replicas."""
        return self.new + self.old


class _Delay(msgspec.Struct, frozen=True):
    """`wait_s`: seconds until the next Pod can be created; 0 or less means now. `streak`: consecutive failures before it."""

    wait_s: float
    streak: int


def make(observed: plan.Observed, now: datetime) -> plan.Plan:
    """Plan for a Deployment. The Pods of one that is gone are garbage-collected."""
    deployment = observed.owner
    if deployment is None:
        return plan.Plan()
    uid, mark = deployment["metadata"]["uid"], template_hash(deployment)
    pods = _sorted_out([each for each in observed.pods if (owners.controller(each) or {}).get("uid") == uid], mark)
    status = _status(deployment, pods, now)
    patch, again_s = plan.changes(deployment.get("status") or {}, status), _until_late_s(deployment, status, now)
    if podstates.is_deleting(deployment):
        return plan.Plan(status=patch)
    missing, surplus = _rolled(deployment, pods)
    delay = _delay(pods.failed, mark, now)
    if missing and delay.wait_s > 0:
        again_s = min(delay.wait_s, again_s or delay.wait_s)
        missing = 0
    return plan.Plan(
        status=patch,
        deletes=(*surplus, *(each for each in pods.failed[:-1] if not podstates.is_deleting(each))),
        creates=_made(deployment, missing, observed.pods, mark, delay.streak),
        again_s=again_s,
    )


def template_hash(deployment: port.Object) -> str:
    """Identifies Pods of the current template, as opposed to other templates and to an earlier Deployment with this name."""
    template = _ENCODER.encode([deployment["metadata"]["uid"], deployment["spec"]["template"]])
    return hashlib.sha256(template).hexdigest()[:10]


def _sorted_out(pods: list[port.Object], mark: str) -> _Pods:
    going = [each for each in pods if not podstates.has_ended(each)]
    alive = [each for each in going if not podstates.is_deleting(each)]
    return _Pods(
        new=tuple(each for each in alive if _hash(each) == mark),
        old=tuple(each for each in alive if _hash(each) != mark),
        old_leaving=tuple(each for each in going if podstates.is_deleting(each) and _hash(each) != mark),
        failed=tuple(sorted((each for each in pods if podstates.has_ended(each)), key=podstates.ended_at)),
    )


def _hash(pod: port.Object) -> str | None:
    """The hash of the template from which it was created; None if someone removed the label."""
    return (pod["metadata"].get("labels") or {}).get(HASH)


def _rolled(deployment: port.Object, pods: _Pods) -> tuple[int, tuple[port.Object, ...]]:
    """The number of missing Pods, and the surplus Pods."""
    wanted = deployment["spec"]["replicas"]
    recreating = deployment["spec"]["strategy"]["type"] == "Recreate"
    too_many = tuple(_expendable(pods.new)[: max(len(pods.new) - wanted, 0)])
    missing = max(wanted - len(pods.new), 0)
    if not pods.old:
        return (0 if recreating and pods.old_leaving else missing), too_many
    if recreating:
        return 0, (*pods.old, *too_many)
    ready = sum(podstates.is_ready(each) for each in pods.alive)
    unready_old = tuple(each for each in pods.old if not podstates.is_ready(each))
    ready_old = tuple(each for each in pods.old if podstates.is_ready(each))
    replaced = unready_old + ready_old[: max(ready - wanted, 0)]
    return min(missing, max(wanted + _SURGE - len(pods.alive), 0)), (*replaced, *too_many)


def _expendable(pods: tuple[port.Object, ...]) -> list[port.Object]:
    """The least useful Pods first: unready ones, then the youngest."""
    return sorted(pods, key=lambda pod: (podstates.is_ready(pod), -podstates.created_at(pod).timestamp()))


def _delay(failed: tuple[port.Object, ...], mark: str, now: datetime) -> _Delay:
    ours = [each for each in failed if _hash(each) == mark]
    if not ours:
        return _Delay(0.0, 0)
    last, end = ours[-1], podstates.ended_at(ours[-1])
    if end - podstates.created_at(last) > _FORGIVEN_AFTER:
        return _Delay(0.0, 0)
    streak = int(last["metadata"].get("annotations", {}).get(STREAK, "0")) + 1
    delay_s = min(_FIRST_DELAY_S * 2.0 ** min(streak - 1, 32), _MAX_DELAY_S)
    return _Delay((end - now).total_seconds() + delay_s, streak)


def _made(deployment: port.Object, count: int, pods: tuple[port.Object, ...], mark: str, streak: int) -> tuple[port.Object, ...]:
    """New Pods with the lowest free numbers."""
    name, taken = deployment["metadata"]["name"], {each["metadata"]["name"] for each in pods}
    prefix = f"{name[: podstates.MAX_NAME - 20].rstrip('-.')}-{mark}"
    names = [each for each in (f"{prefix}-{number}" for number in range(count + len(taken))) if each not in taken]
    metadata = {"labels": {HASH: mark}, "annotations": {STREAK: str(streak)} if streak else {}}
    return tuple(podstates.of_template(deployment, each, metadata) for each in names[:count])


def _status(deployment: port.Object, pods: _Pods, now: datetime) -> dict[str, Any]:
    wanted = deployment["spec"]["replicas"]
    ready = sum(podstates.is_ready(each) for each in pods.alive)
    updated_ready = sum(podstates.is_ready(each) for each in pods.new)
    old = deployment.get("status") or {}
    status: dict[str, Any] = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": len(pods.alive),
        "updatedReplicas": len(pods.new),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(wanted - ready, 0),
    }
    moved = any(old.get(key) != status[key] for key in status)
    complete = updated_ready == wanted and not pods.old
    kept = {each["type"]: each for each in old.get("conditions") or ()}
    # A rollout that has succeeded stays successful: Pods that fail later do not affect its progress.
    if old.get("observedGeneration") == status["observedGeneration"]:
        complete = complete or kept.get("Progressing", {}).get("reason") == _COMPLETE
    status["conditions"] = [
        _condition(kept.get("Available"), _available(ready >= wanted), now),
        _condition(kept.get("Progressing"), _progressing(deployment, kept.get("Progressing"), complete, moved, now), now),
    ]
    return status


def _available(holds: bool) -> dict[str, str]:
    if holds:
        reason, message = "MinimumReplicasAvailable", "Deployment has minimum availability."
    else:
        reason, message = "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    return {"type": "Available", "status": str(holds), "reason": reason, "message": message}


def _progressing(deployment: port.Object, old: dict[str, Any] | None, complete: bool, moved: bool, now: datetime) -> dict[str, str]:
    """The condition Progressing. `lastUpdateTime` is the time of the last progress; the deadline counts from it."""
    update = clock.iso(now) if moved or old is None else str(old["lastUpdateTime"])
    status, reason, message = "True", _UNDERWAY, "Deployment is progressing."
    if complete:
        reason, message = _COMPLETE, "Deployment has successfully progressed."
    elif now - clock.parse_iso(update) >= timedelta(seconds=deployment["spec"]["progressDeadlineSeconds"]):
        status, reason, message = "False", "ProgressDeadlineExceeded", "Deployment has timed out progressing."
    return {"type": "Progressing", "status": status, "reason": reason, "message": message, "lastUpdateTime": update}


def _condition(old: dict[str, Any] | None, new: dict[str, str], now: datetime) -> dict[str, str]:
    same = old is not None and old["status"] == new["status"]
    return {**new, "lastTransitionTime": str(old["lastTransitionTime"]) if same and old else clock.iso(now)}


def _until_late_s(deployment: port.Object, status: dict[str, Any], now: datetime) -> float | None:
    """Seconds until the progress deadline; None if no rollout is in progress."""
    progressing = status["conditions"][1]
    if progressing["reason"] != _UNDERWAY:
        return None
    late = clock.parse_iso(progressing["lastUpdateTime"]) + timedelta(seconds=deployment["spec"]["progressDeadlineSeconds"])
    return max((late - now).total_seconds(), 0.0)
