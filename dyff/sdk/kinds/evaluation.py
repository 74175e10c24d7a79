"""The client's group for evaluations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from dyff.sdk import arguments, downloads, exports, groups, listing, models, paging, requests
from dyff.sdk.calls import Awaited, S, iteration, operation

SAMPLES = 100
"""Samples that are fetched at a time."""


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
    async def samples(
        self: Evaluations[Awaited],
        /,
        id: str,  # noqa: A002
        *,
        errors: bool | None = None,
        text: str | None = None,
        index: int | None = None,
        replication: str | int | None = None,
        score: str | None = None,
        least: float | None = None,
        most: float | None = None,
        value: str | float | bool | None = None,
        measurements: Sequence[str] | None = None,
        incomplete: bool = False,
    ) -> AsyncIterator[models.Sample]:
        """Iterate over its samples, by index and replication: items with responses, errors and scores. Long values are cut to 2 KiB.

        Only those that fit all that is given. `errors`: with, or without an error. `text`: in any value. `replication`: its ID, or its
        number from 0. `score`: a column of measurements, with a value from `least` to `most`, or that is `value`. `measurements`: IDs of
        those whose scores are shown; None for the newest. `incomplete`: also what a failed run has completed.

        Raises:
            Refused: it has no outputs (yet).

        Example:
            `for sample in client.evaluations.samples(evaluation.id, errors=True): print(sample.index, sample.error)`
        """

        async def page(after: str | None) -> models.Samples:
            return await self.samples_page(
                id, errors=errors, text=text, index=index, replication=replication, score=score, least=least, most=most, value=value,
                measurements=measurements, incomplete=incomplete, limit=SAMPLES, after=after,
            )  # fmt: skip

        async for each in paging.every(page, lambda found: found.samples):
            yield each

    @operation
    async def samples_page(
        self,
        id: str,  # noqa: A002
        *,
        errors: bool | None = None,
        text: str | None = None,
        index: int | None = None,
        replication: str | int | None = None,
        score: str | None = None,
        least: float | None = None,
        most: float | None = None,
        value: str | float | bool | None = None,
        measurements: Sequence[str] | None = None,
        incomplete: bool = False,
        limit: int | None = None,
        after: str | None = None,
    ) -> models.Samples:
        """Return one page of what `samples` iterates over, with what is not shown and why, and `next`, where the next page begins.

        `limit`: 1 to 100; None for 25. `after`: `next` of the page before. A page can have fewer samples than `limit`, also none, although
        there are more: only `next` says where the end is.

        Example:
            `client.evaluations.samples_page(evaluation.id, errors=True, limit=10).next`
        """
        flags = {True: "true", False: "false", None: None}
        params = {
            "limit": limit, "after": after, "errors": flags[errors], "text": text, "index": index, "replication": replication,
            "score": score, "min": least, "max": most, "value": flags[value] if isinstance(value, bool) else value,
            "measurements": None if measurements is None else ",".join(measurements), "incomplete": "true" if incomplete else None,
        }  # fmt: skip
        return models.read(await self._http.call("GET", self._path(id, "samples"), params=params), models.Samples)

    @operation
    async def sample(self, id: str, index: int, *, incomplete: bool = False) -> list[models.Sample]:  # noqa: A002
        """Return the samples of one index, one for each replication, with values up to 256 KiB and with what was sent and received.

        Example:
            `client.evaluations.sample(evaluation.id, 7)[0].responses`
        """
        params = {"incomplete": "true"} if incomplete else None
        return models.read(await self._http.call("GET", self._path(id, f"samples/{int(index)}"), params=params), models.Samples).samples

    @operation
    async def sample_value(self, cell: models.Cell) -> bytes:
        """Return the whole value of a cell that has a `url`, as bytes: a text in UTF-8, JSON, or the bytes of a binary column.

        Example:
            `client.evaluations.sample_value(sample.item[0])`
        """
        if cell.url is None:
            raise ValueError(f"the cell {cell.name!r} has no url: its value is whole")
        place = urlsplit(cell.url)
        return (await self._http.answer("GET", place.path.removeprefix("/v0"), params=dict(parse_qsl(place.query)))).content

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
