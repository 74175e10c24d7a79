"""The application: routes become Litestar handlers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from litestar import HttpMethod, Litestar, Request, Response
from litestar.connection import WebSocket
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler
from litestar.plugins import PluginProtocol

from dyff.accounts.authority import Principal
from dyff.api import answers, arrow, auditing, auth, calls, context, forwarded, invited, metering, missing, problems, sockets, tracing
from dyff.api.calls import Call, Reply, json
from dyff.api.changes.tail import Tail
from dyff.api.handlers import Handler, Handlers
from dyff.api.route import Route, Socket
from dyff.api.routes import (
    accounts,
    artifacts,
    changes,
    comparable,
    comparisons,
    console,
    creation,
    entities,
    exports,
    files,
    invitations,
    lists,
    logs,
    objects,
    own,
    pages,
    probes,
    relations,
    results,
    samples,
    system,
    tokens,
)
from dyff.api.samples.asking import Asking
from dyff.api.services import Services
from dyff.api.watching import Watching


class Application(Handlers):
    """All routes as Litestar's handlers; `lane` answers those of `express` without it (`dyff.api.express`). `described`: all of them."""

    lane: Lane
    described: list[Route]
    express: list[Route]
    schemas: arrow.Schemas
    samples: Asking
    changes: Tail
    watching: Watching

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a connection. For a WebSocket that has no route, the router sends nothing but a close, of which nobody learns anything."""
        if scope["type"] == "websocket":
            send = sockets.answering(send, lambda: self.lane.unrouted("GET", scope, receive, sockets.MISSING))
        await super().__call__(scope, receive, send)

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        """None of Litestar's own: where Pydantic happens to be installed, they import it, which start-up has no time for."""
        return plugins


class Lane:
    """Answers calls of routes: authenticates, turns errors into answers."""

    def __init__(self, services: Services, invitations: invited.Invited) -> None:
        self._services = services
        self._auditing = auditing.Auditing(services.audit, services.clock)
        self.metering = metering.Metering(services.metrics)
        self._proxies = forwarded.Proxies(services.settings)
        self._tracing = tracing.Tracing(services.tracer)
        self._invited = invitations

    async def answer(self, route: Route, scope: calls.Scope, receive: calls.Receive, path: dict[str, str]) -> Reply:
        """The answer of a route; never raises but for what ends the process."""
        call, problem = Call(scope, receive, self._services.settings.max_body_bytes, path), None
        parent = self._tracing.begin(call, _client(scope))
        try:
            await self._authenticate(route, call)
            reply = await route.answer(call)
        except Exception as error:
            reply, problem = problems.reply(error, self._services.ids), error
            self.metering.failed(error)
        except BaseException:
            self._auditing.aborted(route, call)
            self.metering.aborted(route)
            raise
        seconds = time.perf_counter() - call.began
        self.metering.answered(route, reply.status, seconds)
        reply = self._tracing.answered(route, call, parent, reply, problem)
        return self._auditing.answered(route, call, reply, problem, seconds)

    async def _authenticate(self, route: Route, call: Call) -> None:
        """Find out who calls. A cookie counts only where everybody may call, and only that of an invitation."""
        header = call.header(b"authorization")
        if route.open:
            return
        if header is None and route.anonymous:
            found = await self._invited.by_cookie(call, route)
            if found is None:
                return
            call.principal = found
        else:
            call.principal = await self._identified(call, header, basic=route.basic)
        if call.principal.invitation is not None:
            await self._invited.use(call, route, call.principal)
        self._tracing.identified(call)

    async def _identified(self, call: Call, header: str | None, *, basic: bool = False) -> Principal:
        code = auth.code(header, basic=basic)
        if code is not None:
            return await self._invited.verified(call, code)
        return await auth.authenticate(self._services.authority, header, basic=basic)

    async def converse(self, stream: Socket, scope: calls.Scope, receive: calls.Receive, send: sockets.Send, path: dict[str, str]) -> None:
        """Serve a WebSocket to its end, or answer why there is none; never raises but for what ends the process."""
        scope = {**scope, "method": "GET", "client": self._proxies.client(scope)}
        call = Call(scope, receive, 0, path)
        parent = self._tracing.begin(call, _client(scope))
        try:
            call.principal = await self._identified(call, call.header(b"authorization"))
            if call.principal.invitation is not None:
                await self._invited.use(call, None, call.principal)
            self._tracing.identified(call)
            run = await stream.begin(call)
        except Exception as error:
            reply = problems.reply(error, self._services.ids)
            self._auditing.conversed(stream, call, reply.status, error)
            self.metering.conversed(stream, reply.status)
            self._tracing.conversed(stream.path, call, parent, reply.status, error)
            await sockets.refuse(send, tracing.named(reply, call.about.trace))
        else:
            self._auditing.conversed(stream, call, 101, None)
            self.metering.conversed(stream, 101)
            self._tracing.conversed(stream.path, call, parent, 101, None)
            await sockets.serve(run, receive, send, self._services.ids, [*tracing.headers(call.about.trace)])

    def unrouted(self, method: str, scope: calls.Scope, receive: calls.Receive, reply: Reply) -> Reply:
        """The answer to a request that belongs to no route, which is counted."""
        self.metering.unrouted(method, reply.status)
        return self._tracing.unrouted(Call(scope, receive, 0, {}), reply)

    async def answer_express(
        self, route: Route, headers: list[tuple[bytes, bytes]], receive: calls.Receive, client: tuple[str, int] | None = None
    ) -> Reply:
        """The same of a route whose path has no parameters, called without a query."""
        scope = {"method": route.method, "path": route.path, "query_string": b"", "headers": headers, "client": client}
        return await self.answer(route, scope, receive, {})


