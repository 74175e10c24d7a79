"""An Evaluation: an inference session, the client that sends it the dataset, then the verification of the outputs.

If client or verification fails, what was completed is published as incomplete before the evaluation ends as failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dyff.cluster import conditions, port
from dyff.entities import custom_resource, specs
from dyff.entities.kinds import evaluation, inference_session
from dyff.kernel import clock
from dyff.operator import cleanup, graph, jobs, plan, pods, reasons, steps
from dyff.operator.kinds import inference_session as inference_session_plan
from dyff.operator.manifests import metadata

KIND = port.custom(evaluation.RESOURCE)
SESSION = port.custom(inference_session.RESOURCE)
SESSION_COMPONENT = "infer"
_CLIENT_SLACK_S = 300
"""Time for the client apart from waiting for the session and sending items: to start, to find existing outputs, to end."""
_LONGEST_S = 30 * 86400
"""Time limit for any client, also if its `totalTimeoutSeconds` is 0, which means no limit: nothing runs forever."""

_STEPS = (steps.CLIENT, steps.VERIFY, steps.SALVAGE)
_FAILURE = "failure"
"""The key in the status's `steps` of the failure, as JSON, while what was completed is published."""

_PATIENCE_S = 60
"""How long the publication waits for the end of the pods that write, which may be on a lost node. A late writer does no harm."""

_NOTHING_DONE = frozenset({reasons.IMAGE_NOT_RUNNABLE, reasons.SCHEMA_ERROR})
"""After these reasons there is nothing to publish."""


class _Failure(msgspec.Struct, frozen=True):
    """How client or verification failed, and when that was noticed."""

    reason: str
    message: str
    at: datetime


def wanted(name: str, resource: port.Object | None) -> plan.Wanted:
    """Its steps, its own session or the one that it refers to, and the address of that session."""
    own_session = plan.Ref(SESSION, f"{name}-{SESSION_COMPONENT}")
    of_steps = jobs.refs(name, *_STEPS)
    components = tuple(step.component for step in _STEPS)
    reference = ((resource or {}).get("spec") or {}).get("inferenceSessionReference")
    if not isinstance(reference, str):
        return plan.Wanted((own_session, *of_steps), components, services=(own_session.name,))
    other = plan.Ref(SESSION, custom_resource.name(inference_session.RESOURCE, reference))
    return plan.Wanted(of_steps, components, (other,), (other.name,))


def decide(observed: plan.Observed, now: datetime, setup: plan.Setup) -> plan.Plan:
    """The next steps of an evaluation that is neither finished nor being deleted."""
    spec = specs.evaluation(observed.present)
    recorded = ((observed.present.get("status") or {}).get("steps") or {}).get(_FAILURE)
    if recorded is not None:
        return _salvage(observed, msgspec.json.decode(recorded, type=_Failure), now, setup)
    client = jobs.outcome(observed, steps.CLIENT, now, setup)
    if client is not None and client.succeeded:
        return _verification(observed, spec, now, setup)
    lost = _session_lost(observed, spec, now, setup)
    if lost is not None:
        return _failed(observed, lost, now, setup)
    if client is not None:
        return _failed(observed, client, now, setup)
    return _inference(observed, spec, now, setup)


def _inference(observed: plan.Observed, spec: specs.Evaluation, now: datetime, setup: plan.Setup) -> plan.Plan:
    """Session and client, at the same time: the client polls the session itself and only needs its address."""
    found, resource = _session(observed), observed.present
    actions: list[plan.Action] = [*cleanup.interrupted(observed)]
    if found is None and spec.inference_session is not None:
        actions.append(plan.Create(SESSION, _own_session(observed)))
    url = observed.urls.get(_session_name(observed))
    if conditions.is_true(found or {}, inference_session_plan.QUEUED):
        # Its time would run out before the session has any. It starts again afterwards, and goes on from what is stored.
        actions.extend(cleanup.stopped(observed, jobs.name(observed, steps.CLIENT)))
    elif url is not None:
        actions.extend(graph.missing(observed, _client(observed, spec, setup, {"url": url, **_replicas(spec, found)}), setup))
    started = observed.get(port.JOB, jobs.name(observed, steps.CLIENT)) is not None
    reason = reasons.INFERENCE if started else reasons.WAITING_FOR_SESSION
    message = _session_text(found)
    if started:
        message = f"{jobs.progress(observed, steps.CLIENT)}; {message}"
    status = conditions.status_patch(resource, conditions.running(reason, message), now)
    return plan.Plan(tuple(actions), status, setup.look_again_s(now, *graph.deadlines(observed, steps.CLIENT)))


