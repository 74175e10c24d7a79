"""A Model that is fetched from its source."""

from __future__ import annotations

from datetime import datetime

from dyff.cluster import port
from dyff.entities import specs
from dyff.entities.kinds import model
from dyff.operator import graph, jobs, plan, reasons, steps

KIND = port.custom(model.RESOURCE)
_REQUESTS = ("cpu", "memory")
_ALLOWED = "DYFF_FETCH_ALLOWED_HOSTS"


def wanted(name: str, resource: port.Object | None) -> plan.Wanted:
    """Its only step."""
    return plan.Wanted(jobs.refs(name, steps.FETCH), (steps.FETCH.component,))


def decide(observed: plan.Observed, now: datetime, setup: plan.Setup) -> plan.Plan:
    """The next steps of a model that is neither finished nor being deleted."""
    resource, spec = observed.present, specs.model(observed.present)
    fetch = graph.Node(
        steps.FETCH,
        reasons.FETCHING,
        {"spec": resource["spec"]},
        int(setup.operator.job_deadline_s),
        requests={key: str(spec.resources[key]) for key in _REQUESTS if key in spec.resources},
        env=_environment(setup),
        secrets=(setup.operator.fetch_secret,) if setup.operator.fetch_secret else (),
    )
    return graph.decide(observed, (fetch,), now, setup)


def _environment(setup: plan.Setup) -> dict[str, str]:
    allowed = setup.operator.fetch_allowed_hosts
    return {**setup.operator.fetch_env, **({_ALLOWED: ",".join(allowed)} if allowed else {})}
