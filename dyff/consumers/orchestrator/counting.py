"""The metrics of the orchestrator's passes: what waits and why, what runs, and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from dyff.admission import outcome
from dyff.consumers.common.mirror import Mirrored
from dyff.consumers.orchestrator import runs
from dyff.entities import statuses
from dyff.kernel import errors
from dyff.kernel.telemetry import metrics, names

UPLOAD = statuses.WAITING_FOR_UPLOAD
REASONS = (statuses.UNSATISFIED_DEPENDENCY, statuses.QUOTA_LIMIT, statuses.ACCOUNT_SUSPENDED, UPLOAD)
"""Why an entity waits: what admission says, or that its files are still to come."""


class Counted:
    """The metrics of one orchestrator. `follow`: called after each pass with all live entities."""

    def __init__(self, measured: metrics.Metrics) -> None:
        """There was no admission cycle yet."""
        self.cycles, self.passes = measured.histogram(names.CYCLE), measured.histogram(names.PASS)
        self.follow: Callable[[Iterable[Mirrored]], None] = lambda _: None
        self._errors = measured.counter(names.ACTION_ERRORS)
        self._waiting: dict[str, float] = dict.fromkeys(REASONS, 0.0)
        self._admitted: dict[str, float] = {}
        self._accounts = metrics.Sticky(names.MAX_ACCOUNTS)

    def decided(self, decisions: Sequence[outcome.Decision], live: Iterable[Mirrored], using: Iterable[Mirrored]) -> None:
        """Keep the outcome of an admission cycle. `live`: the entities that have not ended. `using`: those that use quota."""
        found = Counter(each.reason for each in decisions if each.status == statuses.CREATED and each.reason is not None)
        found[UPLOAD] = sum(_waits_for_upload(each) for each in live)
        self._waiting = {**dict.fromkeys(REASONS, 0.0), **found}
        self._admitted = self._accounts.bounded(dict(Counter(str(each.entity.get("account", "")) for each in using)))

    def failed(self, action: runs.Create | runs.Delete | runs.Release, error: errors.DyffError) -> None:
        """Count an action that failed."""
        self._errors.add(type(action).__name__, type(error).__name__)

    async def read(self) -> list[metrics.Sample]:
        """The gauges, as of the last cycle."""
        waiting = [metrics.Sample(names.WAITING, float(number), (reason,)) for reason, number in self._waiting.items()]
        return waiting + [metrics.Sample(names.ADMITTED, float(number), (account,)) for account, number in self._admitted.items()]


def _waits_for_upload(each: Mirrored) -> bool:
    return UPLOAD in (each.entity.get("status"), each.entity.get("reason"))
