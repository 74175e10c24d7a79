"""What every adapter of `dyff.query.port.QueryStore` guarantees of versions, tombstones, positions and those who wait for them."""

from __future__ import annotations

import itertools
import json

import anyio
import pytest

from dyff.kernel import errors
from dyff.query import filters, port
from tests.contracts.query.documents import document, found, put


async def test_get_returns_the_very_bytes_that_were_applied(query):
    """A body comes back byte for byte."""
    body = '{"id":"a","text":"ü \\u0041 \\u0000 🐝","n":1.50,"deep":{"b":[1,null]}}'.encode()
    await put(query, port.Document("evaluations", "a", 1, body))
    assert await query.get("evaluations", "a") == body
    assert await port.found(query.find(filters.Find(collection="evaluations"))) == [body]


async def test_get_of_something_unknown_is_none(query):
    """An unknown ID or collection is no error."""
    await put(query, document("a"))
    assert await query.get("evaluations", "b") is None
    assert await query.get("datasets", "a") is None


async def test_collections_are_apart(query):
    """The same ID in two collections is two documents; a collection need not be one of ours."""
    await put(query, document("a", n=1), document("a", collection="families", n=2))
    assert json.loads(await query.get("families", "a"))["n"] == 2
    assert await found(query, filters.Equals(("n",), 2)) == []
    assert await found(query, filters.Equals(("n",), 2), collection="families") == ["a"]


@pytest.mark.parametrize("versions", list(itertools.permutations([3, 5, 9])))
async def test_an_older_version_never_replaces_a_newer_one(query, versions):
    """Whatever the order of arrival, the highest version stays."""
    for version in versions:
        await put(query, document("a", version, n=version))
    assert json.loads(await query.get("evaluations", "a"))["n"] == 9


async def test_apply_counts_news(query):
    """What exists already, or is older, is no news; the same batch again is none at all."""
    batch = [document("a", 5), document("b", 1), document("a", 4), document("a", 6)]
    assert await put(query, *batch) == 3
    assert await put(query, *batch) == 0
    assert await put(query, document("b", 2), document("b", 2)) == 1


async def test_a_tombstone_hides_and_keeps_its_version(query):
    """Forgotten data is gone for readers, and an older state does not bring it back; a newer one does."""
    await put(query, document("a", 5, status="Deleted"))
    assert await put(query, port.Document("evaluations", "a", 6, None)) == 1
    assert await query.get("evaluations", "a") is None
    assert await found(query) == []
    assert await put(query, document("a", 5), document("a", 6)) == 0
    assert await query.get("evaluations", "a") is None
    assert await put(query, document("a", 7)) == 1
    assert await found(query) == ["a"]


async def test_what_is_forgotten_is_known_to_have_existed(query):
    """By collection and ID: neither what never was, nor what lives, nor what lives again."""
    await put(query, document("a", 5), document("b", 5), port.Document("evaluations", "b", 6, None))
    assert [await query.is_forgotten("evaluations", each) for each in ("a", "b", "c")] == [False, True, False]
    assert not await query.is_forgotten("datasets", "b")
    await put(query, document("b", 7))
    assert not await query.is_forgotten("evaluations", "b")
    await query.reset()
    assert not await query.is_forgotten("evaluations", "b")


async def test_an_older_tombstone_does_not_hide(query):
    """The version guard holds for tombstones too, and a tombstone may come first."""
    await put(query, document("a", 5), port.Document("evaluations", "b", 5, None))
    assert await put(query, port.Document("evaluations", "a", 4, None), document("b", 4)) == 0
    assert await found(query) == ["a"]


async def test_reached_moves_forward_only(query):
    """By partition, the highest position counts; partitions that are not named stay."""
    assert await query.reached() == port.Reached()
    await query.apply([], port.Reached("e", {0: 5, 1: 2}, {0: 7}))
    await query.apply([], port.Reached("e", {0: 3}, {0: 9, 2: 1}))
    assert await query.reached() == port.Reached("e", {0: 5, 1: 2}, {0: 9, 2: 1})
    await query.apply([], port.Reached())
    assert (await query.reached()).epoch == "e"


