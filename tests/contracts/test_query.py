"""The contract of `dyff.query.port.QueryStore`, for every adapter."""

from __future__ import annotations

import itertools
import json
import random

import anyio
import pytest

from dyff.kernel import errors
from dyff.query import embedded, filters, port
from dyff.query.mongo import MongoQuery
from tests.contracts import mongodb

ODD_KEYS = [
    "a.b/c",
    'q"uote',
    "back\\slash",
    "",
    "ünïcode",
    "new\nline",
    "it's",
    "$",
    "[0]",
    '"]',
    "$.a",
    "a' OR 1=1 --",
    "%",
    "null",
    "\x7f",
]


@pytest.fixture(params=["query:embedded", *mongodb.params("query")])
async def query(request, tmp_path):
    if request.param == "query:embedded":
        async with embedded.EmbeddedQuery.open(tmp_path / "query.sqlite") as store:
            yield store
        return
    async with mongodb.database(request.param) as connection, MongoQuery.open(connection) as store:
        yield store


def document(entity_id: str, version: int = 1, collection: str = "evaluations", **fields) -> port.Document:
    return port.Document(collection, entity_id, version, json.dumps({"id": entity_id, **fields}).encode())


async def put(query, *documents: port.Document) -> int:
    return await query.apply(documents, port.Reached("e"))


EVERYTHING = filters.AllOf()


async def found(query, where=EVERYTHING, collection: str = "evaluations", **given) -> list[str]:
    bodies = await query.find(filters.Find(collection=collection, where=where, **given))
    return [json.loads(body)["id"] for body in bodies]


async def matching(query, where) -> set[str]:
    return set(await found(query, where))


async def test_get_returns_the_very_bytes_that_were_applied(query):
    """A body comes back byte for byte."""
    body = '{"id":"a","text":"ü \\u0041 \\u0000 🐝","n":1.50,"deep":{"b":[1,null]}}'.encode()
    await put(query, port.Document("evaluations", "a", 1, body))
    assert await query.get("evaluations", "a") == body
    assert await query.find(filters.Find(collection="evaluations")) == [body]


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
    """What was there already, or is older, is no news; the same batch again is none at all."""
    batch = [document("a", 5), document("b", 1), document("a", 4), document("a", 6)]
    assert await put(query, *batch) == 3
    assert await put(query, *batch) == 0
    assert await put(query, document("b", 2), document("b", 2)) == 1


async def test_a_changed_document_is_found_by_its_new_values_only(query):
    """An update moves a document from one value of a field to another, also to and from none."""
    await put(query, document("a", 1, status="Created", account="x", labels={"k": "1"}))
    await put(query, document("a", 2, status="Complete", labels={"k": "2"}))
    assert await found(query, filters.Equals(("status",), "Created")) == []
    assert await found(query, filters.Equals(("labels", "k"), "1")) == []
    assert await found(query, filters.Equals(("account",), "x")) == []
    assert await found(query, filters.Equals(("status",), "Complete")) == ["a"]
    assert await found(query, filters.Equals(("account",), None)) == ["a"]


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


async def test_an_older_tombstone_does_not_hide(query):
    """The version guard holds for tombstones too, and a tombstone may come first."""
    await put(query, document("a", 5), port.Document("evaluations", "b", 5, None))
    assert await put(query, port.Document("evaluations", "a", 4, None), document("b", 4)) == 0
    assert await found(query) == ["a"]


async def test_equals_tells_types_apart(query):
    """Text, numbers, booleans, null and objects are different values; 1 and 1.0 are the same."""
    values = {"t": True, "f": False, "one": 1, "zero": 0, "float": 1.0, "text": "1", "word": "true", "null": None, "empty": ""}
    values |= {"object": {"a": 1}, "array": [1], "big": 2**70}
    fields = [("status",), ("labels", "k")]
    await put(query, *(document(name, status=value, labels={"k": value}) for name, value in values.items()), document("absent"))
    expected = [
        (True, {"t"}), (False, {"f"}), (1, {"one", "float"}), (1.0, {"one", "float"}), (0, {"zero"}), ("1", {"text"}), ("true", {"word"}),
        (None, {"null", "absent"}), ("", {"empty"}), ('{"a":1}', set()), ("[1]", set()), (2**70, {"big"}), (10**400, set()),
    ]  # fmt: skip
    for path, (value, names) in itertools.product(fields, expected):
        assert await matching(query, filters.Equals(path, value)) == names, (path, value)
        assert await matching(query, filters.OneOf(path, (value, "none of them"))) == names, (path, value)


