"""A Widget that is painted."""

from __future__ import annotations

from datetime import datetime

from dyff.cluster import conditions, port
from dyff.entities import specs
from dyff.entities.kinds import widget
from dyff.operator import cleanup, jobs, plan, reasons, steps

PAINT = steps.Step(
    component="paint",
    program="paint-widget",
    title="the painting",
    reason="PaintingFailed",
    endings=steps.COMMON,
    when_late="raise the setting operator.job_deadline_s",
    retries=2,
)


def wanted(name: str, resource: port.Object | None) -> plan.Wanted:
    """Its one step."""
    return plan.Wanted(jobs.refs(name, PAINT), (PAINT.component,))


def decide(observed: plan.Observed, now: datetime, setup: plan.Setup) -> plan.Plan:
    """The next steps of a widget that is neither finished nor being deleted."""
    resource = observed.present
    specs.read(resource, widget.WidgetSpec)
    outcome = jobs.outcome(observed, PAINT, now, setup)
    if outcome is not None:
        ended = conditions.complete(reasons.COMPLETE) if outcome.succeeded else conditions.failed(outcome.reason, outcome.message)
        return plan.Plan(cleanup.leftovers(observed), conditions.status_patch(resource, ended, now))
    deadline_s = int(setup.operator.job_deadline_s)
    missing = jobs.ensure(observed, PAINT, setup, manifest={"spec": resource["spec"]}, deadline_s=deadline_s)
    status = conditions.status_patch(resource, conditions.running("Painting", jobs.progress(observed, PAINT)), now)
    return plan.Plan((*cleanup.interrupted(observed), *missing), status, setup.look_again_s(now))