async def test_another_epoch_is_refused_until_reset(query):
    """Offsets of different logs are never compared: nothing is written."""
    await query.apply([document("a", 5)], port.Reached("e", {0: 5}))
    with pytest.raises(errors.LogDiverged):
        await query.apply([document("b", 6)], port.Reached("f", {0: 6}))
    assert await found(query) == ["a"]
    assert await query.reached() == port.Reached("e", {0: 5})


async def test_reset_forgets_everything(query):
    """Documents, tombstones and positions; then another log may begin."""
    await query.apply([document("a", 5), port.Document("evaluations", "b", 5, None)], port.Reached("e", {0: 5}, {0: 5}))
    await query.reset()
    assert await query.reached() == port.Reached()
    assert await query.get("evaluations", "a") is None
    assert await query.apply([document("a", 1), document("b", 1)], port.Reached("f", {0: 1})) == 2
    assert sorted(await found(query)) == ["a", "b"]


async def test_wait_returns_at_once_when_all_is_seen(query):
    """What is below the reached positions needs no waiting."""
    await query.apply([], port.Reached("e", {}, {0: 5, 1: 3}))
    assert await query.wait({0: 5, 1: 3}, 0.0)
    assert await query.wait({}, 0.0)
    assert not await query.wait({0: 6}, 0.0)
    assert not await query.wait({2: 1}, 0.01)


async def test_wait_is_woken_by_apply(query):
    """Waiters go on when the last partition that they wait for has arrived, each with its own positions."""
    results: dict[str, bool] = {}

    async def waiter(name: str, events: dict[int, int], timeout_s: float) -> None:
        results[name] = await query.wait(events, timeout_s)

    with anyio.fail_after(20):  # so it was not the timeout that ended the waiting
        async with anyio.create_task_group() as group:
            group.start_soon(waiter, "both", {0: 2, 1: 1}, 60.0)
            group.start_soon(waiter, "first", {0: 1}, 60.0)
            group.start_soon(waiter, "never", {0: 3}, 0.2)
            await query.apply([], port.Reached("e", {}, {0: 1}))
            await query.apply([], port.Reached("e", {}, {0: 2}))
            await query.wait({0: 9}, 0.02)
            assert "both" not in results
            await query.apply([document("a")], port.Reached("e", {}, {1: 1}))
    assert results == {"both": True, "first": True, "never": False}


async def test_what_was_waited_for_can_be_read(query):
    """Documents are visible at the latest when their position is."""

    async def reader(number: int) -> None:
        assert await query.wait({0: number}, 15.0)
        assert await query.get("evaluations", f"{number}") is not None
        assert f"{number}" in await found(query, filters.Equals(("id",), f"{number}"))

    async with anyio.create_task_group() as group:
        for number in range(1, 20):
            group.start_soon(reader, number)
        for number in range(1, 20):
            await query.apply([document(f"{number}", number)], port.Reached("e", {0: number}, {0: number}))


async def test_an_entity_is_seen_whole(query):
    """A reader meets one version of an entity or the other, in the body as in the fields that it is found by."""

    async def reader() -> None:
        while not await query.wait({0: 30}, 0.0):
            for number in (0, 1):
                where = filters.Equals(("labels", "odd"), str(number))
                for body in await port.found(query.find(filters.Find(collection="evaluations", where=where))):
                    assert json.loads(body)["text"] in {str(each) for each in range(number, 30, 2)}

    async with anyio.create_task_group() as group:
        group.start_soon(reader)
        for step in range(30):
            documents = [document(f"{each}", step, text=f"{step}", labels={"odd": f"{step % 2}"}) for each in range(5)]
            await query.apply(documents, port.Reached("e", {}, {0: step + 1}))


async def test_what_was_applied_may_be_applied_again(query):
    """A view whose positions are older than its documents, as after a crash between the two, heals by going on from them."""
    batch = [document("a", 5, n=5), document("b", 6, n=6), port.Document("evaluations", "c", 7, None)]
    await query.apply([*batch, document("a", 9, n=9)], port.Reached("e", {0: 5}))
    assert await query.apply([document("c", 4), *batch, document("a", 9, n=9), document("d", 10)], port.Reached("e", {0: 10})) == 1
    assert sorted(await found(query)) == ["a", "b", "d"]
    assert json.loads(await query.get("evaluations", "a"))["n"] == 9
    assert (await query.reached()).state == {0: 10}