def _own_session(observed: plan.Observed) -> port.Object:
    """An InferenceSession that runs the evaluation's template and is deleted with the evaluation."""
    resource = observed.present
    spec = resource["spec"]
    return {
        "apiVersion": SESSION.api_version,
        "kind": SESSION.kind,
        "metadata": metadata.of_child(resource, _session_name(observed), SESSION_COMPONENT),
        "spec": {"id": spec["id"], "account": spec["account"], **spec["inferenceSession"]},
    }


def _client(observed: plan.Observed, spec: specs.Evaluation, setup: plan.Setup, session: Mapping[str, Any]) -> graph.Node:
    """The client. `session`: how it reaches the service."""
    manifest = {"spec": observed.present["spec"], "session": session}
    return graph.Node(steps.CLIENT, reasons.INFERENCE, manifest, _client_deadline_s(spec, setup), env=_client_env(setup))


def _verification(observed: plan.Observed, spec: specs.Evaluation, now: datetime, setup: plan.Setup) -> plan.Plan:
    """Run the verification. The client's outcome is recorded and its session is deleted, since it is no longer needed."""
    verify = _own_step(observed, steps.VERIFY, setup, cleanup.removed(observed, SESSION))

    def failed(outcome: jobs.Outcome, done: graph.Done) -> plan.Plan:
        return _failed(observed, outcome, now, setup, done)

    nodes = (_client(observed, spec, setup, {}), verify)
    return graph.decide(observed, nodes, now, setup, complete="all items have verified outputs", failed=failed)


def _own_step(observed: plan.Observed, step: steps.Step, setup: plan.Setup, first: tuple[plan.Action, ...]) -> graph.Node:
    """A step that needs no session: it works on what the client has stored."""
    deadline_s = int(setup.operator.job_deadline_s)
    return graph.Node(step, reasons.UNVERIFIED, {"spec": observed.present["spec"]}, deadline_s, first)


def _failed(observed: plan.Observed, outcome: jobs.Outcome, now: datetime, setup: plan.Setup, done: graph.Done | None = None) -> plan.Plan:
    """End as failed; if the client may have completed items, publish them first."""
    if outcome.reason in _NOTHING_DONE or observed.get(port.JOB, jobs.name(observed, steps.CLIENT)) is None:
        return graph.ended(observed, conditions.failed(outcome.reason, outcome.message), now, done)
    failure = _Failure(outcome.reason, outcome.message, now)
    return _salvage(observed, failure, now, setup, {"steps": {**(done or {}), _FAILURE: msgspec.json.encode(failure).decode()}})


def _salvage(
    observed: plan.Observed, failure: _Failure, now: datetime, setup: plan.Setup, fields: Mapping[str, Any] | None = None
) -> plan.Plan:
    """Publish what was completed as incomplete, once nothing writes any more; then end as failed."""
    published = jobs.outcome(observed, steps.SALVAGE, now, setup)
    if published is not None:
        message = failure.message
        if not published.succeeded:
            message += f"\nWhat was completed could not be published: {published.message}"
        return graph.ended(observed, conditions.failed(failure.reason, message), now, fields=fields)
    stopped = cleanup.stopped(observed, jobs.name(observed, steps.CLIENT), jobs.name(observed, steps.VERIFY))
    first = (*cleanup.removed(observed, SESSION), *stopped)
    patience = failure.at + timedelta(seconds=_PATIENCE_S)
    if now < patience and any(pods.live(pod) for pod in observed.pods if _component(pod) != steps.SALVAGE.component):
        message = _published("waiting until its programs have ended", failure)
        status = conditions.status_patch(observed.present, conditions.running(reasons.UNVERIFIED, message), now, fields)
        return plan.Plan((*cleanup.interrupted(observed), *first), status, setup.look_again_s(now, patience))
    message = _published(jobs.progress(observed, steps.SALVAGE), failure)
    return graph.running(observed, _own_step(observed, steps.SALVAGE, setup, first), now, setup, message=message, fields=fields)


