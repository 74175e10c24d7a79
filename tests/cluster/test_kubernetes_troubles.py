"""An API server on bad days, over the wire: how often it is asked, what is reported, and that nothing of it is final."""

from __future__ import annotations

import asyncio
import email.utils
import json
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from dyff.cluster import port
from dyff.kernel import clock, degradation, errors
from tests.cluster.test_kubernetes_wire import CONFIG, LIST, api_server

JOB = {"metadata": {"name": "a"}}


@pytest.mark.parametrize("header", ["0", "-5", "nan", "", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_no_retry_after_leads_to_a_hot_loop(tmp_path, monkeypatch, header):
    """However short the pause is that the server asks for, ours grows, so that it gets a handful of requests."""
    monkeypatch.setattr("dyff.cluster.kubernetes.requests.PATIENCE_S", 1.0)
    asked = []

    async def answer(request):
        asked.append(request.path)
        return web.json_response({"message": "busy"}, status=429, headers={"Retry-After": header})

    async with api_server(tmp_path, answer) as cluster:
        with pytest.raises(errors.Unavailable, match="busy"):
            await cluster.create(port.JOB, JOB)
    assert 0 < len(asked) < 8


async def test_a_redirect_of_a_write_is_not_followed(tmp_path):
    """It would be sent again as a GET, whose answer would look like a success."""

    async def answer(request):
        assert request.method == "POST"
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with api_server(tmp_path, answer) as cluster:
        with pytest.raises(errors.Unavailable, match="302"):
            await cluster.create(port.JOB, JOB)


@pytest.mark.parametrize(
    "page",
    [
        {"metadata": {"resourceVersion": "7", "continue": "same"}, "items": []},
        {"items": []},
        {"metadata": {"resourceVersion": "1"}, "items": [3]},
        {"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {"name": "a"}}]},
        {"metadata": None, "items": [{"metadata": None}]},
    ],
)
async def test_a_list_that_is_none_is_unavailable(tmp_path, page):
    """A page that repeats without end, or lacks what every list has."""

    async def answer(request):
        return web.json_response(page)

    async with api_server(tmp_path, answer) as cluster, asyncio.timeout(10):
        with pytest.raises(errors.Unavailable, match="listing jobs"):
            await cluster.list(port.JOB)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "ERROR", "object": {"code": 500}},
        {"type": "ERROR", "object": None},
        {"type": "ADDED"},
        {"type": "ADDED", "object": None},
        {"type": "ADDED", "object": {"metadata": {"name": "a"}}},
        {"type": "NEW", "object": {}},
        {"object": {}},
        [],
    ],
)
async def test_an_event_that_is_none_is_unavailable(tmp_path, event):
    """What cannot be understood must not look like a change, nor end the role."""

    async def answer(request):
        return web.Response(text=json.dumps(event) + "\n")

    async with api_server(tmp_path, answer) as cluster:
        with pytest.raises(errors.Unavailable, match="watching jobs"):
            await anext(cluster.watch(port.JOB, "1", timeout_s=5))


async def test_a_server_that_refuses_us_at_the_start_ends_nothing(tmp_path):
    """The cluster opens, every call says what is wrong, and works when the server does."""
    good: list[Any] = []

    async def answer(request):
        return web.json_response(LIST) if good else web.json_response({"message": "Unauthorized"}, status=401)

    async with api_server(tmp_path, answer, version=answer) as cluster:
        with pytest.raises(errors.Unavailable, match="credentials"):
            await cluster.list(port.JOB)
        good.append(True)
        assert (await cluster.list(port.JOB)).items == ()


