"""What goes over the wire to an API server, and what happens when it answers as real ones do on bad days."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import yaml
from aiohttp import web

from dyff.cluster import port
from dyff.cluster.kubernetes import Connection, KubernetesCluster
from dyff.kernel import errors
from tests import certificates as certificates_of_tests
from tests.cluster import web_servers

CONFIG = {"metadata": {"name": "a", "resourceVersion": "1"}, "data": {"key": "value"}}
LIST = {"metadata": {"resourceVersion": "7"}, "items": []}


@asynccontextmanager
async def api_server(tmp_path, answer: Callable, *, certificates=None, authority="ours", version=None, troubles=None, **changes):
    """A server that gives `answer(request)`, and the adapter on it. `certificates`: it speaks TLS, and the adapter trusts `authority`.

    `version`: answers the first request, for the server's version. `troubles`: where the adapter reports.
    """
    tls, trusted = None, {}
    if certificates is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificates / "ours.pem", certificates / "ours.key")
        trusted = {"certificate-authority": str(certificates / f"{authority}.pem")}

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/version":
            return await version(request) if version else web.json_response({"major": "1"})
        return await answer(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    number = runner.addresses[0][1]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": f"http{'s' if tls else ''}://127.0.0.1:{number}", **trusted}}],
                "users": [{"name": "c", "user": {"token": "secret"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            }
        )
    )
    try:
        async with KubernetesCluster.open(Connection(kubeconfig=str(kubeconfig), **{"timeout_s": 2.0, **changes}), troubles) as cluster:
            yield cluster
    finally:
        await web_servers.end(runner)


async def test_the_server_must_be_the_one_that_is_trusted(tmp_path):
    """With its authority it is spoken to, and Services behind it by the same TLS; with another one the message says what is wrong."""
    certificates = certificates_of_tests.make(tmp_path)

    async def answer(request):
        return web.json_response({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {"ports": [{"port": 80}]}})

    async with api_server(tmp_path, answer, certificates=certificates) as cluster:
        place = await cluster.service_url("a")
        assert place.url.startswith("https://127.0.0.1:")
        assert place.url.endswith("/services/a%3A80/proxy")
        assert place.tls.verify_mode is ssl.CERT_REQUIRED
    with pytest.raises(errors.Misconfigured, match="certificate is not trusted"):
        async with api_server(tmp_path, answer, certificates=certificates, authority="other"):
            pass


@pytest.mark.parametrize("is_status", [False, True])
async def test_a_patch_says_that_it_is_a_merge_patch(tmp_path, is_status):
    """The vendor's default is a JSON patch, which an API server refuses for custom resources."""
    seen = []

    async def answer(request):
        seen.append((request.method, request.path, request.headers["Content-Type"], request.headers["Authorization"]))
        return web.json_response(CONFIG)

    async with api_server(tmp_path, answer, namespace="n") as cluster:
        await cluster.patch(port.CONFIG_MAP, "a", {"data": {}}, status=is_status)
    path = "/api/v1/namespaces/n/configmaps/a" + ("/status" if is_status else "")
    assert seen == [("PATCH", path, "application/merge-patch+json", "Bearer secret")]


async def test_a_server_that_does_not_answer_is_given_up(tmp_path):
    """No call waits for ever: the vendor has no limit of its own."""

    async def answer(request):
        await anyio.sleep_forever()

    async with api_server(tmp_path, answer, timeout_s=0.2) as cluster:
        for call in (cluster.get(port.CONFIG_MAP, "a"), cluster.create(port.CONFIG_MAP, CONFIG), cluster.list(port.CONFIG_MAP)):
            with pytest.raises(errors.Unavailable, match=r"ConfigMap|configmaps"):
                await call
        with pytest.raises(errors.Unavailable, match="watching configmaps"):
            async for _ in cluster.watch(port.CONFIG_MAP, "1", timeout_s=60):
                pass


async def test_a_silent_watch_ends_a_little_after_its_time(tmp_path):
    """Also where the server forgets to end it."""

    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await anyio.sleep_forever()
        return response

    async with api_server(tmp_path, answer) as cluster:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dyff.cluster.kubernetes.cluster.GRACE_S", 0.2)
            async with asyncio.timeout(10):
                assert [event async for event in cluster.watch(port.CONFIG_MAP, "1", timeout_s=0.2)] == []


