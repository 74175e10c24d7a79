"""The client's group for safety cases."""

from __future__ import annotations

from dyff.sdk import analyses, models
from dyff.sdk.calls import S, operation


class SafetyCases(analyses.Analyses[S, models.SafetyCase]):
    """Safety cases."""

    @operation
    async def dossier(self, id: str) -> models.Dossier:  # noqa: A002
        """Return what the page of one of them shows: the claim, the scores, what they rest on, and what is not shown.

        Example:
            `client.safetycases.dossier(safetycase.id).notShown.runs`
        """
        return models.read(await self._http.call("GET", self._path(id, "dossier")), models.Dossier)


GROUP = SafetyCases
