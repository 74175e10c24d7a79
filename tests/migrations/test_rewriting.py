"""Stored data is rewritten: in batches, while others use them, and from where it was when it was killed."""

from __future__ import annotations

import anyio
import pytest

from dyff.kernel import errors, mongo, schema
from dyff.kernel.schema_mongo import MongoStore
from tests.contracts import mongodb

AT, RELEASE = "2026-01-01T00:00:00.000000Z", "0.1.0"
COUNT = 23


@pytest.fixture(params=mongodb.params("query"))
async def database(request):
    async with mongodb.database(request.param) as connection, mongo.Database.open(connection, "the test") as opened:
        things = opened.collection("things")
        for number in range(COUNT):
            await things.insert({"_id": f"{number:03}", "at": 1, "size": str(number)})
        yield opened


class Rewrite:
    """A sample migration: the text `size` becomes the number `bytes`. It counts what it looks at, and is killed on the way."""

    def __init__(self, killed_at: str | None = None) -> None:
        self.seen: list[str] = []
        self.changed = 0
        self._killed_at = killed_at

    async def __call__(self, step):
        self.changed = await step.rewrite("things", self.change, guard=["at"], batch=5)

    def change(self, document):
        self.seen.append(document["_id"])
        if document["_id"] == self._killed_at:
            raise errors.Unavailable("killed")
        if "size" not in document:
            return None
        return {"_id": document["_id"], "at": document["at"], "bytes": int(document["size"])}


def step(run) -> schema.Step:
    return schema.Step("0002_sizes.pre", "", run)


async def contents(database) -> dict[str, object]:
    return {each["_id"]: each.get("bytes") for each in await database.collection("things").find({})}


async def test_every_document_is_rewritten_once(database):
    """Those that are right already are left."""
    await database.collection("things").update({"_id": "003"}, {"$set": {"bytes": 3}, "$unset": {"size": ""}})
    whole, store = Rewrite(), MongoStore("query:mongodb", database)
    await store.apply(step(whole), AT, RELEASE)
    assert await contents(database) == {f"{number:03}": number for number in range(COUNT)}
    assert whole.changed == COUNT - 1
    assert [each.name for each in await store.applied()] == ["0002_sizes.pre"]


async def test_it_goes_on_where_it_was_killed(database):
    """What was recorded as done is not looked at again; then the progress is forgotten."""
    killed, again = Rewrite(killed_at="017"), Rewrite()
    store = MongoStore("query:mongodb", database)
    with pytest.raises(errors.Unavailable):
        await store.apply(step(killed), AT, RELEASE)
    assert list(await store.applied()) == []
    await store.apply(step(again), AT, RELEASE)
    assert min(again.seen) == "015"
    assert await contents(database) == {f"{number:03}": number for number in range(COUNT)}
    assert "after" not in await database.collection("migrations").get({"_id": "0002_sizes.pre"})


async def test_a_change_of_somebody_else_is_not_undone(database):
    """A document that was changed since it was read is read again, and that is rewritten."""

    class Disturbed(Rewrite):
        async def __call__(self, step):
            read = step.database.collection("things").find

            async def find(where, *args, **given):
                found = await read(where, *args, **given)
                if self.seen == []:
                    await things.update({"_id": "002"}, {"$set": {"size": "777", "at": 2}})
                return found

            step.database = type("Disturbing", (), {"collection": lambda _, name: things})()
            things.find = find
            await super().__call__(step)

    things = database.collection("things")
    await MongoStore("query:mongodb", database).apply(step(Disturbed()), AT, RELEASE)
    assert await contents(database) == {f"{number:03}": number for number in range(COUNT)} | {"002": 777}


async def test_two_at_once_rewrite_everything(database):
    """Each finds what the other did, and neither fails."""
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(MongoStore("query:mongodb", database).apply, step(Rewrite()), AT, RELEASE)
    assert await contents(database) == {f"{number:03}": number for number in range(COUNT)}


async def test_a_change_that_never_ends_is_reported(database):
    """A change must give None for its own result; one that does not stops, naming the document."""

    async def run(given):
        await given.rewrite("things", lambda each: {**each, "at": each["at"] + 1}, guard=["at"])

    with pytest.raises(errors.Fatal, match="000"):
        await MongoStore("query:mongodb", database).apply(step(run), AT, RELEASE)


async def test_an_index_is_dropped_once(database):
    """What `post` removes may be gone already, with its collection, too."""
    things = database.collection("things")
    await things.ensure([mongo.Index(name="old", paths=("size",))])
    for _ in range(2):
        await things.drop_index("old")
    assert "old" not in await things._collection.index_information()
    await database.collection("absent").drop_index("old")
