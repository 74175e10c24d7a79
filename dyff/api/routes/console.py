"""The console in the browser, and the routes that only it and programs like it need: the kinds, the caller, and signing in with a link."""

from __future__ import annotations

import gzip
import re
from datetime import timedelta
from typing import Any

import msgspec

from dyff.accounts import grants, port
from dyff.api import bodies, built, kind_descriptions, preconditions
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Other, Route
from dyff.api.routes import tokens
from dyff.entities import answers, codecs, consoles
from dyff.kernel import clock, errors, ids, web_addresses

HTML = "text/html"
GROUP = "server"
TOKEN_LIFE = timedelta(hours=12)
"""Of a token that a link gives: a day's work."""

ACCOUNT = ids.derived("account", "console")
"""The account of those who sign in with a link."""

_SIGN_IN = msgspec.json.Decoder(consoles.SignInRequest)
_CHALLENGE = {"WWW-Authenticate": "that a token is needed"}
_GZIPPED_FROM_BYTES = 1024
_HASHED = re.compile(r"[\w.]+-[\w-]{8}\.\w+", re.ASCII)
"""A name that has a hash of the content in it, as the build writes them."""


def routes(context: Context, documented: list[Route]) -> list[Route]:
    """Return the routes. `documented`: those of the kinds."""
    group = Console(context, documented)
    common: dict[str, Any] = {"group": GROUP}
    page: dict[str, Any] = {**common, "method": "GET", "open": True, "hidden": True, "media_type": HTML}
    return [
        Route(path="/", answer=group.index, operation="console", summary="The console", **page),
        Route(path="/assets/{name:str}", answer=group.asset, operation="console", summary="A file of the console", **page),
        Route(path="/console", answer=group.moved(""), operation="console", summary="The console is at /", status=307, **page),
        Route(path="/docs", answer=group.moved("v0/docs"), operation="docs", summary="It is at /v0/docs", status=307, **page),
        Route(
            method="GET", path="/v0/kinds", answer=group.kinds, operation="kinds", open=True, answers=list[consoles.KindDescription],
            summary="All kinds of entities, and what can be done with them", returns="a list of kinds", **common,
        ),
        Route(
            method="GET", path="/v0/caller", answer=group.caller, operation="caller", answers=consoles.Caller,
            summary="Whose token this is, until when, and what it allows", returns="the caller", **common,
        ),
        Route(
            method="POST", path="/v0/sign-in", answer=group.sign_in, operation="sign_in", open=True, status=201,
            body=consoles.SignInRequest,
            answers=str, summary="A token for the code of a link that `dyff serve` has printed on a terminal",
            returns="the token, a JSON string: for 12 hours and everything",
            others={
                401: Other("the code was used, is too old, or is wrong", answers.Problem, headers=_CHALLENGE),
                403: Other("an administrator has switched such links off", answers.Problem, headers=_CHALLENGE),
            }, **common,
        ),
    ]  # fmt: skip


class Console:
    """The console's files and what it asks first."""

    def __init__(self, context: Context, documented: list[Route]) -> None:
        """`documented`: what the API can do with each kind follows from these."""
        self._services = context.services
        self._kinds = codecs.encode(kind_descriptions.described(documented))
        self._root = "/" + web_addresses.prefix(context.services.settings.public_url).lstrip("/")
        self._zipped: dict[str, bytes] = {}

    async def index(self, call: Call) -> Reply:
        """The one page. It names the files of this release, so a copy has to be compared each time."""
        return self._file(call, built.INDEX, "no-cache")

    async def asset(self, call: Call) -> Reply:
        """A file. If its name changes when its content does, a copy is good for ever."""
        name = call.path["name"]
        return self._file(call, f"assets/{name}", "public, max-age=31536000, immutable" if _HASHED.fullmatch(name) else "no-cache")

    def moved(self, to: str) -> Any:
        """An answer that leads to another path of this server."""

        async def answer(_: Call) -> Reply:
            return Reply(307, b"", (("location", f"{self._root}{to}"),))

        return answer

    def _file(self, call: Call, path: str, caching: str) -> Reply:
        found = built.files().get(path)
        if found is None:
            raise errors.NotFound(f"the console has no file {path[:100]!r}; load / again: another release may serve now")
        headers = (*built.HEADERS, ("cache-control", caching), ("etag", found.tag), ("vary", "accept-encoding"))
        status = preconditions.status(found.tag, call.joined(b"if-match"), call.joined(b"if-none-match"))
        if status is not None:
            return Reply(status, b"", headers, found.media_type)
        if len(found.body) < _GZIPPED_FROM_BYTES or "gzip" not in (call.joined(b"accept-encoding") or ""):
            return Reply(200, found.body, headers, found.media_type)
        if path not in self._zipped:
            self._zipped[path] = gzip.compress(found.body, 9, mtime=0)
        return Reply(200, self._zipped[path], (*headers, ("content-encoding", "gzip")), found.media_type)

    async def kinds(self, _: Call) -> Reply:
        """The same for everybody: what is in the API's description already."""
        return Reply(200, self._kinds)

    async def caller(self, call: Call) -> Reply:
        """Return what the token allows now. It needs no permission, as it tells nothing that the token would not."""
        principal = call.principal
        return json(
            consoles.Caller(
                subject=principal.claims.subject,
                token=principal.claims.id,
                expires=clock.iso(principal.claims.expires),
                grants=[answers.AccessGrant(**tokens.published(grant)) for grant in principal.grants],
                account=principal.account.id if principal.account else None,
                name=principal.account.name if principal.account else None,
            )
        )

    async def sign_in(self, call: Call) -> Reply:
        """Exchange a code for a token of the account `console`, which may do everything, as who can start a server may anyway (ADR 48).

        Raises:
            Unauthenticated: the code is not good (any more).
            Forbidden: an administrator has suspended that account, or reduced what it may do.
        """
        request = bodies.decode(_SIGN_IN, await call.body())
        codes = self._services.codes
        if codes is None or not codes.take(request.code):
            fix = "the link was used already, is older than five minutes, or is of another start of the server"
            raise errors.Unauthenticated(f"{fix}: sign in with a token, which 'dyff token create' makes, or start the server again")
        accounts = self._services.accounts
        if await accounts.get(ACCOUNT) is None:
            name = "console" if not await accounts.find(name="console") else f"console {ACCOUNT[:8]}"
            await accounts.create(port.Account(id=ACCOUNT, name=name, created=self._services.clock.now(), permissions=grants.ADMIN))
        expires = self._services.clock.now() + TOKEN_LIFE
        return json(await self._services.authority.issue(ACCOUNT, grants.ADMIN, expires), status=201)
