"""What admission says to a waiting entity. "No" is a value, with a reason for programs and a sentence for people."""

from __future__ import annotations

import enum

import msgspec

from dyff.admission.snapshot import Waiting
from dyff.entities import statuses


class Verdict(enum.IntEnum):
    """From the worst to the best; of several that apply to an entity the worst holds."""

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
    """What one entity shall be: its new status, reason and message (None: cleared)."""

    id: str
    verdict: Verdict
    status: str
    reason: str | None
    message: str | None


def decision(entity: Waiting, verdict: Verdict, message: str | None = None) -> Decision:
    """The decision that `verdict` means for `entity`."""
    if verdict is Verdict.ADMIT:
        status = statuses.SCHEDULABLE if entity.runs else entity.success
    else:
        status = entity.failure if verdict <= Verdict.NEVER_FITS else statuses.CREATED
    return Decision(entity.id, verdict, status, _REASONS[verdict], message)


def suspension(account: str) -> str:
    """What is told to the entities of a suspended account."""
    return f"The account {account} is suspended: nothing new of it starts until an administrator reactivates it"


def is_news(entity: Waiting, said: Decision) -> bool:
    """Whether `said` differs from what the entity says already.

    The numbers in a quota's sentence are those of the first decision: they change with everything that starts or ends,
    and telling each change to all that wait would flood the log.
    """
    if said.status != statuses.CREATED or said.reason != entity.reason:
        return True
    return said.verdict is not Verdict.QUOTA_LIMIT and said.message != entity.message
