"""Limits of what an account keeps: what is refused, with which words, and what always passes."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import msgspec
import pytest

from dyff.accounts import grants
from dyff.api import app, quotas
from dyff.kernel import errors, settings
from dyff.kernel.clock import iso
from tests.api.conftest import opened
from tests.api.test_uploads import uploaded
from tests.entities import bodies

EXCEEDED = re.compile(r"Account quota exceeded: (\d+)/(\d+)\. ")
UNLIMITED = {"entities": None, "document_bytes": None, "object_bytes": None, "tokens": None}


def limited(**limits) -> settings.Quotas:
    return settings.Quotas(**{**UNLIMITED, **limits})


def numbers(response) -> tuple[int, int]:
    """N and L of a refusal."""
    assert response.status_code == 403, response.text
    found = EXCEEDED.match(response.json()["detail"])
    assert found, response.text
    assert "www-authenticate" not in response.headers
    return int(found[1]), int(found[2])


@pytest.fixture
async def clients(world):
    """Opens a client of an API on the same stores with other limits, as another process has it."""

    @asynccontextmanager
    async def client(**limits):
        world.app = app.build(msgspec.structs.replace(world.services, quotas=limited(**limits)))
        async with world.client() as found:
            yield found

    return client


async def test_one_entity_too_many_is_refused_with_the_usage(world, clients):
    """403 in the published words, then what it is, and what helps; other accounts are not concerned; nothing was created."""
    async with clients(entities=2) as api:
        for _ in range(2):
            assert (await api.post("/v0/datasets", json=bodies.DATASET)).status_code == 201
        refused = await api.post("/v0/models", json=bodies.MODEL_MOCK)
        assert numbers(refused) == (2, 2)
        assert all(words in refused.json()["detail"] for words in ("entities", "the account test", "quotas.entities", "Delete", "add 1"))
        assert (await api.post("/v0/datasets", json={**bodies.DATASET, "account": "other"})).status_code == 201
    assert sum(each["command"] == "CreateEntity" for each in await world.events()) == 3


async def test_creations_at_the_same_time_do_not_share_the_last_place(world, clients):
    """A claim counts before its command is published, also while the view is behind."""
    world.view.pause()
    async with clients(entities=5) as api:
        answers = []

        async def create():
            answers.append((await api.post("/v0/datasets", json=bodies.DATASET)).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(create)
    assert sorted(answers) == [201] * 5 + [403] * 15


async def test_a_repetition_of_an_accepted_creation_has_its_answer(world, clients):
    """Whether it comes later, at the same time, or with a view that is behind: it takes one place, and is never refused."""
    headers = {"Idempotency-Key": "one"}
    async with clients(entities=1) as api:
        answers = []

        async def create():
            answers.append(await api.post("/v0/datasets", json=bodies.DATASET, headers=headers))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(create)
        await create()
        assert [each.status_code for each in answers] == [201] * 6, [each.text for each in answers]
        assert len({each.json()["id"] for each in answers}) == 1
        assert numbers(await api.post("/v0/datasets", json=bodies.DATASET, headers={"Idempotency-Key": "two"})) == (1, 1)


async def test_deletions_pass_at_the_limit_and_a_place_is_free_once_it_is_forgotten(world, clients, monkeypatch):
    """Deleting and terminating add nothing; a deleted entity counts until the sweep has removed it."""
    monkeypatch.setattr(quotas, "EXACT_S", 0.0)
    async with clients(entities=1, document_bytes=10_000) as api:
        made = (await api.post("/v0/datasets", json=bodies.DATASET)).json()["id"]
        assert (await api.put(f"/v0/datasets/{made}/delete")).status_code == 200
        assert numbers(await api.post("/v0/datasets", json=bodies.DATASET)) == (1, 1)
        await world.forget(made)
        assert (await api.post("/v0/datasets", json=bodies.DATASET)).status_code == 201


async def test_a_restarted_api_knows_what_is_there(world, clients):
    """The usage is that of the view, whichever process accepted the entities."""
    async with clients(entities=3) as api:
        for _ in range(3):
            dataset = (await api.post("/v0/datasets", json=bodies.DATASET)).json()["id"]
        await api.get(f"/v0/datasets/{dataset}")
    async with clients(entities=3) as api:
        assert numbers(await api.post("/v0/datasets", json=bodies.DATASET)) == (3, 3)


async def test_documents_have_a_limit_in_bytes_and_edits_count(world, clients):
    """An edit that adds too much is refused; one that makes the entity smaller, or changes nothing, passes."""
    dataset = await world.dataset()
    async with world.client() as first:
        size = len((await first.get(f"/v0/datasets/{dataset}")).content)
    async with clients(document_bytes=size + 1000) as api:
        one = f"/v0/datasets/{dataset}/documentation"
        assert (await api.patch(one, json={"documentation": {"fullPage": "x" * 800}})).status_code == 200
        used, limit = numbers(await api.patch(one, json={"documentation": {"fullPage": "x" * 1800}}))
        assert size + 800 < used <= limit == size + 1000
        assert numbers(await api.post("/v0/datasets", json=bodies.DATASET)) == (used, limit)
        assert (await api.patch(one, json={"documentation": {"fullPage": "x" * 800}})).status_code == 200
        assert (await api.patch(one, json={"documentation": {"fullPage": None}})).status_code == 200
        assert (await api.patch(one, json={"documentation": {"fullPage": "y" * 700}})).status_code == 200


async def test_a_file_too_many_is_refused_before_it_is_stored(world, clients):
    """Of a dataset, whose request declares no sizes: by the length that the PUT announces. What failed does not count."""
    size = len(bodies.ROWS)
    async with clients(object_bytes=size + 10) as api:
        first, second = [(await api.post("/v0/datasets", json=bodies.DATASET)).json()["id"] for _ in range(2)]
        wrong = await uploaded(api, "datasets", first, "part-0.parquet", bodies.ROWS[:-1] + b"?")
        assert wrong.status_code == 409, wrong.text
        for _ in range(2):  # the same file again takes no more
            assert (await uploaded(api, "datasets", first, "part-0.parquet", bodies.ROWS)).status_code == 200
        assert numbers(await uploaded(api, "datasets", second, "part-0.parquet", bodies.ROWS)) == (size, size + 10)
        assert [each.key async for each in world.services.objects.list(f"uploads/datasets/{second}/")] == []
        assert (await api.post(f"/v0/datasets/{first}/finalize")).json() == {"status": "Ready"}


async def test_finalize_counts_what_the_api_did_not_see_arrive(world, clients):
    """On a cloud the bytes do not come through the API: finalize looks at their sizes, and refuses what is too much."""
    size = len(bodies.ROWS)
    dataset = await world.dataset()
    await world.services.objects.put(f"uploads/datasets/{dataset}/part-0.parquet", bodies.ROWS)
    async with clients(object_bytes=size - 1) as api:
        assert numbers(await api.post(f"/v0/datasets/{dataset}/finalize")) == (0, size - 1)
        assert (await api.get(f"/v0/datasets/{dataset}")).json()["status"] == "WaitingForUpload"
        assert (await api.put(f"/v0/datasets/{dataset}/delete")).status_code == 200
    dataset = await world.dataset()
    await world.services.objects.put(f"uploads/datasets/{dataset}/part-0.parquet", bodies.ROWS)
    async with clients(object_bytes=size) as api:
        assert (await api.post(f"/v0/datasets/{dataset}/finalize")).json() == {"status": "Ready"}
        refused = await api.get(f"/v0/datasets/{await world.dataset()}/upload/part-0.parquet")
        assert numbers(refused) == (size, size)


async def test_declared_sizes_count_from_the_creation_on(world, clients):
    """A model says how large its files are: it is refused before a byte of it comes."""
    size = sum(each["size"] for each in bodies.MODEL_UPLOAD["artifact"]["volume"]["files"])
    assert size > 0
    async with clients(object_bytes=2 * size - 1) as api:
        assert (await api.post("/v0/models", json=bodies.MODEL_UPLOAD)).status_code == 201
        assert numbers(await api.post("/v0/models", json=bodies.MODEL_UPLOAD)) == (size, 2 * size - 1)


async def test_tokens_are_limited_also_at_the_same_time(world, clients):
    """Each is stored, so that an account cannot make tokens without end; a revoked one makes room."""
    body: dict[str, Any] = {"grants": [], "expires": iso(world.services.clock.now() + timedelta(hours=1))}
    body["grants"] = [{"resources": ["datasets"], "functions": ["get"], "accounts": [world.account]}]
    there = len(await world.services.accounts.keys(world.account))
    async with clients(tokens=there + 2) as api:
        answers = []

        async def make():
            answers.append(await api.post(f"/v0/accounts/{world.account}/tokens", json=body))

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(make)
        assert sorted(each.status_code for each in answers) == [201] * 2 + [403] * 4
        assert numbers(await api.post(f"/v0/accounts/{world.account}/tokens", json=body)) == (there + 2, there + 2)
        newest = (await world.services.accounts.keys(world.account))[-1]
        await api.delete(f"/v0/accounts/{world.account}/tokens/{newest.id}")
        assert (await api.post(f"/v0/accounts/{world.account}/tokens", json=body)).status_code == 201


async def test_an_account_sees_what_it_keeps(world, clients):
    """Its own token suffices; numbers and limits of everything that is limited."""
    own = grants.Grant((grants.ANY,), (grants.ANY,), (world.account,))
    token = await world.token(own)
    async with clients(entities=7) as api:
        made = await api.post("/v0/datasets", json={**bodies.DATASET, "account": world.account})
        async with world.client(token) as mine:
            found = (await mine.get(f"/v0/accounts/{world.account}/usage")).json()
            assert (await mine.get(f"/v0/accounts/{world.services.ids.new()}/usage")).status_code in (403, 404)
    assert found == {
        "entities": {"used": 1, "limit": 7},
        "documentBytes": {"used": len(made.content), "limit": None},
        "objectBytes": {"used": 0, "limit": None},
        "tokens": {"used": 2, "limit": None},
    }


class Unreadable:
    """A view that does not say what accounts keep."""

    def __init__(self, real):
        self._real = real

    def __getattr__(self, name):
        return getattr(self._real, name)

    async def usage(self, account):
        raise errors.Unavailable("not now")


async def test_without_the_view_creations_are_accepted_and_still_bounded(world):
    """The log takes them without the view; what this process accepts counts, and what it cannot know is a 503, not a 403."""
    services = msgspec.structs.replace(world.services, quotas=limited(entities=2), query=Unreadable(world.services.query))
    world.app = app.build(services)
    async with world.client() as api:
        found = [(await api.post("/v0/datasets", json=bodies.DATASET)).status_code for _ in range(3)]
    assert found == [201, 201, 503]


class Refusing:
    """A log that takes no events."""

    def __init__(self, real, error):
        self._real, self._error = real, error

    def __getattr__(self, name):
        return getattr(self._real, name)

    async def publish(self, topic, messages):
        raise self._error


@pytest.mark.parametrize(
    ("error", "want"), [(errors.Unavailable("no"), [503, 503, 503]), (errors.OutcomeUnknown("perhaps"), [500, 500, 403])]
)
async def test_only_what_may_be_in_the_log_keeps_its_place(world, error, want):
    """A creation that certainly was not published takes no place; one that perhaps was keeps it."""
    services = msgspec.structs.replace(world.services, quotas=limited(entities=2), bus=Refusing(world.services.bus, error))
    world.app = app.build(services)
    async with world.client() as api:
        assert [(await api.post("/v0/datasets", json=bodies.DATASET)).status_code for _ in range(3)] == want


async def test_a_new_process_on_the_same_files_has_the_same_usage(tmp_path):
    """After a real restart, with the same data directory."""
    for used in (0, 1, 2):
        async with opened(tmp_path, quotas=limited(entities=2)) as world, world.client() as api:
            answer = await api.post("/v0/datasets", json=bodies.DATASET)
            if used == 2:
                assert numbers(answer) == (2, 2)
            else:
                await api.get(f"/v0/datasets/{answer.json()['id']}")
        for left in tmp_path.glob("accounts*"):
            left.unlink()  # each world makes its own administrator
