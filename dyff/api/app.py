"""The application: routes become Litestar handlers, and the few that are worth it an express lane beside its router."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import HttpMethod, Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from litestar.types import Send

from dyff.api import auth, calls, context, problems, proxy
from dyff.api.calls import Call, Reply, json
from dyff.api.route import Route
from dyff.api.routes import accounts, artifacts, creation, entities, logs, objects, probes, sessions
from dyff.api.services import Services


class Application(Litestar):
    """Litestar, and before it the express lane: POST on a kind's own path, which has no parameters, needs no router.

    Measured (benchmarks/api.py), the router and the making of its request and response objects take two thirds of the
    time that a create takes from socket to socket.
    """

    lane: Lane

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            route = self.lane.routes.get((scope["method"], scope["path"]))
            if route is not None:
                await self.lane.serve(route, scope, receive, send)
                return
        await super().__call__(scope, receive, send)


class Lane:
    """Answers calls of routes: authenticates, turns errors into answers."""

    def __init__(self, services: Services, routes: list[Route]) -> None:
        """`routes`: all; those that are express are served without the router."""
        self._services = services
        self.routes = {(route.method, route.path): route for route in routes if route.express}

    async def answer(self, route: Route, scope: calls.Scope, receive: calls.Receive, path: dict[str, str]) -> Reply:
        """The answer of a route; never raises but for what ends the process."""
        call = Call(scope, receive, self._services.settings.max_body_bytes, path)
        try:
            if not route.open:
                call.principal = await auth.authenticate(self._services.authority, call.header(b"authorization"))
            return await route.answer(call)
        except Exception as error:
            return problems.reply(error, self._services.ids)

    async def serve(self, route: Route, scope: calls.Scope, receive: calls.Receive, send: Send) -> None:
        """The same, straight to the connection."""
        reply = await self.answer(route, scope, receive, {})
        assert isinstance(reply.body, bytes)
        headers = [(name.encode(), value.encode("latin-1")) for name, value in reply.headers]
        headers += [(b"content-type", reply.media_type.encode()), (b"content-length", str(len(reply.body)).encode())]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})


def build(services: Services) -> Application:
    """The application on these services. Its lifespan opens and closes what it needs besides them."""
    shared = context.build(services)
    forward = proxy.Proxy()
    routes = [
        *creation.routes(shared), *entities.routes(shared), *artifacts.routes(shared), *sessions.routes(shared, forward),
        *logs.routes(shared), *accounts.routes(shared), *objects.routes(shared),
    ]  # fmt: skip
    routes += probes.routes(shared, routes)
    lane = Lane(services, routes)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with forward.open():
            yield

    app = Application(
        route_handlers=[_handler(lane, route) for route in routes if not route.express],
        lifespan=[lifespan],
        exception_handlers={HTTPException: _framework_error},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )
    app.lane = lane
    return app


def _handler(lane: Lane, route: Route) -> HTTPRouteHandler:
    async def handle(request: Request[Any, Any, Any]) -> Response[Any]:
        return _response(await lane.answer(route, request.scope, request.receive, request.path_params))

    return HTTPRouteHandler(route.path, http_method=[HttpMethod(route.method)], status_code=route.status)(handle)


def _response(reply: Reply) -> Response[Any]:
    headers = dict(reply.headers)
    if isinstance(reply.body, bytes):
        return Response(reply.body, status_code=reply.status, headers=headers, media_type=reply.media_type)
    return Stream(reply.body, status_code=reply.status, headers=headers, media_type=reply.media_type)


def _framework_error(_: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What the router itself refuses, in our form."""
    detail = "there is no such route; /v0/docs lists all" if error.status_code == 404 else error.detail
    return _response(json({"detail": detail}, status=error.status_code))
