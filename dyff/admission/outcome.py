"""The outcome of admission for a waiting entity. A refusal is a value, with a reason for programs and a message for people."""

from __future__ import annotations

import enum

import msgspec

from dyff.admission.snapshot import Waiting
from dyff.entities import statuses


class Verdict(enum.IntEnum):
    """Ordered from worst to best. If several apply to an entity, the worst one counts."""

    FAILED_DEPENDENCY = 1
    NEVER_FITS = 2
    UNSATISFIED_DEPENDENCY = 3
    ACCOUNT_SUSPENDED = 4
    QUOTA_LIMIT = 5
    ADMIT = 6


_REASONS = {
    Verdict.FAILED_DEPENDENCY: statuses.FAILED_DEPENDENCY,
    Verdict.NEVER_FITS: statuses.QUOTA_LIMIT,
    Verdict.UNSATISFIED_DEPENDENCY: statuses.UNSATISFIED_DEPENDENCY,
    Verdict.ACCOUNT_SUSPENDED: statuses.ACCOUNT_SUSPENDED,
    Verdict.QUOTA_LIMIT: statuses.QUOTA_LIMIT,
    Verdict.ADMIT: None,
}


class Decision(msgspec.Struct, frozen=True):
    """The new status, reason and message of an entity. A reason or message of None clears the field."""

    id: str
    verdict: Verdict
    status: str
    reason: str | None
    message: str | None


def decision(entity: Waiting, verdict: Verdict, message: str | None = None) -> Decision:
    """The decision for `entity` that corresponds to `verdict`."""
    if verdict is Verdict.ADMIT:
        status = statuses.SCHEDULABLE if entity.runs else entity.success
    else:
        status = entity.failure if verdict <= Verdict.NEVER_FITS else statuses.CREATED
    return Decision(entity.id, verdict, status, _REASONS[verdict], message)


def suspension(account: str) -> str:
    """The message for entities of a suspended account."""
    return f"The account {account} is suspended: nothing new of it starts until an administrator reactivates it"


def is_news(entity: Waiting, said: Decision) -> bool:
    """Whether `said` differs from the entity's present status, reason and message.

    A quota message keeps the numbers of the first decision. They change whenever something starts or ends, and recording
    each change for all waiting entities would flood the log.
    """
    if said.status != statuses.CREATED or said.reason != entity.reason:
        return True
    return said.verdict is not Verdict.QUOTA_LIMIT and said.message != entity.message
