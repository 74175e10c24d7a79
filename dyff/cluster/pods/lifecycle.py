"""The stage of a pod in its lifecycle, derived from its spec and its directory. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from dyff.cluster.pods import directory, specs
from dyff.kernel import clock

BACKOFF_FIRST_S = 0.5
BACKOFF_CEILING_S = 30.0
INIT_LOOK_S = (0.02, 0.2)
"""Shortest and longest polling interval of the record while init containers run: a shim does not announce that it continues with the
next one."""
HEALTHY_S = 60.0
"""After a container has run this long, its next back-off starts from the beginning."""

Kind = Literal["new", "unstarted", "running", "lost", "restarting", "succeeded", "failed"]


class Stage(msgspec.Struct, frozen=True):
    """The stage of a pod in its lifecycle.

    `new`: no run was promised. `unstarted`: a run was promised, but not started. `running`: its shim lives. `lost`: its shim is
    gone without having recorded the end, which must be settled first. `restarting`: another run follows after `wait_s`.
    `succeeded`, `failed`: final.
    `reason`, `message`: of a failed pod, as in `status`. `disrupted`: whether it failed by an interruption, not by its own fault.
    """

    kind: Kind
    wait_s: float = 0.0
    reason: str = ""
    message: str = ""
    disrupted: bool = False


def stage(pod: specs.Pod, facts: directory.Facts, now: datetime) -> Stage:
    """The stage of the pod at the time `now`."""
    if facts.held:
        return Stage("running")
    if facts.intent is None:
        return _without_intent(pod, facts)
    if facts.record is None:
        return Stage("unstarted")
    if not facts.record.finished:
        return Stage("lost")
    return _after_run(pod, facts.intent, facts.record, now)


def _without_intent(pod: specs.Pod, facts: directory.Facts) -> Stage:
    """The stage of a pod without an intent. If it was started before, it is unknown whether it has ended, and it must not run twice."""
    if (pod.status.get("startTime") or facts.damaged) and pod.spec.restart_policy == "Never":
        return Stage("failed", reason=directory.LOST, message="its directory is gone or damaged, so how it ended is not known")
    return Stage("new")


def _after_run(pod: specs.Pod, intent: directory.Intent, record: directory.Record, now: datetime) -> Stage:
    main = record.containers.get(pod.main.name)
    left_s = remaining_s(pod, intent.since, now)
    completed = main is not None and main.exit_code == 0 and record.cause != directory.DEADLINE
    if completed and pod.spec.restart_policy != "Always":
        return Stage("succeeded")
    if record.cause == directory.DEADLINE or (left_s is not None and left_s <= 0.0):
        return Stage("failed", reason=directory.DEADLINE, message="it ran longer than spec.activeDeadlineSeconds")
    if pod.spec.restart_policy == "Never":
        return _failed(record)
    return Stage("restarting", wait_s=_backoff_s(pod, intent, record, now))


def final_stage(pod: specs.Pod, facts: directory.Facts) -> Stage:
    """The final stage of a stopped pod that is being deleted: nothing of it is started again."""
    main = facts.record.containers.get(pod.main.name) if facts.record else None
    if main is not None and main.exit_code == 0:
        return Stage("succeeded")
    return Stage("failed", reason=directory.DELETED, message="it was deleted")


def _failed(record: directory.Record) -> Stage:
    if record.cause in directory.INTERRUPTIONS:
        return Stage("failed", reason=record.cause or "", message=_INTERRUPTED[record.cause or ""], disrupted=True)
    worst = next((each for each in record.containers.values() if each.exit_code), None)
    message = f"{worst.reason}, exit code {worst.exit_code}: {worst.message}".rstrip(": ") if worst else ""
    return Stage("failed", reason=record.cause or "", message=message)


_INTERRUPTED = {
    directory.SHUTDOWN: "the server was shut down while it ran",
    directory.SERVER_GONE: "the server was killed and did not come back, so its pods were stopped",
    directory.MOVED: "the data directory was moved while it ran",
    directory.REBOOTED: "the machine was restarted while it ran",
}


def remaining_s(pod: specs.Pod, since: str, now: datetime) -> float | None:
    """Seconds until the pod's deadline, counted from its first start; None if it has none."""
    if pod.spec.active_deadline_seconds is None:
        return None
    return pod.spec.active_deadline_seconds - (now - clock.parse_iso(since)).total_seconds()


def interrupted(record: directory.Record) -> bool:
    """Whether a run ended for a reason that is not the program's fault."""
    return record.cause in directory.INTERRUPTIONS


def failures(pod: specs.Pod, intent: directory.Intent, record: directory.Record) -> int:
    """Number of consecutive runs that ended too soon, including this one."""
    if interrupted(record):
        return 0
    main = record.containers.get(pod.main.name)
    if main is not None and main.started_at and _moment(main.finished_at) - _moment(main.started_at) >= timedelta(seconds=HEALTHY_S):
        return 1
    return intent.failures + 1


def _backoff_s(pod: specs.Pod, intent: directory.Intent, record: directory.Record, now: datetime) -> float:
    """Remaining back-off before the next run. Never more than the whole back-off, even if the clock was changed."""
    count = failures(pod, intent, record)
    if count == 0:
        return 0.0
    delay: float = min(BACKOFF_FIRST_S * 2 ** min(count - 1, 10), BACKOFF_CEILING_S)
    ended = max((each.finished_at for each in record.containers.values()), default="")
    if not ended:
        return delay
    return max(0.0, min(delay, delay - (now - _moment(ended)).total_seconds()))


def _moment(text: str) -> datetime:
    """Parse a record's time, which has nanoseconds, unlike `datetime`."""
    return clock.parse_iso(text[:26] + "Z")


def init_look_s(record: directory.Record, now: datetime) -> float:
    """After how many seconds to look again at a pod whose init containers run: a quarter of the time that the present one has taken."""
    begun = max((each.started_at for each in record.containers.values() if not each.finished_at), default="")
    taken_s = (now - clock.parse_iso(begun)).total_seconds() if begun else 0.0
    return min(max(taken_s / 4, INIT_LOOK_S[0]), INIT_LOOK_S[1])
