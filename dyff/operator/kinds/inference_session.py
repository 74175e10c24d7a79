"""An InferenceSession: runners behind one address, until it expires or is ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from dyff.cluster import conditions, port
from dyff.entities import specs
from dyff.entities.kinds import inference_session
from dyff.kernel import clock
from dyff.operator import cleanup, jobs, plan, pods, policies, reasons, steps
from dyff.operator.manifests import deployment, network, runners, service

KIND = port.custom(inference_session.RESOURCE)
COMPONENT = "infer"
MAX_CRASHES = 3
"""After so many ends of a runner that has never been ready, it is considered broken."""

QUEUED = "Queued"
"""The condition that is True while all pods wait for their turn in a queue of the cluster. The start has no deadline then."""

_INVALID = "InvalidSpec"
"""The local kubelet's reason for a pod that it can never run."""


def wanted(name: str, resource: port.Object | None) -> plan.Wanted:
    """Its NetworkPolicy, its Service and its Deployment."""
    return plan.Wanted(tuple(plan.Ref(kind, name) for kind in (port.NETWORK_POLICY, port.SERVICE, port.DEPLOYMENT)), (COMPONENT,))


def decide(observed: plan.Observed, now: datetime, setup: plan.Setup) -> plan.Plan:
    """The next steps of a session that is neither finished nor being deleted."""
    spec = specs.session(observed.present)
    expires = spec.expires or _longest(observed, setup)
    if now >= expires:
        return _ended(observed, conditions.complete(reasons.EXPIRED, f"it expired at {clock.iso(expires)}"), reasons.EXPIRED, now)
    failure = _failure(observed, spec, now, setup)
    if failure is not None:
        return _ended(observed, conditions.failed(failure.reason, failure.message), failure.reason, now)
    deadline = [] if _ready_replicas(observed) else [_start_deadline(observed, now, setup)]
    actions = (*cleanup.interrupted(observed), *_missing(observed, setup))
    return plan.Plan(actions, _status(observed, spec, now), setup.look_again_s(now, *deadline, expires))


def _missing(observed: plan.Observed, setup: plan.Setup) -> Iterator[plan.Action]:
    """Create missing parts. The policy comes before the pods, and the Service, so that clients have an address to poll."""
    name = observed.request.name
    yield from policies.ensure(observed, network.build(observed.present, COMPONENT, setup))
    if observed.get(port.SERVICE, name) is None:
        yield plan.Create(port.SERVICE, service.build(observed.present, COMPONENT, setup))
    if observed.get(port.DEPLOYMENT, name) is None:
        yield plan.Create(port.DEPLOYMENT, deployment.build(observed.present, COMPONENT, setup))


def _longest(observed: plan.Observed, setup: plan.Setup) -> datetime:
    """When a session ends that has no end of its own."""
    created = clock.parse_iso(observed.present["metadata"]["creationTimestamp"])
    return created + timedelta(seconds=setup.operator.programs.max_life_s)


def _status(observed: plan.Observed, spec: specs.Session, now: datetime) -> port.Object | None:
    """The condition Ready follows the pods; `readySince` records the first time."""
    ready = _ready_replicas(observed)
    message = f"{ready} of {spec.replicas} replicas ready"
    waits = _trouble(observed) if ready < spec.replicas else ""
    message += f" ({waits})" if waits else ""
    unready = reasons.PODS_NOT_READY if _was_ready(observed) else reasons.STARTING
    reason = reasons.PODS_READY if ready else unready
    wanted_conditions = {conditions.READY: conditions.Condition(ready > 0, reason, message), **conditions.running(reason, message)}
    queued = _is_queued(observed)
    if queued or conditions.get(observed.present, QUEUED) is not None:
        wanted_conditions[QUEUED] = conditions.Condition(queued, reasons.QUEUED if queued else reasons.ADMITTED)
    first = {"readySince": clock.iso(now)} if ready and not _was_ready(observed) else None
    return conditions.status_patch(observed.present, wanted_conditions, now, first)


def _ended(observed: plan.Observed, ending: dict[str, conditions.Condition], reason: str, now: datetime) -> plan.Plan:
    """A session that has ended no longer serves: its Deployment and Service are deleted."""
    not_ready = {conditions.READY: conditions.Condition(False, reason, "the session has ended")}
    return plan.Plan(cleanup.leftovers(observed), conditions.status_patch(observed.present, {**ending, **not_ready}, now))