def _published(what: str, failure: _Failure) -> str:
    return f"it has failed, and what was completed is being published ({what}). {failure.message}"


def _component(pod: port.Object) -> str:
    return str(pod["metadata"]["labels"].get("dyff.io/component"))


def _session_lost(observed: plan.Observed, spec: specs.Evaluation, now: datetime, setup: plan.Setup) -> jobs.Outcome | None:
    """Why the session can no longer serve; None if it serves or still can."""
    found, name = _session(observed), _session_name(observed)
    failure = conditions.true_condition(found or {}, conditions.FAILED)
    if failure is not None:
        return jobs.Outcome(False, failure["reason"], failure["message"])
    if found is not None and conditions.is_true(found, conditions.COMPLETE):
        message = f"the inference session {name} expired before all items were done; let it run longer with `expires`"
        return jobs.Outcome(False, reasons.SESSION_EXPIRED, message)
    if spec.inference_session is not None:
        return None
    if found is not None and not pods.deleting(found):
        return None
    if found is not None or observed.get(port.JOB, jobs.name(observed, steps.CLIENT)) is not None:
        message = f"the inference session {name} was ended before the evaluation; create a session that stays and evaluate it again"
        return jobs.Outcome(False, reasons.SESSION_EXPIRED, message)
    if now > _reference_deadline(observed, setup):
        message = f"there is no inference session {name}; refer to one that runs, or leave inferenceSessionReference out"
        return jobs.Outcome(False, reasons.SESSION_NOT_FOUND, message)
    return None


def _replicas(spec: specs.Evaluation, found: port.Object | None) -> dict[str, int]:
    """The replicas of a session that the evaluation does not own: the client's number of workers depends on them."""
    if spec.inference_session is not None or found is None:
        return {}
    return {"replicas": specs.session(found).replicas}


def _reference_deadline(observed: plan.Observed, setup: plan.Setup) -> datetime:
    created = clock.parse_iso(observed.present["metadata"]["creationTimestamp"])
    return created + timedelta(seconds=setup.operator.session_start_deadline_s)


def _client_deadline_s(spec: specs.Evaluation, setup: plan.Setup) -> int:
    limit_s = min(spec.client.total_timeout_seconds or _LONGEST_S, _LONGEST_S)
    return int(setup.operator.session_start_deadline_s) + limit_s + _CLIENT_SLACK_S


def _client_env(setup: plan.Setup) -> dict[str, str]:
    """What the client keeps of its exchanges with the service, see `dyff.workflows.kept`."""
    kept = setup.operator
    return {"DYFF_EXCHANGE_ITEM_BYTES": str(kept.exchange_item_bytes), "DYFF_EXCHANGE_RUN_BYTES": str(kept.exchange_run_bytes)}


def _session_name(observed: plan.Observed) -> str:
    return observed.wanted.services[0]


def _session(observed: plan.Observed) -> port.Object | None:
    return observed.get(SESSION, _session_name(observed))


def _session_text(found: port.Object | None) -> str:
    """The state of the session, as a message."""
    if found is None:
        return "the inference session does not exist yet"
    ready = conditions.get(found, conditions.READY)
    return f"{custom_resource.SESSION_SAYS}{ready['message']}" if ready else "the inference session has not begun to start"