@pytest.mark.parametrize("in_stream", [False, True])
async def test_a_forgotten_version_is_reported_in_both_ways(tmp_path, in_stream):
    """As the status of the answer, and as an event in it: list again."""
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}

    async def answer(request):
        assert request.query["allowWatchBookmarks"] == "true"
        return web.Response(text=json.dumps({"type": "ERROR", "object": gone})) if in_stream else web.json_response(gone, status=410)

    async with api_server(tmp_path, answer) as cluster:
        with pytest.raises(errors.WatchExpired):
            async for _ in cluster.watch(port.CONFIG_MAP, "1", timeout_s=1):
                pass


async def test_a_watch_that_breaks_is_unavailable(tmp_path):
    """Not the end of it, after which one goes on as if nothing was missed: the watcher tries again."""

    async def answer(request):
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(json.dumps({"type": "ADDED", "object": CONFIG}).encode() + b"\n")
        request.transport.abort()
        return response

    async with api_server(tmp_path, answer) as cluster:
        events = cluster.watch(port.CONFIG_MAP, "1", timeout_s=5)
        assert (await anext(events)).type == "ADDED"
        with pytest.raises(errors.Unavailable):
            await anext(events)


async def test_a_type_that_is_being_installed_is_waited_for(tmp_path):
    """Right after its definition was made a type answers 429, or 404 without a name."""
    missing = {"kind": "Status", "reason": "NotFound", "message": "the server could not find the requested resource", "details": {}}
    answers = [
        web.json_response(missing, status=404),
        web.json_response({"message": "storage is (re)initializing"}, status=429, headers={"Retry-After": "0"}),
        web.json_response(LIST),
    ]

    async def answer(request):
        return answers.pop(0)

    async with api_server(tmp_path, answer) as cluster:
        assert (await cluster.list(port.CONFIG_MAP)).resource_version == "7"
    assert answers == []


