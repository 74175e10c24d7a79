"""The routes of inference sessions: create with a token, ready, token, terminate, infer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from dyff.accounts import grants, tokens
from dyff.api import auth, bodies, checks, positions
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import ANYTHING, Other, Route
from dyff.api.routes import creation as creating
from dyff.api.routes.entities import follow, status
from dyff.cluster import conditions
from dyff.cluster import port as cluster
from dyff.entities import answers, codecs, custom_resource, identity, statuses
from dyff.entities.kinds import inference_session
from dyff.kernel import clock, errors

ROW = inference_session.KIND
TOKEN_LIFE = timedelta(hours=1)
"""The lifetime of a session's token if neither the request nor the session has an end. Sessions of older releases may have none."""

_ENDED = "the session has ended"
_KIND = cluster.custom(inference_session.RESOURCE)
_USES = ("consume", "get")
_TOKEN = msgspec.json.Decoder(inference_session.InferenceSessionTokenCreateRequest)


def routes(context: Context) -> list[Route]:
    """Return the routes. The POST replaces the one that all kinds have."""
    group = Sessions(context)
    one = f"/v0/{ROW.plural}/{{id:str}}"
    common: dict[str, Any] = {"group": ROW.plural}
    ready: dict[str, Any] = {
        "path": f"{one}/ready", "answer": group.ready, "answers": answers.Readiness, "returns": "it does",
        "summary": "Whether it answers inference", "others": {202: Other("it does not (yet), and why", answers.Readiness)},
        "takes_position": True, **common,
    }  # fmt: skip
    token: dict[str, Any] = {
        "path": f"{one}/token", "answers": str, "returns": "the token, a JSON string", "summary": "A token for this session only",
        "conflict": _ENDED, **common,
    }  # fmt: skip
    return [
        group.create_route(),
        Route(method="GET", operation="ready", **ready),
        Route(method="POST", operation="check_ready", **ready),
        Route(
            method="POST", operation="token", answer=group.token, body=inference_session.InferenceSessionTokenCreateRequest,
            body_optional=True, **token,
        ),
        Route(method="GET", operation="default_token", answer=group.default_token, deprecated=True, **token),
        Route(
            method="PUT", path=f"{one}/terminate", answer=group.terminate, operation="terminate", summary="End it",
            answers=answers.Status, returns="its status", gives_position=True, **common,
        ),
        Route(
            method="POST", path=f"{one}/infer/{{path:path}}", answer=group.infer, operation="infer",
            summary="Call the service; needs the session's own token. The body is passed on as it comes",
            returns="what the service answers",
            body_type=ANYTHING, media_type=ANYTHING, **common,
        ),
    ]  # fmt: skip


