"""Rows of lists, and the overview."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dyff.accounts.grants import Grant
from dyff.api import rows
from dyff.api.routes import lists
from dyff.bus import topics
from dyff.entities import registry, statuses


async def settle(world) -> None:
    """Wait until the view has seen everything that the log has."""
    ends = {partition: held.end for partition, held in (await world.services.bus.ranges(topics.EVENTS)).items()}
    assert await world.services.query.wait(ends, 20)


async def rows_of(world, plural: str, token: str | None = None, **params: Any) -> Any:
    await settle(world)
    async with world.client(token) as client:
        return await client.get(f"/v0/{plural}/rows", params=params)


async def test_a_row_has_what_was_asked_for(world):
    """Nested as in the entity; the ID and the field of the order are always there, what is absent is not."""
    service = await world.ready_service(name="mock")
    body = {"account": "test", "dataset": await world.dataset(name="prompts"), "inferenceSession": {"inferenceService": service}}
    async with world.client() as client:
        made = (await client.post("/v0/evaluations", json=body)).json()
    answer = await rows_of(world, "evaluations", fields="status, inferenceSession.inferenceService.name,labels", orderBy="creationTime")
    assert answer.json() == [
        {
            "id": made["id"], "status": "Created", "labels": made["labels"], "creationTime": made["creationTime"],
            "inferenceSession": {"inferenceService": {"name": "mock"}},
        }
    ]  # fmt: skip


async def test_without_fields_a_row_has_what_a_list_shows(world):
    """What all kinds share, and what the kind can be asked for; of every kind."""
    dataset = await world.dataset(name="prompts")
    (found,) = (await rows_of(world, "datasets")).json()
    async with world.client() as client:
        whole = (await client.get(f"/v0/datasets/{dataset}")).json()
    assert found == {**{key: whole[key] for key in found}, "metadata": {"documentation": {}}}
    assert {"id", "kind", "account", "name", "status", "creationTime"} <= found.keys()
    assert "artifacts" in whole
    assert "artifacts" not in found
    for row in registry.ROWS:
        assert {("id",), ("status",), ("metadata", "documentation", "title"), *row.queries.values()} <= set(rows.listed(row)), row.name


async def test_pages_of_rows_follow_each_other(world):
    """`after` is made of the last row, also if the order was not among the fields."""
    for n in range(5):
        await world.dataset(name=str(n))
    seen: list[str] = []
    after = None
    for _ in range(3):
        page = (
            await rows_of(world, "datasets", fields="name", orderBy="creationTime", limit=2, **({"after": after} if after else {}))
        ).json()
        seen += [each["id"] for each in page]
        after = json.dumps([page[-1]["creationTime"], page[-1]["id"]])
    async with world.client() as client:
        assert seen == [each["id"] for each in (await client.get("/v0/datasets", params={"orderBy": "creationTime"})).json()]
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ("statsu", "evaluations have no field 'statsu'; did you mean 'status'"),
        ("inferenceSession.inferenceServce", "'inferenceService'"),
        ("status.x", "'status' is no object"),
        ("", "no field ''"),
        ("status,,id", "no field ''"),
        (",".join(f"f{n}" for n in range(rows.MAX_FIELDS + 1)), "at most 50 fields"),
        ("x" * (rows.MAX_CHARS + 1), "at most 50 fields and 4000 characters"),
    ],
)
async def test_a_wrong_field_is_named(world, fields, text):
    """With the nearest known one."""
    answer = await rows_of(world, "evaluations", fields=fields)
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["query", "fields"]
    assert text in problem["msg"]


async def test_fields_are_given_once(world):
    """The message says how to give several; a misspelt parameter is named."""
    async with world.client() as client:
        twice = await client.get("/v0/datasets/rows?fields=name&fields=id")
        wrong = await client.get("/v0/datasets/rows?field=name")
    assert "commas" in twice.json()["detail"][0]["msg"]
    assert "'fields'" in wrong.json()["detail"][0]["msg"]


def group(answer: Any, name: str) -> Any:
    return next(each for each in answer.json()["groups"] if each["name"] == name)


async def test_the_overview_counts_what_the_token_sees(world):
    """Of each kind and group, up to the bound; of all kinds together the last changes, the last one first."""
    datasets = [await world.dataset(name=str(n)) for n in range(3)]
    await world.fail(datasets[1], statuses.SCHEMA_ERROR, "no schema")
    await world.set_status(datasets[2], statuses.READY)
    token = await world.token(Grant(("datasets",), ("query",), (), (datasets[0],)))
    await settle(world)
    async with world.client() as client:
        everything = await client.get("/v0/overview")
        async with world.client(token) as other:
            little = await other.get("/v0/overview")
    assert everything.json()["most"] == lists.MAX_COUNTED
    waiting, failed = group(everything, "waiting"), group(everything, "failed")
    assert waiting["counts"] == [{"plural": "datasets", "count": 1, "more": False}]
    assert [each["id"] for each in waiting["rows"]] == [datasets[0]]
    assert [each["reason"] for each in failed["rows"]] == [statuses.SCHEMA_ERROR]
    assert [each["id"] for each in group(everything, "done")["rows"]] == [datasets[2]]
    assert [each["id"] for each in group(little, "waiting")["rows"]] == [datasets[0]]
    assert group(little, "failed") == {"name": "failed", "statuses": list(statuses.GROUPS["failed"]), "counts": [], "rows": []}


async def test_a_count_says_that_there_are_more(world, monkeypatch):
    """At the bound, and only the last rows are there."""
    monkeypatch.setattr(lists, "MAX_COUNTED", 2)
    monkeypatch.setattr(lists, "MAX_ROWS", 1)
    made = [await world.dataset(name=str(n)) for n in range(3)]
    await settle(world)
    async with world.client() as client:
        waiting = group(await client.get("/v0/overview"), "waiting")
    assert waiting["counts"] == [{"plural": "datasets", "count": 2, "more": True}]
    assert len(waiting["rows"]) == 1
    assert waiting["rows"][0]["id"] in made


def test_every_group_has_known_statuses():
    """And none is in two groups."""
    every = [each for found in statuses.GROUPS.values() for each in found]
    assert len(every) == len(set(every))
    assert set(every) <= set(statuses.PUBLISHED)
