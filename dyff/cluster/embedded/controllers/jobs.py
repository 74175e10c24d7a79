"""Jobs: one Pod at a time until one succeeds or too many have failed. Pure.

As in Kubernetes, a Pod has a finalizer until its outcome is counted, and the counts stay exact in spite of crashes: first
the Pod is named in `status.uncountedTerminatedPods`, then its finalizer is removed, and only when that is observed it is added
to `status.failed` or `succeeded`. `FailureTarget` means that the Job is going to fail, `Failed` that none of its Pods is
running any more. `Failed` and `Complete` are set in the write that completes the counts, so the counts are then final.
A new attempt waits until the previous one has really ended (`podReplacementPolicy: Failed`).

Unlike in Kubernetes, where Pods have random names, attempts are numbered, so that a repeated create is refused;
`status.attempts` is the number of used numbers.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dyff.cluster import conditions, owners, port
from dyff.cluster.embedded.controllers import failures, plan, podstates
from dyff.kernel import clock

FINALIZER = "batch.kubernetes.io/job-tracking"


class Delays(msgspec.Struct, frozen=True):
    """Back-off before the next attempt, in seconds: `first_s` after one failure, doubled for each further one, at most `ceiling_s`."""

    first_s: float = 2.0
    ceiling_s: float = 120.0

    def after(self, failed: int) -> timedelta:
        """How long to wait after this number of failures."""
        return timedelta(seconds=min(self.first_s * 2.0 ** min(failed - 1, 32), self.ceiling_s) if failed else 0)


class _Counts(msgspec.Struct, frozen=True):
    """`succeeded`, `failed`: including uncounted Pods. `status`: the corresponding fields of the status."""

    succeeded: int
    failed: int
    status: dict[str, Any]


def make(observed: plan.Observed, now: datetime, delays: Delays) -> plan.Plan:
    """Plan for a Job, or for the Pods of a Job that is gone."""
    uid = None if observed.owner is None else observed.owner["metadata"]["uid"]
    own = tuple(each for each in observed.pods if (owners.controller(each) or {}).get("uid") == uid)
    orphans = tuple(each for each in observed.pods if each not in own)
    if observed.owner is None or podstates.is_deleting(observed.owner):
        dying = tuple(each for each in own if not podstates.is_deleting(each))
        return plan.Plan(deletes=dying, releases=_tracked(own + orphans))
    made = _living(observed.owner, own, now, delays)
    return msgspec.structs.replace(made, releases=made.releases + _tracked(orphans))


def _living(job: port.Object, pods: tuple[port.Object, ...], now: datetime, delays: Delays) -> plan.Plan:
    old = job.get("status") or {}
    active = tuple(each for each in pods if not podstates.has_ended(each))
    counts = _counted(job, pods)
    attempts = max([old.get("attempts", 0), *(podstates.number(each) + 1 for each in pods)])
    fields = {
        **{key: value for key, value in old.items() if key in ("conditions", "startTime", "completionTime")},
        **counts.status,
        "attempts": attempts,
        "active": len(active),
        "ready": sum(podstates.is_ready(each) for each in active),
        "terminating": sum(podstates.is_deleting(each) for each in active),
    }
    fields.setdefault("startTime", clock.iso(now))
    if _condition(fields, "Complete") is None and _condition(fields, "Failed") is None:
        _conclude(job, pods, counts, fields, now)
    over = counts.succeeded > 0 or any(_condition(fields, each) is not None for each in ("Complete", "FailureTarget"))
    wait_s = None if over or active else _wait_s(job, pods, now, delays.after(counts.failed))
    due = not over and not active and wait_s is None
    return plan.Plan(
        status=plan.changes(old, fields),
        deletes=tuple(each for each in active if over and not podstates.is_deleting(each)),
        releases=tuple(each for each in _tracked(pods) if podstates.has_ended(each)),
        creates=(_attempt(job, attempts),) if due else (),
        again_s=_soonest(wait_s, None if over else _left_s(job, fields, now)),
    )


def _counted(job: port.Object, pods: tuple[port.Object, ...]) -> _Counts:
    """Move released Pods from the uncounted ones to the counts, and add Pods that have ended to the uncounted ones."""
    old = job.get("status") or {}
    tracked = {each["metadata"]["uid"] for each in _tracked(pods)}
    totals: dict[str, int] = {}
    status: dict[str, int] = {}
    uncounted: dict[str, list[str]] = {}
    for field in ("succeeded", "failed"):
        named = (old.get("uncountedTerminatedPods") or {}).get(field, [])
        ended = [each["metadata"]["uid"] for each in _tracked(pods) if _counts_as(job, each) == field]
        waiting = [uid for uid in named if uid in tracked]
        counted = old.get(field, 0) + len(named) - len(waiting)
        uncounted[field] = [*waiting, *(uid for uid in ended if uid not in waiting)]
        totals[field] = counted + len(uncounted[field])
        status[field] = counted
    return _Counts(totals["succeeded"], totals["failed"], {**status, "uncountedTerminatedPods": uncounted})


def _counts_as(job: port.Object, pod: port.Object) -> str | None:
    """`succeeded` or `failed`; None if it has not ended, or if its failure is ignored."""
    if not podstates.has_failed(pod):
        return "succeeded" if podstates.has_ended(pod) else None
    return None if failures.action(job, pod).kind == "Ignore" else "failed"


def _conclude(job: port.Object, pods: tuple[port.Object, ...], counts: _Counts, fields: dict[str, Any], now: datetime) -> None:
    """Add the conditions that hold now to the status `fields`."""
    target, all_counted = _condition(fields, "FailureTarget"), not any(fields["uncountedTerminatedPods"].values())
    if target is None and counts.succeeded:
        if all_counted:
            _add(fields, "Complete", "CompletionsReached", "Reached expected number of succeeded pods", now)
            fields["completionTime"] = clock.iso(now)
        return
    found = (str(target["reason"]), str(target["message"])) if target else _failure(job, pods, counts.failed, fields, now)
    if found is None:
        return
    reason, message = found
    if target is None:
        _add(fields, "FailureTarget", reason, message, now)
    if all_counted and not fields["active"]:
        _add(fields, "Failed", reason, message, now)


def _failure(job: port.Object, pods: tuple[port.Object, ...], failed: int, fields: dict[str, Any], now: datetime) -> tuple[str, str] | None:
    """Reason and message if the Job has to fail; otherwise None."""
    for each in pods:
        decided = failures.action(job, each) if podstates.has_failed(each) else failures.COUNT
        if decided.kind == "FailJob":
            return "PodFailurePolicy", decided.message
    if failed > job["spec"]["backoffLimit"]:
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    left_s = _left_s(job, fields, now)
    if left_s is not None and left_s <= 0:
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    return None


def _left_s(job: port.Object, fields: dict[str, Any], now: datetime) -> float | None:
    """Seconds until the Job's deadline; None if it has none."""
    limit_s = job["spec"].get("activeDeadlineSeconds")
    return None if limit_s is None else limit_s - (now - clock.parse_iso(fields["startTime"])).total_seconds()


