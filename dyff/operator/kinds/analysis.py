"""An Analysis. Its schema is fixed and can be installed, but nothing runs it yet: it fails with a message instead of waiting forever."""

from __future__ import annotations

from datetime import datetime

from dyff.cluster import conditions, port
from dyff.entities import analysis, specs
from dyff.operator import plan, reasons

KIND = port.custom(analysis.RESOURCE)
_MESSAGE = "this release of the operator does not run analyses; install one that does, then create the resource again"


def wanted(name: str, resource: port.Object | None) -> plan.Wanted:
    """Empty: it has no parts."""
    return plan.Wanted((), ())


def decide(observed: plan.Observed, now: datetime, setup: plan.Setup) -> plan.Plan:
    """It ends immediately."""
    specs.read(observed.present, specs.Analysis)
    return plan.Plan((), conditions.status_patch(observed.present, conditions.failed(reasons.NOT_SUPPORTED, _MESSAGE), now))
