"""What every adapter of `dyff.query.port.QueryStore` guarantees of finding: values, paths, orders and pages."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from dyff.kernel import errors
from dyff.query import filters, port
from tests.contracts.query.documents import document, found, matching, put

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


async def test_a_changed_document_is_found_by_its_new_values_only(query):
    """An update moves a document from one value of a field to another, also to and from none."""
    await put(query, document("a", 1, status="Created", account="x", labels={"k": "1"}))
    await put(query, document("a", 2, status="Complete", labels={"k": "2"}))
    assert await found(query, filters.Equals(("status",), "Created")) == []
    assert await found(query, filters.Equals(("labels", "k"), "1")) == []
    assert await found(query, filters.Equals(("account",), "x")) == []
    assert await found(query, filters.Equals(("status",), "Complete")) == ["a"]
    assert await found(query, filters.Equals(("account",), None)) == ["a"]


async def test_equals_distinguishes_types(query):
    """Text, numbers, booleans, null and objects are different values; 1 and 1.0 are the same."""
    values = {"t": True, "f": False, "one": 1, "zero": 0, "float": 1.0, "text": "1", "word": "true", "null": None, "empty": ""}
    values |= {"object": {"a": 1}, "array": [1], "big": 2**70}
    fields = [("status",), ("labels", "k")]
    await put(query, *(document(name, status=value, labels={"k": value}) for name, value in values.items()), document("absent"))
    expected: list[tuple[Any, set[str]]] = [
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
    body: dict[str, Any] = {"a": {"b/c": "right"}, "labels": {**others, key: "right", "a": {"b/c": "right"}}}
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
    rows: list[dict[str, Any]] = []
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
    bodies = await port.found(query.find(filters.Find(collection="evaluations")))
    assert [len(body) > 100_000 for body in bodies] == [True] * 10


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


async def test_long_texts_are_distinguished(query):
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


async def test_a_find_comes_in_batches_of_bytes(query):
    """However many match and however large they are: no batch is empty, and each but the last has its bytes, but for one document."""
    large, small = "x" * (port.BATCH_BYTES // 3), "x" * 40_000
    documents = [document(f"{number:03}", account="a", text=large if number % 9 == 0 else small) for number in range(90)]
    for start in range(0, 90, 10):
        await put(query, *documents[start : start + 10])
    expected = [each.body for each in documents]
    cases: tuple[dict[str, Any], ...] = (
        {},
        {"where": filters.Equals(("account",), "a")},
        {"where": filters.Equals(("labels", "none"), None)},
        {"limit": 80},
    )
    for given in cases:
        batches = [batch async for batch in query.find(filters.Find(collection="evaluations", **given))]
        assert [body for batch in batches for body in batch] == expected[: given.get("limit")]
        sizes = [sum(map(len, batch)) for batch in batches]
        assert len(sizes) > 3
        assert all(port.BATCH_BYTES <= size < port.BATCH_BYTES + len(large) + 1000 for size in sizes[:-1])
        assert 0 < sizes[-1] < port.BATCH_BYTES + len(large) + 1000


async def test_a_find_can_be_left(query):
    """A reader that stops after a batch holds nothing up, neither writers nor other readers."""
    await put(query, *(document(f"{number}", text="x" * 200_000) for number in range(20)))
    for number in range(30):
        batches = query.find(filters.Find(collection="evaluations"))
        assert await anext(batches)
        await batches.aclose()
        assert await put(query, document("0", number + 2, n=number)) == 1
    assert len(await found(query)) == 20


async def test_a_find_is_not_cut_by_a_reset(query):
    """If the view is emptied meanwhile, the rest still comes, or the reader learns that it does not."""
    await put(query, *(document(f"{number}", text="x" * 200_000) for number in range(20)))
    batches = query.find(filters.Find(collection="evaluations"))
    count = len(await anext(batches))
    await query.reset()
    try:
        count += len([each async for batch in batches for each in batch])
    except errors.Unavailable:
        return
    assert count == 20