def _wait_s(job: port.Object, pods: tuple[port.Object, ...], now: datetime, delay: timedelta) -> float | None:
    """Seconds until the next attempt can begin; None if it can begin now."""
    ends = [podstates.ended_at(each) for each in pods if _counts_as(job, each) == "failed"]
    wait_s = (max(ends) + delay - now).total_seconds() if ends else 0.0
    return wait_s if wait_s > 0 else None


def _attempt(job: port.Object, number: int) -> port.Object:
    # Pods of an earlier Job with this name can still exist, or have written data under their names.
    mark = hashlib.sha256(job["metadata"]["uid"].encode()).hexdigest()[:5]
    return podstates.of_template(job, f"{job['metadata']['name']}-{mark}-{number}", {"finalizers": [FINALIZER]})


def _tracked(pods: tuple[port.Object, ...]) -> tuple[port.Object, ...]:
    return tuple(each for each in pods if FINALIZER in each["metadata"].get("finalizers", ()))


def _condition(fields: dict[str, Any], kind: str) -> dict[str, Any] | None:
    return conditions.true_condition({"status": fields}, kind)


def _add(fields: dict[str, Any], kind: str, reason: str, message: str, now: datetime) -> None:
    moment = clock.iso(now)
    added = {"type": kind, "status": "True", "reason": reason, "message": message, "lastProbeTime": moment, "lastTransitionTime": moment}
    fields["conditions"] = [*(fields.get("conditions") or ()), added]


def _soonest(*delays_s: float | None) -> float | None:
    return min((each for each in delays_s if each is not None), default=None)
