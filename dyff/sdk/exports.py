"""Operations that export entities in forms that others have defined (docs/exports.md)."""

from __future__ import annotations

from typing import Any

from dyff.sdk import groups, models
from dyff.sdk.calls import S, operation
from dyff.sdk.groups import E


class Traced(groups.Group[S, E]):
    """A group of entities that a run made."""

    @operation
    async def provenance(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Return what it was made of, and how, as one document in W3C PROV-JSON: every input, code and environment with its digest.

        Of entities that the token may not see, it has ID and digest.

        Example:
            `client.evaluations.provenance(evaluation.id)["entity"]`
        """
        found: dict[str, Any] = await self._http.call("GET", self._path(id, "provenance"))
        return found


class Scored(Traced[S, E]):
    """A group of entities with scores."""

    @operation
    async def provenance(self, id: str | models.Score) -> dict[str, Any]:  # noqa: A002
        """Return what it was made of, and how, as one document in W3C PROV-JSON. `id`: of one of them, or a score of one of them.

        Of entities that the token may not see, it has ID and digest.

        Example:
            `client.safetycases.provenance(client.safetycases.scores(safetycase.id)[0])["entity"]`
        """
        of = id.analysis if isinstance(id, models.Score) else id
        found: dict[str, Any] = await self._http.call("GET", self._path(of, "provenance"))
        return found

    @operation
    async def eee(self, id: str) -> dict[str, Any]:  # noqa: A002
        """Return its scores in the form of Every Eval Ever 0.3.0.

        Raises:
            Refused: it is not complete, or its scores are not about one system.

        Example:
            `client.safetycases.eee(safetycase.id)["evaluation_results"]`
        """
        found: dict[str, Any] = await self._http.call("GET", self._path(id, "eee"))
        return found
