"""Invitations to a safety case: the request for one, and what the API says about them (ADR 47)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from dyff.entities import codecs, described, identity, showing, stored

DEFAULT_DAYS = 30
MAX_DAYS = 365
MAX_NOTE_CHARS = 280


class InvitationCreateRequest(identity.Request, frozen=True):
    """Requests an invitation. `days`: how long it is valid. `note`: for whom it is; those who may edit the case see it."""

    example: ClassVar[codecs.Json] = {"days": 30, "note": "reviewer of the journal"}

    days: Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS)] = DEFAULT_DAYS
    note: Annotated[str, msgspec.Meta(max_length=MAX_NOTE_CHARS)] = ""


class InvitationUse(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Uses for the same thing: `count` of them from `first` to `last`. `action`: such as `invitations.open` or `safetycases.page`.

    `entity`: the ID of what was read; None if it was no entity.
    """

    action: str
    entity: str | None = None
    first: stored.Time
    last: stored.Time
    count: int


class Invitation(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """An invitation, without its code. `entities`: the IDs of all that it lets one read. `data`: of those whose files, too.

    `uses`: its history.
    """

    id: str
    case: str
    account: str
    note: str
    created: stored.Time
    expires: stored.Time
    entities: list[str] = []
    data: list[str] = []
    uses: list[Annotated[InvitationUse, described.like(InvitationUse)]] = []


class NewInvitation(Invitation, kw_only=True, frozen=True):
    """A new invitation. `code`: in place of a token. `url`: opens the page in a browser. Both are shown only once.

    `leftOut`: the IDs of what the case rests on and the invitation does not show, since who made it, or the account, may not read it.
    """

    code: str
    url: str
    leftOut: list[str] = []
