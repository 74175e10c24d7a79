"""The routes of invitations: to make, list and revoke them, and the link that a browser opens (ADR 47)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec

from dyff.accounts import grants, inviting, port
from dyff.api import bodies, invited
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.pages import rendering
from dyff.api.route import Other, Route
from dyff.api.routes.entities import follow
from dyff.entities import codecs, invitations, kind, registry, statuses
from dyff.entities.exports.evidence import Gathered
from dyff.kernel import clock, errors, web_addresses

HTML = "text/html"
FUNCTIONS = ("get", "data")
_REQUEST = msgspec.json.Decoder(invitations.InvitationCreateRequest)
_NOT_KEPT = ("cache-control", "no-store")
_SAID = {name.title(): "for browsers" for name, _ in (*rendering.COMMON, rendering.OPENER, _NOT_KEPT)}


def routes(context: Context) -> list[Route]:
    """Return the routes of the kinds with a page, and the link."""
    found = [route for row in registry.ROWS if row.page is not None for route in Invitations(context, row).routes()]
    return [*found, Link(context).route()]


class Invitations:
    """Invitations to entities of one kind. Those who may edit an entity may invite to it, list its invitations and revoke them."""

    def __init__(self, context: Context, row: kind.Kind) -> None:
        """`row`: of a kind with a page."""
        self._context, self._row = context, row

    def routes(self) -> list[Route]:
        """Return the routes."""
        all_of_one = f"/v0/{self._row.plural}/{{id:str}}/invitations"
        common: dict[str, Any] = {"group": self._row.plural}
        return [
            Route(
                method="POST", path=all_of_one, answer=self.invite, operation="invite", body=invitations.InvitationCreateRequest,
                body_optional=True, summary="Make an invitation: a link and a code to read it and what it rests on",
                answers=invitations.NewInvitation, returns="the invitation; its code is shown only once", status=201,
                headers={"Cache-Control": "no-store"},
                conflict="it was deleted", **common,
            ),
            Route(
                method="GET", path=all_of_one, answer=self.list, operation="invitations", summary="Its invitations, with their history",
                answers=list[invitations.Invitation], returns="a list of invitations, without their codes", **common,
            ),
            Route(
                method="DELETE", path=f"{all_of_one}/{{token:str}}", answer=self.revoke, operation="revoke_invitation",
                summary="Refuse an invitation from now on", answers=type(None), returns="null", **common,
            ),
        ]  # fmt: skip

    async def invite(self, call: Call) -> Reply:
        """Make an invitation with what the caller and the account may read of the case and of what it rests on."""
        case = await self._case(call)
        body = await call.body()
        request = bodies.decode(_REQUEST, body) if body not in (b"", b"null") else invitations.InvitationCreateRequest()
        if case["status"] == statuses.DELETED:
            raise errors.WrongStatus(f"the {self._row.name} {case['id']} was deleted; nobody can be invited to it")
        gathered = await self._context.evidence.gathered(case, call.principal, files=False)
        services = self._context.services
        expires = services.clock.now() + timedelta(days=request.days)
        wanted, owners = _wanted(gathered, call.principal.grants)
        async with self._context.quotas.token(case["account"]):
            key, code = await services.authority.invitations.issue(case["account"], case["id"], request.note, wanted, expires, owners)
        shown = _shown(key)
        readable = set(shown.entities)
        made = invitations.NewInvitation(
            **{name: getattr(shown, name) for name in shown.__struct_fields__},
            code=code,
            url=f"{services.base(call.base)}/invitations/{code}",
            leftOut=[each.id for each in gathered.named if each.id not in readable],
        )
        return json(msgspec.to_builtins(made), status=201, headers=[_NOT_KEPT])

    async def list(self, call: Call) -> Reply:
        """Return the invitations that were not revoked, the oldest first."""
        case = await self._case(call)
        await self._context.invited.flush()
        keys = await self._context.services.accounts.keys(case["account"])
        return json([msgspec.to_builtins(_shown(each)) for each in keys if _is_of(each, case["id"])])

    async def revoke(self, call: Call) -> Reply:
        """Revoke an invitation, effective immediately."""
        case = await self._case(call)
        accounts, wanted = self._context.services.accounts, call.path["token"]
        await self._context.invited.flush()
        key = await accounts.get_key(wanted)
        if key is None or not _is_of(key, case["id"]) or not await accounts.revoke_key(case["account"], wanted):
            raise errors.NotFound(f"the {self._row.name} {case['id']} has no invitation with the ID {wanted[:64]}")
        return json(None)

    async def _case(self, call: Call) -> codecs.Json:
        await follow(self._context, call)
        return await self._context.documents.entity(call.principal, self._row, call.path["id"], "edit")


class Link:
    """What an outsider gets: it opens the page in a browser, without a script and without the code in any further address."""

    def __init__(self, context: Context) -> None:
        """`context`: of the server."""
        self._context = context
        self._headers = (("content-security-policy", rendering.policy()), *rendering.COMMON, rendering.OPENER, _NOT_KEPT)

    def route(self) -> Route:
        """Return the route."""
        return Route(
            method="GET", path="/invitations/{code:str}", answer=self.answer, group="invitations", operation="open", anonymous=True,
            summary="The link of an invitation: it leads a browser to the page", status=303, media_type=HTML, returns="nothing but headers",
            headers={"Location": "the page", "Set-Cookie": "shows the page and its exports until the browser is closed", **_SAID},
            others={404: Other("the invitation opens nothing (any more)", media_type=HTML, headers=_SAID)},
        )  # fmt: skip

    async def answer(self, call: Call) -> Reply:
        """Redirect to the page, with cookies for it and for its exports."""
        context = self._context
        try:
            principal = await context.invited.verified(call, call.path["code"])
        except errors.Unauthenticated:
            return await self._refused()
        opened = principal.invitation
        assert opened is not None
        call.principal, call.entity = principal, opened.invitation.case
        row = _row(opened)
        if row is None:
            return await self._refused()
        await context.invited.record(opened, invited.OPEN, opened.invitation.case, at_once=True)
        base = context.services.base(call.base)
        root, case = "/" + web_addresses.prefix(context.services.settings.public_url).lstrip("/"), opened.invitation.case
        paths = (f"{root}{row.plural}/{case}", f"{root}v0/{row.plural}/{case}")
        secure = "; Secure" if base.startswith("https:") else ""
        flags = f"HttpOnly; SameSite=Lax{secure}"
        cookies = [("set-cookie", f"{invited.COOKIE}={call.path['code']}; Path={path}; {flags}") for path in paths]
        return Reply(303, b"", (("location", paths[0]), *cookies, *self._headers), f"{HTML}; charset=utf-8")

    async def _refused(self) -> Reply:
        body = await self._context.threads.run(rendering.not_invited, apart=True)
        return Reply(404, body, self._headers, f"{HTML}; charset=utf-8")


def _row(opened: inviting.Opened) -> kind.Kind | None:
    """The kind of the case; None if the account may not read the case itself any more."""
    case = opened.invitation.case
    return next(
        (row for row in registry.ROWS if any(row.plural in each.resources for each in opened.grants if case in each.entities)), None
    )


def _wanted(gathered: Gathered, have: tuple[grants.Grant, ...]) -> tuple[list[grants.Grant], dict[str, str]]:
    """What to grant, and the owners of the entities: of each what the caller may do with it, as far as that is only reading."""
    several = [gathered.root, *gathered.entities.values()]
    found: dict[tuple[str, str], list[str]] = {}
    for entity in several:
        plural = registry.BY_KIND[entity["kind"]].plural
        for function in FUNCTIONS:
            if grants.allows(have, plural, function, account=entity["account"], entity=entity["id"]):
                found.setdefault((plural, function), []).append(entity["id"])
    wanted = [grants.Grant((plural,), (function,), (), tuple(entities)) for (plural, function), entities in found.items()]
    return wanted, {entity["id"]: entity["account"] for entity in several}


def _is_of(key: port.Key, case: str) -> bool:
    return key.invitation is not None and key.invitation.case == case


def _shown(key: port.Key) -> invitations.Invitation:
    known = key.invitation
    assert known is not None
    return invitations.Invitation(
        id=key.id,
        case=known.case,
        account=key.account,
        note=known.note,
        created=clock.iso(key.created),
        expires=clock.iso(key.expires),
        entities=list(dict.fromkeys(_granted(key, "get"))),
        data=list(dict.fromkeys(_granted(key, "data"))),
        uses=[
            invitations.InvitationUse(
                action=each.action, entity=each.entity, first=clock.iso(each.first), last=clock.iso(each.last), count=each.count
            )
            for each in known.uses
        ],
    )


def _granted(key: port.Key, function: str) -> Iterator[str]:
    return (entity for each in key.grants if function in each.functions for entity in each.entities)