async def test_one_of(query):
    """One of several values of any type; none given matches nothing."""
    await put(query, document("a", name="x", n=1), document("b", name="y", n=True), document("c"))
    for path in (("name",), ("labels", "none")):
        assert await matching(query, filters.OneOf(path, ())) == set()
    assert await matching(query, filters.OneOf(("name",), ("x", "y", "x"))) == {"a", "b"}
    assert await matching(query, filters.OneOf(("name",), ("x", None))) == {"a", "c"}
    assert await matching(query, filters.OneOf(("n",), (1, None))) == {"a", "c"}
    many = tuple(f"v{number}" for number in range(5000))
    assert await matching(query, filters.OneOf(("name",), (*many, "y"))) == {"b"}
    assert await matching(query, filters.OneOf(("n",), (*range(10, 3000), True))) == {"b"}


async def test_any_element(query):
    """A field of an element of an array; other elements and other shapes match nothing and are no error."""
    await put(
        query,
        document("a", inputs=[{"entity": "x"}, {"entity": "y"}]),
        document("b", inputs=["x", 1, None, {"entity": 1}, [{"entity": "x"}]]),
        document("c", inputs={"entity": "x"}),
        document("d", inputs="x"),
        document("e"),
    )
    assert await matching(query, filters.AnyElement(("inputs",), "entity", ("y", "z"))) == {"a"}
    assert await matching(query, filters.AnyElement(("inputs",), "entity", ("x",))) == {"a"}
    assert await matching(query, filters.AnyElement(("inputs",), "entity", (1,))) == {"b"}
    assert await matching(query, filters.AnyElement(("inputs",), "entity", ())) == set()


async def test_all_of_and_any_of(query):
    """Both nest; all of nothing matches everything, any of nothing matches nothing."""
    await put(query, document("a", account="x", status="1"), document("b", account="x", status="2"), document("c", account="y", status="1"))
    x, y = filters.Equals(("account",), "x"), filters.Equals(("account",), "y")
    first, by_id = filters.Equals(("status",), "1"), filters.Equals(("id",), "b")
    assert await matching(query, filters.AllOf()) == {"a", "b", "c"}
    assert await matching(query, filters.AnyOf()) == set()
    assert await matching(query, filters.AllOf((x, first))) == {"a"}
    assert await matching(query, filters.AllOf((filters.AnyOf((y, by_id)), filters.AnyOf((first,))))) == {"c"}
    assert await matching(query, filters.AnyOf((filters.AllOf((x, first)), filters.AllOf((y, first)), by_id))) == {"a", "b", "c"}
    assert await matching(query, filters.AllOf((x, filters.AllOf((first, filters.AnyOf()))))) == set()
    labels = tuple(filters.Equals(("labels", f"k{number}"), None) for number in range(1500))
    assert await matching(query, filters.AllOf((x, *labels))) == {"a", "b"}


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_a_label_key_is_one_step_whatever_it_contains(query, key):
    """Keys with dots, slashes, quotes or SQL are keys and nothing else."""
    others = {other: "wrong" for other in ODD_KEYS if other != key}
    body = {"a": {"b/c": "right"}, "labels": {**others, key: "right", "a": {"b/c": "right"}}}
    await put(query, document("a", **body), document("b", labels=others))
    assert await matching(query, filters.Equals(("labels", key), "right")) == {"a"}
    assert await matching(query, filters.OneOf(("labels", key), ("right", "other"))) == {"a"}
    assert await matching(query, filters.Equals(("labels", key), None)) == {"b"}
    await found(query, order_by=("labels", key))


@pytest.mark.parametrize("text", ["' OR '1'='1", '"; DROP TABLE documents; --', "x') OR 1=1 --", "?", ":a = 1", "$.a", "\x00"])
async def test_values_are_only_values(query, text):
    """No value, path or collection changes the meaning of a query."""
    await put(query, document("a", status="x", labels={"k": "v"}))
    for path in (("status",), ("labels", "k"), (text,), ("labels", text)):
        assert await found(query, filters.Equals(path, text)) == []
    assert await found(query, filters.AnyElement((text,), text, (text,))) == []
    assert await found(query, collection=text) == []
    assert await found(query, order_by=(text,), after=filters.After(text, text)) == []
    assert await query.get(text, text) is None
    await put(query, document(text, status=text, collection=text))
    assert await found(query, filters.Equals(("status",), text), collection=text) == [text]
    assert await found(query) == ["a"]


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("path", [("creationTime",), ("labels", "n"), ("id",)], ids=str)
async def test_paging_sees_each_document_once_in_order(query, order, path):
    """Pages of any size, chained by `after`, give the whole order, with ties by ID and absent values first when ascending."""
    chance = random.Random(7)
    times = ["2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.000001Z", "2026-02-01T00:00:00.000000Z"]
    rows = []
    for number in range(60):
        fields = {"creationTime": chance.choice(times), "labels": {"n": chance.choice(times)}} if number % 5 else {}
        rows.append({"id": f"{chance.randrange(10**9):09}", "account": chance.choice("xyz"), **fields})
    await put(query, *(document(**{"entity_id" if key == "id" else key: value for key, value in row.items()}) for row in rows))

    def value(row):
        return row.get("labels", {}).get("n") if path[0] == "labels" else row.get(path[0])

    def place(row):
        return value(row) is not None, value(row) or "", row["id"]

    for where, wanted in [
        (filters.AllOf(), "xyz"),
        (filters.OneOf(("account",), ("x", "z")), "xz"),
        (filters.Equals(("account",), "y"), "y"),
        (filters.AnyOf((filters.Equals(("account",), "x"), filters.OneOf(("id",), (rows[0]["id"], rows[1]["id"])))), None),
    ]:
        kept = [row for row in rows if (row["account"] in wanted if wanted else row["account"] == "x" or row in rows[:2])]
        ids = [row["id"] for row in sorted(kept, key=place, reverse=order == "descending")]
        for limit in (1, 7, 100):
            seen: list[str] = []
            after = None
            while page := await found(query, where, order_by=path, order=order, limit=limit, after=after):
                seen += page
                last = next(row for row in rows if row["id"] == page[-1])
                after = filters.After(value(last), last["id"])
            assert seen == ids
        assert await found(query, where, order_by=path, order=order) == ids


