"""The client's group for evaluations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from dyff.sdk import arguments, downloads, exports, groups, listing, models, requests
from dyff.sdk.calls import Awaited, S, iteration, operation


class Evaluations(
    groups.Creatable[S, models.Evaluation, requests.EvaluationCreateRequest],
    groups.Downloadable[S, models.Evaluation],
    groups.Logged[S, models.Evaluation],
    exports.Traced[S, models.Evaluation],
):
    """Evaluations."""

    @operation
    async def downlinks(self, id: str, *, incomplete: bool = False) -> list[models.Downlink]:  # noqa: A002
        """Return its artifacts, each with a URL that works for an hour without a token.

        `incomplete`: also of an evaluation that has failed; what is returned is then what it completed, and not all that was requested.

        Example:
            `client.evaluations.downlinks(evaluation.id, incomplete=True)`
        """
        params = {"incomplete": "true"} if incomplete else None
        return listing.read(await self._http.call("GET", self._path(id, "downlinks"), params=params), models.Downlink)

    @operation
    async def download(
        self: Evaluations[Awaited],
        id: str,  # noqa: A002
        destination: Path | str,
        *,
        incomplete: bool = False,
        progress: bool = True,
    ) -> None:
        """Download all artifacts to a new directory, in parallel, each checked against its digest. Shows progress by default.

        The directory appears when everything has arrived. After an interruption, the same call continues the download.

        `incomplete`: also of an evaluation that has failed; what is fetched is then what it completed, and not all that was requested.

        Raises:
            FileExistsError: the destination already exists.
            TransferFailed: the bytes are not the promised ones.

        Example:
            `client.evaluations.download(evaluation.id, "outputs", incomplete=True)`
        """

        async def links() -> list[models.Downlink]:
            return await self.downlinks(id, incomplete=incomplete)

        target = arguments.destination(destination, "destination")
        await downloads.download(self._http.io, links, target, id, progress=progress)

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
