"""An Analysis: one Job that fetches its inputs, runs the method's code, and stores what it wrote."""

from __future__ import annotations

from datetime import datetime

from dyff.cluster import port
from dyff.entities import analysis, specs
from dyff.operator import graph, jobs, plan, policies, reasons, steps
from dyff.operator.manifests import analysis as manifest
from dyff.operator.manifests import network

KIND = port.custom(analysis.RESOURCE)


def wanted(name: str, resource: port.Object | None) -> plan.Wanted:
    """Its only step, and the policy of that step's pods."""
    component = steps.ANALYZE.component
    policy = plan.Ref(port.NETWORK_POLICY, f"{name}-{component}")
    return plan.Wanted((policy, *jobs.refs(name, steps.ANALYZE)), (component,))


def decide(observed: plan.Observed, now: datetime, setup: plan.Setup) -> plan.Plan:
    """The next steps of an analysis that is neither finished nor being deleted."""
    resource, spec = observed.present, specs.read(observed.present, specs.Analysis)
    policy = network.of_step(resource, jobs.name(observed, steps.ANALYZE), steps.ANALYZE.component, setup)
    node = graph.Node(
        steps.ANALYZE,
        reasons.RUNNING,
        {"spec": resource["spec"], "limits": setup.analyses.limits},
        _deadline_s(setup),
        first=tuple(policies.ensure(observed, policy)),
        around=manifest.around(resource, spec, setup),
    )
    return graph.decide(observed, (node,), now, setup, complete="its results are stored")


def _deadline_s(setup: plan.Setup) -> int:
    """Every attempt can use all of the method's own time. What comes before and after it has the time of any other step."""
    attempts = steps.ANALYZE.retries + 1
    return attempts * setup.analyses.whole_timeout_s + int(setup.operator.job_deadline_s)
