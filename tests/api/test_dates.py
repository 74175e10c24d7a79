"""Times in requests: each that cannot be converted to UTC is refused with its field, wherever a request has one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
import pytest

from dyff.api import bodies as decoding
from dyff.api import dates
from dyff.cluster import instants
from dyff.kernel import errors
from tests.entities import bodies

UNUSABLE = ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999-00:01", "0001-01-01T00:00:00+00:01", "0001-01-01T00:00:00+23:59"]


class Part(msgspec.Struct):
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class Request(msgspec.Struct):
    ends: list[datetime] = []
    parts: tuple[Part, ...] | None = None
    named: dict[str, Part] = {}


LAST, FIRST = "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"


@pytest.mark.parametrize("time", UNUSABLE)
@pytest.mark.asyncio(loop_scope="module")
async def test_an_unusable_time_is_refused_in_every_request_that_has_one(shared_world, shared_api, time):
    """Tokens of accounts, sessions, tokens of sessions, evaluations: 422 with the field, and nothing is created."""
    account = shared_world.account
    requests = [
        (f"/v0/accounts/{account}/tokens", {"grants": [], "expires": time}, ["body", "expires"]),
        ("/v0/inferencesessions", {**bodies.SESSION, "expires": time}, ["body", "expires"]),
        (f"/v0/inferencesessions/{'0' * 32}/token", {"expires": time}, ["body", "expires"]),
        (
            "/v0/evaluations",
            {**bodies.EVALUATION, "inferenceSession": {**bodies.EVALUATION["inferenceSession"], "expires": time}},
            ["body", "inferenceSession", "expires"],
        ),
    ]
    for path, body, loc in requests:
        response = await shared_api.post(path, json=body)
        assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, loc), path
    assert await shared_world.events() == []


@pytest.mark.parametrize("time", [*UNUSABLE, "9999-99-99T00:00:00Z", "0000-01-01T00:00:00Z"])
@pytest.mark.asyncio(loop_scope="module")
async def test_an_unusable_time_in_a_query_is_refused(shared_api, time):
    """The parameter is named."""
    response = await shared_api.get(f"/v0/evaluations/{'0' * 32}/logs/workflow", params={"since": time})
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", "since"])


async def test_the_last_time_of_the_calendar_can_be_used(world, api):
    """A session and a token until then are made, read and used."""
    body = {"account": "test", "inferenceService": await world.ready_service(), "expires": LAST}
    session = (await api.post("/v0/inferencesessions", json=body)).json()
    assert session["inferencesession"]["expires"] == "9999-12-31T23:59:59.000000Z"
    path = f"/v0/inferencesessions/{session['inferencesession']['id']}"
    assert (await api.post(f"{path}/token", json={"expires": LAST})).status_code == 200
    async with world.client(session["token"]) as client:
        assert (await client.get(path)).status_code == 200
    grant = {"resources": ["datasets"], "functions": ["query"], "accounts": ["test"]}
    token = await api.post(f"/v0/accounts/{world.account}/tokens", json={"grants": [grant], "expires": LAST})
    assert token.status_code == 201
    async with world.client(token.json()) as client:
        assert (await client.get("/v0/datasets")).status_code == 200
    assert len((await api.get(f"/v0/accounts/{world.account}/tokens")).json()) == 2
    assert (await api.get(f"/v0/evaluations/{'0' * 32}/logs/workflow", params={"since": LAST})).status_code == 404


def test_times_are_found_anywhere_in_a_request():
    """In optional structs, lists and maps; times that can be used pass."""

    decoder = msgspec.json.Decoder(Request)
    fine = {"ends": [LAST, FIRST, "2026-01-01T00:00:00"], "parts": [{}, {"until": LAST}], "named": {"x": {"until": FIRST}}}
    assert decoding.decode(decoder, msgspec.json.encode(fine)).ends[1].year == 1
    wrong = {"ends": [LAST, UNUSABLE[0]], "parts": [{}, {"until": UNUSABLE[2]}], "named": {"x": {"until": UNUSABLE[3]}}}
    with pytest.raises(errors.InvalidFields) as caught:
        decoding.decode(decoder, msgspec.json.encode(wrong))
    assert [each.loc for each in caught.value.problems] == [
        ("body", "ends", 1),
        ("body", "parts", 1, "until"),
        ("body", "named", "x", "until"),
    ]
    assert {each.msg for each in caught.value.problems} == {dates.FIX}


def test_early_times_keep_the_order_of_text():
    """The year has four digits, so that log lines can be compared with any `since`."""
    assert instants.instant(FIRST) == "0001-01-01T00:00:00.000000000Z" < instants.instant("2026-01-01T00:00:00.5Z")
