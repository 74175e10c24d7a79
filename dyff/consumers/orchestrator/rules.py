"""What the settings say about runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec

from dyff.admission import snapshot
from dyff.kernel import errors, settings

Suspended = Callable[[str], Awaitable[bool]]


class Rules(msgspec.Struct, frozen=True):
    """Rules from the settings. `retention`: how long the resource of an ended run stays. `suspended`: None if no account ever is.
    `refusal_patience_s`: how long a resource that a policy of the cluster refuses is tried again; `passing_patience_s`: the same if the
    refusal is known to pass.
    """

    limits: snapshot.Amounts
    retention: timedelta
    suspended: Suspended | None
    refusal_patience_s: float = 120.0
    passing_patience_s: float = 3600.0

    @classmethod
    def of(cls, given: settings.Settings, suspended: Suspended | None) -> Rules:
        """The rules for these settings.

        Raises:
            Misconfigured: a quota is not a quantity.
        """
        try:
            limits = snapshot.limits(given.quotas)
        except ValueError as error:
            raise errors.Misconfigured(f"settings: quotas: {error}") from error
        retention = timedelta(seconds=given.orchestrator.finished_retention_s)
        return cls(limits, retention, suspended, given.operator.refusal_patience_s, given.operator.job_deadline_s)
