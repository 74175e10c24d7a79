"""What the groups for measurements and safety cases share."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from dyff.sdk import arguments, downloads, exports, groups, listing, models, requests, sent
from dyff.sdk.calls import Awaited, S, iteration, operation
from dyff.sdk.groups import E


class Kept(groups.Group[S, E]):
    """A group of entities whose log is kept as a file."""

    @operation
    async def download_logs(self: Kept[Awaited, E], id: str, destination: Path | str) -> None:  # noqa: A002
        """Download what the run printed to a new file.

        Raises:
            FileExistsError: the destination already exists.
            NotFound: the run has printed nothing (yet).

        Example:
            `client.measurements.download_logs(measurement.id, "log.txt")`
        """
        await downloads.file(self._http.io, lambda: self._log(id), arguments.destination(destination, "destination"), id)

    @iteration
    async def logs(self: Kept[Awaited, E], /, id: str) -> AsyncIterator[str]:  # noqa: A002
        """Iterate over the lines that the run printed, from the file that is kept of them.

        Raises:
            NotFound: the run has printed nothing (yet).

        Example:
            `for line in client.measurements.logs(measurement.id): print(line)`
        """
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "log.txt"
            await downloads.file(self._http.io, lambda: self._log(id), place, id)
            with place.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    yield line.rstrip("\n")

    async def _log(self, id: str) -> list[models.Downlink]:  # noqa: A002
        return [models.read(await self._http.call("GET", self._path(id, "logs")), models.Downlink)]


class Analyses(
    groups.Creatable[S, E, requests.AnalysisCreateRequest],
    groups.Downloadable[S, E],
    groups.Logged[S, E],
    Kept[S, E],
    exports.Scored[S, E],
):
    """A group of entities that a method computes."""

    @operation
    async def scores(self, id: str) -> list[models.Score]:  # noqa: A002
        """Return the scores that one of them has; none before it is complete.

        Example:
            `client.safetycases.scores(safetycase.id)`
        """
        return listing.read(await self._http.call("GET", self._path(id, "scores")), models.Score)

    @operation
    async def curves(self, id: str) -> list[models.Curve]:  # noqa: A002
        """Return the curves that one of them has; none before it is complete.

        Example:
            `client.safetycases.curves(safetycase.id)`
        """
        return listing.read(await self._http.call("GET", self._path(id, "curves")), models.Curve)

    @operation
    async def query_scores(
        self,
        *,
        query: sent.Query | None = None,
        id: str | None = None,  # noqa: A002
        name: str | None = None,
        analysis: str | None = None,
        method: str | None = None,
        methodName: str | None = None,
        dataset: str | None = None,
        evaluation: str | None = None,
        inferenceService: str | None = None,
        model: str | None = None,
        limit: int | None = None,
    ) -> list[models.Score]:
        """Return the scores that match, of all that the token may see. `id`: of a score, or of what has it (`analysis`).

        Example:
            `client.safetycases.query_scores(method=method.id, name="error_rate")`
        """
        params = sent.terms(
            query, limit, id=id, name=name, analysis=analysis, method=method, methodName=methodName, dataset=dataset,
            evaluation=evaluation, inferenceService=inferenceService, model=model,
        )  # fmt: skip
        return listing.read(await self._http.call("GET", f"{self._all}/scores", params=params), models.Score)

    @operation
    async def query_curves(
        self,
        *,
        query: sent.Query | None = None,
        id: str | None = None,  # noqa: A002
        name: str | None = None,
        analysis: str | None = None,
        method: str | None = None,
        methodName: str | None = None,
        dataset: str | None = None,
        evaluation: str | None = None,
        inferenceService: str | None = None,
        model: str | None = None,
        limit: int | None = None,
    ) -> list[models.Curve]:
        """Return the curves that match, of all that the token may see; see `query_scores`.

        Example:
            `client.safetycases.query_curves(analysis=safetycase.id)`
        """
        params = sent.terms(
            query, limit, id=id, name=name, analysis=analysis, method=method, methodName=methodName, dataset=dataset,
            evaluation=evaluation, inferenceService=inferenceService, model=model,
        )  # fmt: skip
        return listing.read(await self._http.call("GET", f"{self._all}/curves", params=params), models.Curve)
