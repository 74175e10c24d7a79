"""The client's group for evaluations."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dyff.sdk import groups, models
from dyff.sdk.calls import Awaited, S, iteration


class Evaluations(groups.Creatable[S, models.Evaluation], groups.Downloadable[S, models.Evaluation], groups.Logged[S, models.Evaluation]):
    """Evaluations."""

    @iteration
    async def live(self: Evaluations[Awaited], /, account: str) -> AsyncIterator[models.Evaluation]:
        """Iterate over the account's evaluations that have not ended.

        Example:
            `for evaluation in client.evaluations.live("me"): print(evaluation.status, evaluation.reason)`
        """
        for status in ("Created", "Schedulable", "Admitted"):
            async for each in self.pages(account=account, status=status):
                yield each


GROUP = Evaluations