async def test_without_an_order_the_answer_is_the_same_each_time(query):
    """No order is given: unspecified, but stable, and the limit cuts it."""
    await put(query, *(document(f"{number * 7919 % 50:02}", account=f"a{number % 3}") for number in range(50)))
    for where in (filters.AllOf(), filters.Equals(("account",), "a1"), filters.OneOf(("account",), ("a1", "a2"))):
        everything = await found(query, where)
        assert everything == await found(query, where)
        assert await found(query, where, limit=10) == everything[:10]
    assert await found(query, limit=0) == []


async def test_a_query_sees_a_million_characters(query):
    """Large documents and large answers come back whole."""
    await put(query, *(document(f"{number}", text="x" * 100_000) for number in range(10)))
    bodies = await query.find(filters.Find(collection="evaluations"))
    assert [len(body) > 100_000 for body in bodies] == [True] * 10


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
                for body in await query.find(filters.Find(collection="evaluations", where=where)):
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


async def test_a_path_does_not_lead_through_an_array(query):
    """An array has no fields: neither those of its elements nor their numbers."""
    await put(query, document("a", inputs=[{"entity": "x"}, "y"]), document("b", inputs={"entity": "x", "0": "z"}))
    assert await matching(query, filters.Equals(("inputs", "entity"), "x")) == {"b"}
    assert await matching(query, filters.Equals(("inputs", "entity"), None)) == {"a"}
    assert await matching(query, filters.Equals(("inputs", "0"), "z")) == {"b"}
    assert await matching(query, filters.OneOf(("inputs", "1"), ("y",))) == set()
    assert await matching(query, filters.AnyElement(("inputs",), "entity", (None,))) == set()
    assert await matching(query, filters.AnyElement(("inputs",), "other", (None,))) == {"a"}
    assert await matching(query, filters.Equals(("inputs", "entity", "deeper"), None)) == {"a", "b"}


async def test_long_texts_are_told_apart(query):
    """However long they are and however late they differ."""
    long = "x" * 3000
    await put(query, document("a", name=long + "a", labels={"k": long}), document("b", name=long + "b", labels={"k": long}))
    assert await matching(query, filters.Equals(("name",), long + "b")) == {"b"}
    assert await matching(query, filters.OneOf(("labels", "k"), (long, "y"))) == {"a", "b"}
    assert await matching(query, filters.Equals(("name",), long)) == set()


async def test_a_deep_document_is_a_document(query):
    """Nesting that JSON allows is kept as it is, and the document is found by what is not so deep."""
    body = b'{"id":"a","status":"x","deep":' + b"[" * 200 + b"1" + b"]" * 200 + b',"deeper":' + b'{"k":' * 200 + b"1" + b"}" * 200 + b"}"
    await put(query, port.Document("evaluations", "a", 1, body))
    assert await query.get("evaluations", "a") == body
    assert await matching(query, filters.Equals(("status",), "x")) == {"a"}


@pytest.mark.parametrize("order", ["ascending", "descending"])
async def test_paging_goes_on_from_one_type_to_the_next(query, order):
    """What is absent comes before numbers, and those before text."""
    values = [None, 3, -1, 2.5, 2**70, "", "a", "3", None, 3]
    rows = [
        (value is not None, isinstance(value, str), value or ("" if isinstance(value, str) else 0), f"{n}")
        for n, value in enumerate(values)
    ]
    await put(query, *(document(f"{n}", labels={} if value is None else {"k": value}) for n, value in enumerate(values)))
    ids = [row[3] for row in sorted(rows, reverse=order == "descending")]
    seen: list[str] = []
    after = None
    while page := await found(query, order_by=("labels", "k"), order=order, limit=2, after=after):
        seen += page
        after = filters.After(values[int(page[-1])], page[-1])
    assert seen == ids