def _client(scope: calls.Scope) -> str | None:
    """The client's address, for what is logged about its request."""
    client = scope.get("client")
    return client[0] if client else None


def build(services: Services) -> Application:
    """The application on these services. Its lifespan opens and closes what it needs besides them."""
    shared = context.build(services)
    derived = [*creation.routes(shared), *results.routes(shared), *entities.routes(shared), *artifacts.routes(shared), *logs.routes(shared)]
    derived += [
        *files.routes(shared),
        *exports.routes(shared),
        *pages.routes(shared),
        *comparisons.routes(shared),
        *comparable.routes(shared),
    ]
    derived += [*samples.routes(shared), *relations.routes(shared), *invitations.routes(shared), *lists.routes(shared)]
    routes = own.combined(derived, own.routes(shared))
    routes += [*accounts.routes(shared), *tokens.routes(shared), *objects.routes(shared), *changes.routes(shared), *system.routes(shared)]
    routes += console.routes(shared, routes)
    routes += probes.routes(shared, routes)
    lane = Lane(services, shared.invited)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with shared.proxy.open(), shared.comparing.open(), shared.changes.open():
            try:
                yield
            finally:
                await shared.schemas.close()
                await shared.samples.close()
                await shared.invited.end()

    app = Application(
        route_handlers=[*_handlers(lane, routes), _sockets(lane, logs.streams(shared))],
        lifespan=[lifespan],
        exception_handlers={HTTPException: _framework_errors([route.path for route in routes], lane)},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )
    app.lane, app.express, app.schemas = lane, [route for route in routes if route.express], shared.schemas
    app.samples, app.changes, app.watching = shared.samples, shared.changes, shared.watching
    app.described = routes
    return app


def _handlers(lane: Lane, routes: Iterable[Route]) -> list[HTTPRouteHandler]:
    """One for all paths that have the same methods: what a handler costs at start-up, and in each test, is paid a few times and not 150."""
    by_path: dict[str, dict[str, Route]] = {}
    for route in routes:
        by_path.setdefault(route.path, {})[route.method] = route
    alike: dict[tuple[str, ...], dict[str, dict[str, Route]]] = {}
    for path, by_method in by_path.items():
        alike.setdefault(tuple(sorted(by_method)), {})[path] = by_method
    return [_handler(lane, paths) for paths in alike.values()]


def _handler(lane: Lane, paths: dict[str, dict[str, Route]]) -> HTTPRouteHandler:
    """Where there is a GET there is a HEAD: the same, and the body is not sent (`dyff.api.answers`). `paths`: their routes, by method."""
    methods = [HttpMethod(each) for each in sorted({*next(iter(paths.values())), "OPTIONS"})]
    if HttpMethod.GET in methods:
        methods = sorted([*methods, HttpMethod.HEAD])
    by_template = {next(iter(routes.values())).template: routes for routes in paths.values()}
    options = Reply(204, headers=(("allow", ", ".join(methods)),))

    async def handle(request: Request[Any, Any, Any]) -> Response[Any]:
        if request.method == "OPTIONS":
            return answers.Answer(lane.unrouted("OPTIONS", request.scope, request.receive, options))
        route = by_template[request.scope["path_template"]]["GET" if request.method == "HEAD" else request.method]
        return answers.Answer(await lane.answer(route, request.scope, request.receive, request.path_params))

    return Handler(list(paths), http_method=methods, status_code=200)(handle)


def _sockets(lane: Lane, streams: Iterable[Socket]) -> WebsocketRouteHandler:
    by_template = {stream.template: stream for stream in streams}

    async def handle(socket: WebSocket[Any, Any, Any]) -> None:
        stream = by_template[socket.scope["path_template"]]
        await lane.converse(stream, socket.scope, socket.receive, socket.send, socket.path_params)

    return WebsocketRouteHandler([stream.path for stream in by_template.values()])(handle)


def _framework_errors(paths: list[str], lane: Lane) -> Callable[[Request[Any, Any, Any], HTTPException], Response[Any]]:
    """A handler for what the router itself refuses. `paths`: of all routes."""

    def handle(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
        if error.status_code == 404:
            reply = json({"detail": missing.detail(str(request.scope["path"]), paths)}, status=404)
        else:
            reply = _framework_error(request, error)
        return answers.Answer(lane.unrouted(request.method, request.scope, request.receive, reply))

    return handle


def _framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Reply:
    """What the router refuses, but for a path that is not a route, in our form."""
    allowed = [each for each in (error.headers or {}).get("allow", "").split(", ") if each.isupper()]  # not "websocket"
    if error.status_code == 405 and allowed:
        allow = ", ".join(sorted(allowed))
        detail = f"this path does not have the method {request.method}; it has {allow}"
        return json({"detail": detail}, status=405, headers=[("allow", allow)])
    return json({"detail": error.detail}, status=error.status_code)