async def test_credentials_that_are_being_replaced_are_waited_for(tmp_path):
    """A kubeconfig that is missing or empty for a moment is no reason to end."""
    good = []

    async def answer(request):
        token = request.headers["Authorization"]
        return web.json_response(CONFIG) if token in good else web.json_response({"message": "Unauthorized"}, status=401)

    file = tmp_path / "kubeconfig"
    troubles = degradation.Troubles()
    async with api_server(tmp_path, answer, troubles=troubles) as cluster:
        text = file.read_text()
        for broken in ("", "}{"):
            file.write_text(broken)
            with pytest.raises(errors.Unavailable, match="cannot be read again"):
                await cluster.get(port.CONFIG_MAP, "a")
        assert [each.name for each in troubles.current()] == ["cluster credentials"]
        file.write_text(text.replace("secret", "newer"))
        good.append("Bearer newer")
        assert (await cluster.get(port.CONFIG_MAP, "a"))["data"] == {"key": "value"}
        assert troubles.current() == []


async def test_many_requests_that_are_refused_together_read_the_credentials_once(tmp_path):
    """A credential program can be slow, and must not be started for each of them."""

    async def answer(request):
        good = request.headers["Authorization"] == "Bearer newer"
        return web.json_response(CONFIG if good else {}, status=200 if good else 401)

    async with api_server(tmp_path, answer) as cluster:
        file = tmp_path / "kubeconfig"
        file.write_text(file.read_text().replace("secret", "newer"))
        await asyncio.gather(*(cluster.get(port.CONFIG_MAP, "a") for _ in range(10)))
        assert cluster._access.renewals == 1


async def test_a_missing_permission_is_a_trouble_until_it_is_granted(tmp_path):
    """It is named with verb and type, next to others, and cleared by the first success of the same."""
    refused = {"POST", "GET"}

    async def answer(request):
        if request.method in refused:
            verb = "create" if request.method == "POST" else "list"
            return web.json_response({"reason": "Forbidden", "message": f'User "x" cannot {verb} resource "jobs"'}, status=403)
        return web.json_response(LIST if request.method == "GET" else CONFIG)

    troubles = degradation.Troubles()
    async with api_server(tmp_path, answer, troubles=troubles) as cluster:
        for call in (cluster.create(port.JOB, JOB), cluster.list(port.JOB)):
            with pytest.raises(errors.Blocked, match="manifests rbac"):
                await call
        assert {each.name for each in troubles.current()} == {
            "cluster permission: create jobs.batch",
            "cluster permission: list jobs.batch",
        }
        refused.discard("GET")
        await cluster.list(port.JOB)
        assert [each.name for each in troubles.current()] == ["cluster permission: create jobs.batch"]
        refused.clear()
        await cluster.create(port.JOB, JOB)
        assert troubles.current() == []


async def test_a_trouble_does_not_look_new_with_each_object(tmp_path):
    """Its reason names no object, so it is logged once."""
    codes = [401, 403]

    async def answer(request):
        name = request.path.rpartition("/")[2]
        message = f'jobs.batch "{name}" is forbidden: User "x" cannot get resource "jobs"' if codes[0] == 403 else "Unauthorized"
        return web.json_response({"reason": "Forbidden", "message": message}, status=codes[0])

    troubles = degradation.Troubles()
    async with api_server(tmp_path, answer, troubles=troubles) as cluster:
        while codes:
            reasons = set()
            for name in ("a", "b"):
                with pytest.raises(errors.Unavailable):
                    await cluster.get(port.JOB, name)
                reasons.add(tuple(each.reason for each in troubles.current()))
            assert len(reasons) == 1
            codes.pop(0)


async def test_the_time_is_that_of_the_server(tmp_path):
    """Times in objects are by the server's clock; a small difference is the resolution of its header."""
    ahead_s = [3600.0]

    async def answer(request):
        moment = clock.SystemClock().now() + timedelta(seconds=ahead_s[0])
        return web.json_response(CONFIG, headers={"Date": email.utils.format_datetime(moment, usegmt=True)})

    async with api_server(tmp_path, answer) as cluster:
        for ahead in (3600.0, -7200.0, 0.0):
            ahead_s[0] = ahead
            await cluster.get(port.CONFIG_MAP, "a")
            assert abs((cluster.now() - clock.SystemClock().now()).total_seconds() - ahead) < 2.0