def _failure(observed: plan.Observed, spec: specs.Session, now: datetime, setup: plan.Setup) -> jobs.Outcome | None:
    """Why the session can never serve; None if it serves or still can."""
    problem = runners.problem(spec)
    if problem is None and observed.get(port.DEPLOYMENT, observed.request.name) is None:
        problem = runners.wrong_variable(spec)  # what an earlier release started may run to its end
    if problem is not None:
        return jobs.Outcome(False, reasons.NOT_SUPPORTED, problem)
    if _ready_replicas(observed):
        return None
    if not _was_ready(observed):
        hopeless = _hopeless(observed, now, setup)
        if hopeless is not None:
            return hopeless
    if now < _start_deadline(observed, now, setup):
        return None
    limit_s = setup.operator.session_start_deadline_s
    crash = pods.last_failure(_pods(observed), observed.logs)
    detail = crash.text() if crash else _trouble(observed) or "its pods do not say why"
    advice = "fix the problem below, or allow more time with the setting operator.session_start_deadline_s"
    reason = reasons.RUNNER_FAILED if crash else reasons.DEADLINE_EXCEEDED
    return jobs.Outcome(False, reason, f"no replica was ready for {limit_s:g} s; {advice}. {detail}")


def _hopeless(observed: plan.Observed, now: datetime, setup: plan.Setup) -> jobs.Outcome | None:
    """A failure that more time cannot fix, for a session that has never been ready; None if there is none."""
    blocked = pods.not_runnable(_pods(observed), now, setup.operator.image_pull_patience_s)
    if blocked is not None:
        return jobs.Outcome(False, reasons.IMAGE_NOT_RUNNABLE, blocked)
    failures = [found for pod in _pods(observed) if (found := pods.failure(pod, observed.logs)) is not None]
    invalid = [each for each in failures if each.reason == _INVALID]
    if invalid:
        return jobs.Outcome(False, reasons.NOT_SUPPORTED, f"this cluster cannot run the service: {invalid[0].words}")
    # An evicted pod is not restarted but replaced, so each time another pod has failed.
    often = pods.ended_badly(_pods(observed)) >= MAX_CRASHES
    final = steps.FETCH_DATA_FINAL
    crashed = [each for each in failures if often or each.restarts >= MAX_CRASHES or (each.initial and each.exit_code in final)]
    if not crashed:
        return None
    what = (
        "the data of the session could not be fetched" if crashed[0].initial else "the runner ends again and again without becoming ready"
    )
    reason = reasons.FETCH_FAILED if crashed[0].initial else reasons.RUNNER_FAILED
    return jobs.Outcome(False, reason, f"{what}: {crashed[0].text()}")


def _trouble(observed: plan.Observed) -> str:
    """What keeps its pods from being ready; empty if nothing is known."""
    own = _pods(observed)
    waits = pods.waiting([pod for pod in own if pods.live(pod)])
    failed = pods.last_failure([pod for pod in own if not pods.live(pod)], observed.logs)
    before = f"before: {failed.line()}" if failed is not None else ""
    refused = (conditions.true_condition(observed.present, "Refused") or {}).get("message", "")
    return "; ".join(each for each in (refused, waits, before, _not_made(observed)) if each)


def _not_made(observed: plan.Observed) -> str:
    """Why the cluster refuses to create its pods; empty if it does not."""
    found = observed.get(port.DEPLOYMENT, observed.request.name) or {}
    failure = conditions.true_condition(found, "ReplicaFailure")
    if failure is None:
        return ""
    return f"no pod can be made: {failure.get('message') or failure.get('reason')}; request what the namespace allows"


def _start_deadline(observed: plan.Observed, now: datetime, setup: plan.Setup) -> datetime:
    """Until when it can be without a ready replica, counted from the start, from the loss of the last one, or from when its pods left the
    queue of the cluster.
    """
    if _is_queued(observed):
        return now + timedelta(seconds=setup.operator.session_start_deadline_s)
    unready = None if conditions.is_true(observed.present, conditions.READY) else conditions.since(observed.present, conditions.READY, now)
    if unready is not None and conditions.get(observed.present, QUEUED) is not None:
        left = now if conditions.is_true(observed.present, QUEUED) else conditions.since(observed.present, QUEUED, now)
        unready = max(unready, left)
    return (unready or now) + timedelta(seconds=setup.operator.session_start_deadline_s)


def _is_queued(observed: plan.Observed) -> bool:
    """Whether none of its pods may be scheduled yet, for instance because they wait in a queue of the cluster."""
    own = [pod for pod in _pods(observed) if pods.live(pod)]
    return bool(own) and all(map(pods.gated, own))


def _ready_replicas(observed: plan.Observed) -> int:
    found = observed.get(port.DEPLOYMENT, observed.request.name)
    return int(((found or {}).get("status") or {}).get("readyReplicas") or 0)


def _was_ready(observed: plan.Observed) -> bool:
    return "readySince" in (observed.present.get("status") or {})


def _pods(observed: plan.Observed) -> list[port.Object]:
    return pods.of_component(observed.pods, COMPONENT)
