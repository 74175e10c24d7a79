"""The client's group for safety cases."""

from __future__ import annotations

from dyff.entities import invitations
from dyff.sdk import analyses, arguments, listing, models
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

    @operation
    async def invite(self, id: str, *, days: int = invitations.DEFAULT_DAYS, note: str = "") -> models.NewInvitation:  # noqa: A002
        """Invite an outsider to read one of them and all that it rests on, and nothing else. The code and the link are shown only once.

        `days`: how long it is valid, at most 365. `note`: for whom it is.

        Raises:
            Refused: the safety case was deleted.
            NotAllowed: the token may not edit it.

        Example:
            `print(client.safetycases.invite(safetycase.id, note="reviewer 2").url)`
        """
        body = {"days": days, "note": note}
        answer = await self._http.call("POST", self._path(id, "invitations"), body=body, repeatable=False)
        return models.read(answer, models.NewInvitation)

    @operation
    async def invitations(self, id: str) -> list[models.Invitation]:  # noqa: A002
        """Return the invitations to one of them that were not revoked, with their history.

        Example:
            `[(each.note, each.uses) for each in client.safetycases.invitations(safetycase.id)]`
        """
        return listing.read(await self._http.call("GET", self._path(id, "invitations")), models.Invitation)

    @operation
    async def revoke_invitation(self, id: str, invitation_id: str) -> None:  # noqa: A002
        """Revoke an invitation, effective immediately.

        Example:
            `client.safetycases.revoke_invitation(safetycase.id, invitation.id)`
        """
        path = self._path(id, f"invitations/{arguments.identifier(invitation_id, 'invitation_id')}")
        await self._http.call("DELETE", path)


GROUP = SafetyCases
