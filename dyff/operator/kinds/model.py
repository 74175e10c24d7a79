"""A Model that is fetched from its source."""

from __future__ import annotations

from datetime import datetime

from dyff.cluster import conditions, port
from dyff.entities import specs
from dyff.entities.kinds import model
from dyff.operator import cleanup, jobs, plan, reasons, steps

KIND = port.custom(model.RESOURCE)
_REQUESTS = ("cpu", "memory")
_ALLOWED = "DYFF_FETCH_ALLOWED_HOSTS"


def wanted(name: str, resource: port.Object | None) -> plan.Wanted:
    """Its only step."""
    return plan.Wanted(jobs.refs(name, steps.FETCH), (steps.FETCH.component,))


def decide(observed: plan.Observed, now: datetime, setup: plan.Setup) -> plan.Plan:
    """The next steps of a model that is neither finished nor being deleted."""
    resource, spec = observed.present, specs.model(observed.present)
    fetch = jobs.outcome(observed, steps.FETCH, now, setup)
    if fetch is not None:
        ended = conditions.complete(reasons.COMPLETE) if fetch.succeeded else conditions.failed(fetch.reason, fetch.message)
        return plan.Plan(cleanup.leftovers(observed), conditions.status_patch(resource, ended, now))
    missing = jobs.ensure(
        observed,
        steps.FETCH,
        setup,
        manifest={"spec": resource["spec"]},
        deadline_s=int(setup.operator.job_deadline_s),
        requests={key: str(spec.resources[key]) for key in _REQUESTS if key in spec.resources},
        env=_environment(setup),
        secrets=(setup.operator.fetch_secret,) if setup.operator.fetch_secret else (),
    )
    message = jobs.progress(observed, steps.FETCH)
    status = conditions.status_patch(resource, conditions.running(reasons.FETCHING, message), now)
    found = observed.get(port.JOB, jobs.name(observed, steps.FETCH))
    deadlines = [due] if found is not None and (due := jobs.overdue(found)) is not None else []
    return plan.Plan((*cleanup.interrupted(observed), *missing), status, setup.look_again_s(now, *deadlines))


def _environment(setup: plan.Setup) -> dict[str, str]:
    allowed = setup.operator.fetch_allowed_hosts
    return {**setup.operator.fetch_env, **({_ALLOWED: ",".join(allowed)} if allowed else {})}
