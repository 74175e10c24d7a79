"""The health of the system, and quotas in use."""

from __future__ import annotations

from typing import get_args

import anyio
import msgspec
import pytest

from dyff.accounts import grants
from dyff.api import watching
from dyff.consumers.aggregator import partitions
from dyff.entities import codecs
from dyff.kernel import errors, settings
from dyff.serve import roles
from tests.api.conftest import opened
from tests.engines.ports import free_port


def test_the_names_are_those_of_others():
    """The api may not import the table of roles or the aggregator, so it repeats their names."""
    assert roles.names(roles.TABLE) == watching.ROLES
    assert watching.AGGREGATOR == partitions.GROUP
    kept = msgspec.structs.fields(settings.Console)[0].type
    assert set(get_args(get_args(kept)[0])) == set(watching.ROLES)


@pytest.mark.parametrize("place", ["http://10.0.0.5:8001", "10.0.0.5", "x:0", ""])
def test_a_place_that_is_none_is_refused(place):
    """A probe's place has a host and a port."""
    with pytest.raises(ValueError, match="port"):
        settings.Console(probes={"sink": (place,)})


async def test_operators_see_the_system(world, api):
    """Each port with whether it works, the lag, the roles of this process; others are not known here."""
    found = (await api.get("/v0/system")).json()
    assert {each["port"]: each["works"] for each in found["ports"]} == dict.fromkeys(
        ("bus", "query", "accounts", "objects", "cluster"), True
    )
    assert {each["role"]: each["known"] for each in found["roles"]} == dict.fromkeys(watching.ROLES, False)
    assert set(found["lag"]) == {"aggregator", "sink", "view"}
    (look,) = found["history"]
    assert (look["fails"], look["unready"]) == ([], [])
    assert (await api.get("/v0/system")).json() == found  # it looks only every ten seconds


async def test_only_operators_see_it(world):
    """It concerns all accounts."""
    token = await world.token(grants.Grant(("*",), ("get",), ("*",)))
    async with world.client(token) as client:
        assert (await client.get("/v0/system")).status_code == 403


class Broken:
    """A store that does not answer."""

    async def head(self, key):
        raise errors.Unavailable("the store is away")


async def _asked(world) -> dict:
    async with world.client() as api:
        return (await api.get("/v0/system")).json()


async def test_what_fails_is_said(tmp_path):
    """A backend that does not answer, a role that makes no progress, and a process whose probes are not there."""
    sink = {"phase": "stuck", "since": "2026-01-31T12:00:00Z", "failures": 2, "problem": "12 behind"}
    report = {"status": "failing", "alive": True, "degraded": [], "roles": {"sink": sink}}
    nobody = f"127.0.0.1:{free_port()}"
    async with opened(tmp_path, objects=Broken(), health=lambda: report, probes={"operator": (nobody,)}) as world:
        found = await _asked(world)
    ports = {each["port"]: each for each in found["ports"]}
    assert (ports["objects"]["works"], ports["objects"]["problem"]) == (False, "the store is away")
    known = {each["role"]: each for each in found["roles"]}
    assert (known["sink"]["problem"], known["sink"]["status"], known["sink"]["address"]) == ("12 behind", "failing", None)
    assert (known["operator"]["status"], known["operator"]["address"]) == ("unreachable", nobody)
    assert found["history"][0]["unready"] == ["sink", "operator"]
    assert found["history"][0]["fails"] == ["objects"]


@pytest.mark.parametrize(
    ("answer", "status", "problem"),
    [
        (
            {"status": "ok", "roles": {"operator": {"phase": "ready", "since": "2026-01-31T12:00:00Z", "failures": 0, "problem": None}}},
            "ok",
            None,
        ),
        ({"status": "ok", "roles": {}}, "ok", "it does not run there"),
        ({"status": "ok"}, "unreachable", "'roles'"),
        ([], "unreachable", ""),
        ("x" * 100_000, "unreachable", ""),
    ],
)
async def test_other_processes_are_asked(tmp_path, answer, status, problem):
    """Their probes say how they are; an answer that makes no sense, or has no end, is as none."""
    body = codecs.encode(answer)

    async def serve(stream):
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with opened(tmp_path, probes={"operator": (f"127.0.0.1:{port}",)}) as world:
            (found,) = [each for each in (await _asked(world))["roles"] if each["role"] == "operator"]
        group.cancel_scope.cancel()
    assert found["status"] == status
    assert (found["problem"] is None) == (problem is None)
    assert (problem or "") in (found["problem"] or "")


async def test_quotas_in_use(world, api):
    """What admitted workflows use of an account's quotas; others do not count."""
    account = world.account
    body = {**await world.evaluation_body(), "account": account}
    for status in ("Admitted", "Schedulable", "Created", "Complete"):
        made = (await api.post("/v0/evaluations", json=body)).json()
        await world.set_status(made["id"], status)
    found = (await api.get(f"/v0/accounts/{account}/quotas")).json()
    assert found == {
        "admitted": {"used": "2", "limit": "8"}, "cpu": {"used": "4", "limit": None},
        "memory": {"used": str(4 * 2**30), "limit": None}, "accelerators": {}, "complete": True,
    }  # fmt: skip


async def test_quotas_of_others_need_a_grant(world, api):
    """An account sees its own; an unknown one is a 404 for operators."""
    stranger = await world.token(grants.Grant(("datasets",), ("get",), ("x",)))
    async with world.client(stranger) as client:
        assert (await client.get(f"/v0/accounts/{world.account}/quotas")).status_code == 200
        assert (await client.get(f"/v0/accounts/{world.services.ids.new()}/quotas")).status_code in (403, 404)
    assert (await api.get(f"/v0/accounts/{world.services.ids.new()}/quotas")).status_code == 404


async def test_limits_are_those_of_the_settings(tmp_path):
    """Also of accelerators that nobody uses."""
    quotas = settings.Quotas(admitted=3, cpu="1500m", memory="2Gi", accelerators={"nvidia.com/gpu-t4": 2})
    async with opened(tmp_path, quotas=quotas) as world, world.client() as api:
        found = (await api.get(f"/v0/accounts/{world.account}/quotas")).json()
    assert (found["cpu"]["limit"], found["memory"]["limit"]) == ("1.5", str(2 * 2**30))
    assert found["accelerators"] == {"nvidia.com/gpu-t4": {"used": "0", "limit": "2"}}
