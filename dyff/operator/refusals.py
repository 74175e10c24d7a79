"""What the status of a resource says about a part of it that the API server refuses. Pure.

The condition `Refused` is True while a part is refused, since its `lastTransitionTime`. Its message is what the server says, in the
words of the policy, so the owner sees it. If that lasts, the resource fails with the same words.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from dyff.cluster import conditions, port
from dyff.kernel import clock
from dyff.operator import applying, plan, reasons
from dyff.operator.kinds import table

REFUSED = reasons.REFUSED
"""The type of the condition."""


def decide(observed: plan.Observed, refusal: applying.Refusal, now: datetime, setup: plan.Setup) -> plan.Plan:
    """The plan for a resource of which a part was refused: it waits, or fails."""
    resource = observed.resource
    if resource is None or conditions.finished(resource):
        return plan.Plan()
    if refusal.final:
        return table.refused(observed, refusal.message, now)
    known = conditions.true_condition(resource, REFUSED)
    since = clock.parse_iso(known["lastTransitionTime"]) if known else now
    patience_s = setup.operator.job_deadline_s if refusal.passing else setup.operator.refusal_patience_s
    until = since + timedelta(seconds=patience_s)
    if refusal.fails and now >= until:
        why = f"{refusal.message}. It was refused since {clock.iso(since)}"
        return table.refused(observed, why, now, reasons.REFUSED)
    message = f"the API server refuses {refusal.message}; it is tried again" + (f" until {clock.iso(until)}" if refusal.fails else "")
    condition = conditions.Condition(True, reasons.WAITING if refusal.passing else reasons.REFUSED, message)
    return plan.Plan((), conditions.status_patch(resource, {REFUSED: condition}, now))


def cleared(observed: plan.Observed, decided: plan.Plan, now: datetime) -> plan.Plan:
    """`decided`, with the condition `Refused` set to False if nothing is left to do that could be refused, or if the resource completes.

    One that fails keeps it: it can be why.
    """
    resource = observed.resource
    if resource is None or conditions.true_condition(resource, REFUSED) is None:
        return decided
    completes = conditions.is_true({"status": decided.status_patch or {}}, conditions.COMPLETE)
    if not completes and (decided.actions or _ends(resource, decided)):
        return decided
    wanted = decided.status_patch or {}
    changed: port.Object = {**resource, "status": {**(resource.get("status") or {}), **wanted}}
    accepted = {REFUSED: conditions.Condition(False, reasons.ACCEPTED)}
    return msgspec.structs.replace(decided, status_patch={**wanted, **(conditions.status_patch(changed, accepted, now) or {})})


def _ends(resource: port.Object, decided: plan.Plan) -> bool:
    """Whether the resource has ended, or ends now."""
    return conditions.finished(resource) or conditions.finished({"status": decided.status_patch or {}})
