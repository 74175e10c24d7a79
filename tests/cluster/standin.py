"""A stand-in for an API server: Kubernetes over HTTP on the embedded cluster, with faults as real servers have them.

A test adds faults: each answers some requests instead of the server, for one object, one verb, or for a while.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import yaml
from aiohttp import web

from dyff.cluster import port
from dyff.cluster.embedded import EmbeddedCluster, kinds
from dyff.cluster.kubernetes import Connection, KubernetesCluster, reporting
from dyff.kernel import degradation, errors
from tests import waiting
from tests.cluster import web_servers

KINDS = {each.kind.plural: each.kind for each in kinds.ALL}
_REASONS = {
    errors.AlreadyExists: (409, "AlreadyExists"),
    errors.StaleVersion: (409, "Conflict"),
    errors.TooLarge: (413, "RequestEntityTooLarge"),
}


class Asked(msgspec.Struct, frozen=True):
    """A request. `verb`: as in a role's rules. `place`: the plural, and after a slash the subresource. `body`: None if there is none."""

    verb: str
    place: str
    name: str | None
    query: dict[str, str]
    body: Any = None

    @property
    def about(self) -> str:
        """The name of the object that it is about, also of one that is to be created; empty for a list."""
        return self.name or ((self.body or {}).get("metadata") or {}).get("name") or ""


class Fault(msgspec.Struct):
    """Answers the requests for which `true` holds. `code`, `status`: the answer; `headers` of it. `stream`: the body of a watch instead,
    piece by piece, after which the connection stays open if `hangs`.
    """

    true: Callable[[Asked], bool]
    code: int = 500
    status: dict[str, Any] = {}
    headers: dict[str, str] = {}
    stream: tuple[dict[str, Any], ...] | None = None
    hangs: bool = False


class StandIn:
    """The server. `faults`: the present ones, the first that fits answers. `asked`: all requests so far."""

    def __init__(self, inner: EmbeddedCluster) -> None:
        self._inner = inner
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.url = ""

    def count(self, verb: str, place: str, name: str | None = None) -> int:
        """How many requests there were."""
        return Counter((each.verb, each.place, each.about if name else None) for each in self.asked)[verb, place, name]

    @asynccontextmanager
    async def fault(self, true: Callable[[Asked], bool], code: int = 500, message: str = "", **options: Any) -> AsyncIterator[Fault]:
        """A fault while the block lasts. `message` and `reason`, `details` in `options`: of the `Status`."""
        status = {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}
        status |= {key: options.pop(key) for key in ("reason", "details") if key in options}
        made = Fault(true, code, status, **options)
        self.faults.append(made)
        try:
            yield made
        finally:
            self.faults.remove(made)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        if request.path == "/version":
            asked = Asked("get", "version", None, {})
        else:
            below = request.path.partition("/namespaces/")[2].split("/")[1:]
            body = await request.json() if request.can_read_body else None
            verb = reporting.verb(request.method, request.path, dict(request.query))
            asked = Asked(verb, "/".join([below[0], *below[2:]]), below[1] if len(below) > 1 else None, dict(request.query), body)
        self.asked.append(asked)
        for fault in self.faults:
            if fault.true(asked):
                return await self._fail(request, fault)
        if asked.place == "version":
            return web.json_response({"major": "1"})
        try:
            if asked.verb == "watch":
                return await self._watch(request, asked)
            return web.json_response(await self._do(asked))
        except errors.DyffError as error:
            return _refused(asked, error)

    async def _do(self, asked: Asked) -> dict[str, Any]:
        plural, _, sub = asked.place.partition("/")
        kind, name = KINDS[plural], asked.name or ""
        match asked.verb:
            case "create":
                return await self._inner.create(kind, asked.body)
            case "list":
                labels = dict(each.split("=") for each in asked.query.get("labelSelector", "").split(",") if each)
                listing = await self._inner.list(kind, labels)
                return {"metadata": {"resourceVersion": listing.resource_version}, "items": list(listing.items)}
            case "get":
                found = await self._inner.get(kind, name)
                if found is None:
                    raise errors.NotFound(f'{plural} "{name}" not found')
                return found
            case "update":
                return await self._inner.replace(kind, asked.body)
            case "patch":
                return await self._inner.patch(kind, name, asked.body, status=sub == "status")
        await self._inner.delete(kind, name, uid=((asked.body or {}).get("preconditions") or {}).get("uid"))
        return {"kind": "Status", "status": "Success"}

    async def _watch(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        labels = dict(each.split("=") for each in asked.query.get("labelSelector", "").split(",") if each)
        limit_s = float(asked.query["timeoutSeconds"])
        events = self._inner.watch(KINDS[asked.place], asked.query["resourceVersion"], timeout_s=limit_s, labels=labels)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            async for event in events:
                await response.write(json.dumps({"type": event.type, "object": event.object}).encode() + b"\n")
        except errors.WatchExpired as error:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": error.message}
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
        return response

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.stream is None:
            return web.json_response(fault.status, status=fault.code, headers=fault.headers)
        response = web.StreamResponse()
        await response.prepare(request)
        for each in fault.stream:
            await response.write(json.dumps(each).encode() + b"\n")
        while fault.hangs and fault in self.faults:
            await waiting.a_moment()
        return response


def _refused(asked: Asked, error: errors.DyffError) -> web.Response:
    body: dict[str, Any]
    if isinstance(error, errors.NotFound):
        body = {"code": 404, "reason": "NotFound", "details": {"name": asked.about, "kind": asked.place}}
    elif isinstance(error, errors.InvalidFields):
        causes = [{"field": ".".join(map(str, each.loc[1:])), "message": each.msg} for each in error.problems]
        body = {"code": 422, "reason": "Invalid", "details": {"causes": causes}}
    else:
        code, reason = _REASONS.get(type(error), (500, "InternalError"))
        body = {"code": code, "reason": reason}
    return web.json_response({"kind": "Status", "message": error.message, **body}, status=int(body["code"]))


@asynccontextmanager
async def serving(inner: EmbeddedCluster) -> AsyncIterator[StandIn]:
    """A server on the embedded cluster."""
    server = StandIn(inner)
    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    try:
        yield server
    finally:
        await web_servers.end(runner)


def kubeconfig(server: StandIn, folder: Path) -> Path:
    """A file with which the server is reached."""
    file = folder / "kubeconfig"
    made = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "c", "user": {"token": "secret"}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }  # fmt: skip
    file.write_text(yaml.safe_dump(made))
    return file


@asynccontextmanager
async def connected(server: StandIn, folder: Path, troubles: degradation.Troubles | None = None) -> AsyncIterator[port.Cluster]:
    """The adapter on it."""
    connection = Connection(kubeconfig=str(kubeconfig(server, folder)), timeout_s=5.0)
    async with KubernetesCluster.open(connection, troubles) as cluster:
        yield cluster


async def until(check: Callable[[], Any], limit_s: float = 60.0) -> Any:
    """Wait until `check` returns something true, and return it."""
    with anyio.fail_after(limit_s):
        while not (found := await check()):
            await waiting.a_moment()
        return found