class Sessions:
    """The routes of running services."""

    def __init__(self, context: Context) -> None:
        """Sessions are created like other kinds, but always get a time at which they end."""
        self._context = context
        assert ROW.creation is not None
        self._creating = creating.Creating(context, ROW, ROW.creation, self._ended)

    def create_route(self) -> Route:
        """Return the route to create a session. It differs from those of other kinds in its answer."""
        return msgspec.structs.replace(
            self._creating.route(),
            answer=self.create,
            answers=inference_session.InferenceSessionAndToken,
            returns="the new session, and a token for it",
        )

    async def create(self, call: Call) -> Reply:
        """Create a session; returns it and a token for it."""
        body, headers = await self._creating.create(call)
        session = codecs.decode_object(body)
        token = await self._sign(session, self._end(session), (*_USES, "terminate"))
        return Reply(201, codecs.encode({"inferencesession": msgspec.Raw(body), "token": token}), headers)

    async def ready(self, call: Call) -> Reply:
        """Return 200 if the session's custom resource is ready, else 202 with the reason."""
        await follow(self._context, call)
        session = await self._session(call, "get")
        if statuses.is_terminal(session["status"]):
            return json({"ready": False, **status(session)}, status=202)
        found = await self._context.services.cluster.get(_KIND, custom_resource.name(inference_session.RESOURCE, session["id"]))
        if conditions.is_true(found or {}, conditions.READY):
            return json({"ready": True})
        condition = conditions.get(found or {}, conditions.READY) or {}
        why = {key: condition[key] for key in ("reason", "message") if condition.get(key)} or status(session)
        return json({"ready": False, **why}, status=202)

    async def token(self, call: Call) -> Reply:
        """Return a token. The caller may choose when it expires, but not after the end of the session."""
        body = await call.body()
        wanted = bodies.decode(_TOKEN, body).expires if body.strip() not in (b"", b"null") else None
        session = await self._for_token(call)
        if wanted is None:
            return json(await self._sign(session, self._end(session), _functions(call, session)))
        now = self._context.services.clock.now()
        problems = list(checks.expiry(wanted, now, ("body", "expires")))
        if session.get("expires") and identity.utc(wanted) > clock.parse_iso(session["expires"]):
            problems.append(errors.Problem(("body", "expires"), f"must not be after the end of the session, {session['expires']}"))
        if problems:
            raise errors.InvalidFields(*problems)
        return json(await self._sign(session, identity.utc(wanted), _functions(call, session)))

    async def default_token(self, call: Call) -> Reply:
        """Return a token that expires with the session. Kept for older clients."""
        session = await self._for_token(call)
        return json(await self._sign(session, self._end(session), _functions(call, session)))

    async def terminate(self, call: Call) -> Reply:
        """Terminate the session. If it has already ended, return its status."""
        session = await self._session(call, "terminate")
        if statuses.is_terminal(session["status"]):
            return json(status(session))
        publishing = self._context.publishing
        after, position = await publishing.set_status(call.principal, session, statuses.TERMINATED, statuses.TERMINATE_COMMAND)
        return json(status(after), headers=[positions.header(position)])

    async def infer(self, call: Call) -> Reply:
        """Forward the request to the session's Service, streamed."""
        session_id = call.path["id"]
        auth.require_entity(call.principal, ROW.plural, "consume", session_id)
        session = await self._session(call, "consume")
        self._require_running(session)
        await self._context.services.authority.require_active(session["account"])
        place = await self._context.services.cluster.service_url(custom_resource.name(inference_session.RESOURCE, session_id))
        if place is None:
            raise errors.NotReady(f"the session {session_id} is still starting: its status is {session['status']}")
        return await self._context.proxy.forward(call, place, call.path["path"].lstrip("/"))

    def _ended(
        self, request: inference_session.InferenceSessionCreateRequest, now: datetime
    ) -> inference_session.InferenceSessionCreateRequest:
        """Set the end of a session whose request has none, from the settings, so that no session runs forever."""
        if request.expires is not None:
            return request
        return msgspec.structs.replace(request, expires=now + timedelta(seconds=self._context.services.settings.session_life_s))

    async def _for_token(self, call: Call) -> codecs.Json:
        if call.principal.account is None:
            raise errors.Forbidden("a session's token cannot make further tokens; use an account's token")
        session = await self._session(call, "consume")
        self._require_running(session)
        return session

    async def _session(self, call: Call, function: str) -> codecs.Json:
        return await self._context.documents.entity(call.principal, ROW, call.path["id"], function)

    def _require_running(self, session: codecs.Json) -> None:
        if statuses.is_terminal(session["status"]):
            reason = f" ({session['reason']})" if session.get("reason") else ""
            raise errors.WrongStatus(f"the session {session['id']} has ended: its status is {session['status']}{reason}")

    def _end(self, session: codecs.Json) -> datetime:
        expires = session.get("expires")
        return clock.parse_iso(expires) if expires else self._context.services.clock.now() + TOKEN_LIFE

    async def _sign(self, session: codecs.Json, expires: datetime, functions: tuple[str, ...]) -> str:
        """Sign a token that is not recorded anywhere, with `functions` on this session only."""
        grant = grants.Grant((ROW.plural,), functions, entities=(session["id"],))
        services = self._context.services
        claims = tokens.Claims(
            id=services.ids.new(), subject=f"{ROW.name}/{session['id']}", issued=services.clock.now(), expires=expires, grants=(grant,)
        )
        return tokens.sign(claims, await services.accounts.signing_secret())


def _functions(call: Call, session: codecs.Json) -> tuple[str, ...]:
    """The functions of a token that the caller makes: using and reading the session, and terminating it if the caller may."""
    owned: dict[str, str] = {"account": session["account"], "entity": session["id"]}
    may_terminate = grants.allows(call.principal.grants, ROW.plural, "terminate", **owned)
    return (*_USES, "terminate") if may_terminate else _USES