async def test_a_list_whose_pages_were_forgotten_begins_again(tmp_path):
    """A list is of one version: pages of two are no list."""
    pages = iter(
        [
            web.json_response(
                {"metadata": {"resourceVersion": "5", "continue": "more"}, "items": [{"metadata": {"name": "old", "resourceVersion": "4"}}]}
            ),
            web.json_response({"code": 410, "reason": "Expired", "message": "continue token expired"}, status=410),
            web.json_response(
                {"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [{"metadata": {"name": "a", "resourceVersion": "8"}}]}
            ),
            web.json_response({"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "b", "resourceVersion": "9"}}]}),
        ]
    )

    async def answer(request):
        return next(pages)

    async with api_server(tmp_path, answer) as cluster:
        listing = await cluster.list(port.CONFIG_MAP)
    assert ([each["metadata"]["name"] for each in listing.items], listing.resource_version) == (["a", "b"], "9")


async def test_credentials_are_read_again_when_they_are_refused(tmp_path):
    """A token that expired was renewed on disk meanwhile; one that is still refused is reported."""
    good = []

    async def answer(request):
        token = request.headers["Authorization"]
        return web.json_response(CONFIG) if token in good else web.json_response({"message": "Unauthorized"}, status=401)

    async with api_server(tmp_path, answer) as cluster:
        with pytest.raises(errors.Unavailable, match="credentials"):
            await cluster.get(port.CONFIG_MAP, "a")
        file = tmp_path / "kubeconfig"
        file.write_text(file.read_text().replace("secret", "newer"))
        good.append("Bearer newer")
        assert (await cluster.get(port.CONFIG_MAP, "a"))["data"] == {"key": "value"}


@pytest.mark.parametrize("text", [None, "", "clusters: 3", "apiVersion: v1\nkind: Config\n", "}{"])
async def test_a_kubeconfig_that_cannot_be_used_is_reported_with_its_name(tmp_path, text):
    """A file that is not there, or is none."""
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    with pytest.raises(errors.Misconfigured, match=str(file)):
        async with KubernetesCluster.open(Connection(kubeconfig=str(file))):
            pass


async def test_outside_of_a_pod_there_is_no_service_account():
    """Reported immediately, with the setting's name."""
    with pytest.raises(errors.Misconfigured, match="in_cluster"):
        async with KubernetesCluster.open(Connection(in_cluster=True)):
            pass


async def test_a_watch_shows_new_credentials_where_the_old_ones_are_refused(tmp_path):
    """As any call does: else a token that expires would end the role."""
    good = []

    async def answer(request):
        if request.headers["Authorization"] not in good:
            return web.json_response({"message": "Unauthorized"}, status=401)
        return web.Response(text=json.dumps({"type": "ADDED", "object": CONFIG}))

    async with api_server(tmp_path, answer) as cluster:
        with pytest.raises(errors.Unavailable, match="credentials"):
            await anext(cluster.watch(port.CONFIG_MAP, "1", timeout_s=1))
        file = tmp_path / "kubeconfig"
        file.write_text(file.read_text().replace("secret", "newer"))
        good.append("Bearer newer")
        assert (await anext(cluster.watch(port.CONFIG_MAP, "1", timeout_s=1))).type == "ADDED"


async def test_a_list_that_is_forgotten_again_and_again_is_given_up(tmp_path):
    """A server that cannot keep a version for as long as its pages take is of no use now."""

    async def answer(request):
        return web.json_response({"code": 410, "reason": "Expired", "message": "continue token expired"}, status=410)

    async with api_server(tmp_path, answer) as cluster:
        with pytest.raises(errors.Unavailable, match="configmaps"):
            await cluster.list(port.CONFIG_MAP)


POD = {
    "metadata": {"name": "p", "uid": "u", "resourceVersion": "1"},
    "spec": {"containers": [{"name": "main"}]},
    "status": {"containerStatuses": [{"name": "main", "containerID": "c", "state": {"terminated": {"exitCode": 0}}}]},
}
LOG = b"2026-01-01T00:00:00.000000001Z 10%\r20%\r30%\n2026-01-01T00:00:01Z done\n"


async def test_lines_are_what_ends_with_a_line_feed(tmp_path):
    """A carriage return, as progress bars write, is part of a line; read and followed alike."""

    async def answer(request):
        if "previous" in request.query:
            return web.json_response({"code": 400, "message": "previous terminated container not found"}, status=400)
        return web.Response(body=LOG) if request.path.endswith("/log") else web.json_response(POD)

    async with api_server(tmp_path, answer) as cluster:
        read = [line.message for line in await cluster.logs("p")]
        followed = [line.message async for line in cluster.follow("p", "main")]
    assert read == followed == ["10%\r20%\r30%", "done"]


async def test_the_log_of_the_previous_attempt_is_read_too(tmp_path):
    """A container that starts again has a new log; why it ended is in the one before, as far as the limit allows."""
    asked = []

    async def answer(request):
        if not request.path.endswith("/log"):
            return web.json_response(POD)
        asked.append(dict(request.query))
        if "previous" in request.query:
            return web.Response(body=b"2025-12-31T00:00:00Z no such model\n")
        return web.Response(body=b"2026-01-01T00:00:00Z loading\n")

    async with api_server(tmp_path, answer) as cluster:
        assert [line.message for line in await cluster.logs("p")] == ["no such model", "loading"]
        assert [line.message for line in await cluster.logs("p", limit=5)] == ["no such model", "loading"]
        assert asked[-1]["tailLines"] == "4"
        assert [line.message for line in await cluster.logs("p", limit=1)] == ["loading"]
        assert [line.message for line in await cluster.logs("p", since="2025-12-31T12:00:00Z")] == ["loading"]


async def test_a_follower_notices_that_its_connection_died(tmp_path, monkeypatch):
    """Nothing says so where a machine in between is lost: it asks again for what came after the last line."""
    monkeypatch.setattr("dyff.cluster.kubernetes.logs.SILENCE_S", 0.2)
    asked: list[Any] = []

    async def answer(request):
        if not request.path.endswith("/log"):
            ended = {"terminated": {"exitCode": 0}} if len(asked) > 1 else {"running": {}}
            status = {"containerStatuses": [{"name": "main", "containerID": "c", "state": ended}]}
            return web.json_response({**POD, "status": status})
        asked.append(request.query.get("sinceTime"))
        if len(asked) > 1:
            return web.Response(body=LOG)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(LOG.partition(b"\n")[0] + b"\n")
        await anyio.sleep_forever()
        return response

    async with api_server(tmp_path, answer) as cluster, asyncio.timeout(20):
        found = [line.message async for line in cluster.follow("p", "main")]
    assert found[-1] == "done"
    assert found.count("done") == 1
    assert asked[1] == "2026-01-01T00:00:00Z"
