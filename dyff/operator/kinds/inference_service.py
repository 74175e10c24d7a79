"""An InferenceService: only a description. It is validated, so that mistakes are reported, and nothing is run."""

from __future__ import annotations

from datetime import datetime

from dyff.cluster import conditions, port
from dyff.entities import specs
from dyff.entities.kinds import inference_service
from dyff.operator import plan, reasons
from dyff.operator.manifests import runners

KIND = port.custom(inference_service.RESOURCE)


def wanted(name: str, resource: port.Object | None) -> plan.Wanted:
    """Empty: it has no parts."""
    return plan.Wanted((), ())


def decide(observed: plan.Observed, now: datetime, setup: plan.Setup) -> plan.Plan:
    """It ends immediately: successfully, unless no session could ever run it."""
    problem = runners.problem(specs.read(observed.present, specs.Service))
    if problem is not None:
        ended = conditions.failed(reasons.NOT_SUPPORTED, problem)
    else:
        ended = conditions.complete(reasons.NOTHING_TO_RUN, "a service runs nothing itself; create an InferenceSession to run it")
    return plan.Plan((), conditions.status_patch(observed.present, ended, now))
