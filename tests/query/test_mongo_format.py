"""Which documents and filters MongoDB gets. tests/contracts/query asks a real one what it makes of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from dyff.entities import registry
from dyff.kernel import mongo
from dyff.query import columns, port
from dyff.query.filters import After, AllOf, AnyElement, AnyOf, Equals, Find, OneOf
from dyff.query.mongo import queries, stored
from tests.query.documents import document

NAME = stored.collection("evaluations")
STATUS, LABEL = ("status",), ("labels", "a.b")


def given_back(found: port.Document, generation: int = 1) -> port.Scanned:
    return stored.scanned(NAME, {stored.ID: found.id, **stored.document(found, generation)})


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("name", ["evaluations", "a/b", "a.b~c", "ü"])
def test_a_collection_has_a_name_that_leads_back(name, side):
    """On either side of a view, without what MongoDB reserves."""
    there = stored.collection(name, side)
    assert not set("./~$") & set(there)
    assert stored.collection_of(there) == name
    assert (stored.is_collection(there), stored.is_collection(there, side), stored.is_collection(there, 1 - side)) == (True, True, False)


@pytest.mark.parametrize("changes", [{}, {"labels": {"a.b": "1", "$x": "2", "": "3", "%a": "4"}}, {"deep": [[{"a": [1, None, True]}]]}])
def test_a_document_comes_back_as_it_was(changes):
    """Byte for byte, with its version, whatever its keys are."""
    given = document(1, version=7, **changes)
    assert given_back(given) == port.Scanned(given, sound=True)
    assert stored.version(stored.document(given, 3)["at"]) == 7


def test_a_large_document_is_compressed_and_has_only_the_fields_of_queries():
    """Stored twice it would be too large for MongoDB."""
    given = document(1, text="x" * (stored.LARGE_BYTES + 1), inferenceSession={"inferenceService": {"id": "s"}, "replicas": 3})
    there = stored.document(given, 1)
    assert (there["packed"], len(there["body"]) < 100_000, "text" in there["fields"]) == (True, True, False)
    assert there["fields"]["inferenceSession"] == {"inferenceService": {"id": "s"}}
    assert given_back(given) == port.Scanned(given, sound=True)
    odd = document(2, text="x" * (stored.LARGE_BYTES + 1), inferenceSession="none")
    assert "inferenceSession" not in stored.document(odd, 1)["fields"]


def test_a_forgotten_document_keeps_its_version_only():
    """It is neither found nor counted."""
    given = port.Document("evaluations", "a" * 32, 3, None)
    assert stored.document(given, 1) == {"at": stored.place(3, 1)}
    assert given_back(given) == port.Scanned(given, sound=True)
    assert stored.with_sizes(stored.document(given, 1)) is None


@pytest.mark.parametrize(
    ("change", "version"),
    [
        ({"fields": {}}, 7),
        ({"live": False}, 7),
        ({"at": "x"}, -1),
        ({"at": "1-?"}, -1),
        ({"body": b"{"}, 7),
        ({"body": 5}, 7),
        ({"packed": True}, 7),
    ],
)  # fmt: skip
def test_what_was_changed_from_outside_is_not_sound(change, version):
    """Whatever it is now, a scan shows it and does not fail."""
    found = stored.scanned(NAME, {stored.ID: "a" * 32, **stored.document(document(1, version=7), 1), **change})
    assert (found.sound, found.document.version, found.document.id) == (False, version, "a" * 32)


def test_a_stand_in_is_sound():
    """That only a part is there is no damage."""
    given = document(1)
    there = {stored.ID: given.id, **stored.document(given, 1), stored.PARTIAL: True}
    assert stored.scanned(NAME, there).sound
    assert stored.same_partial(given.id, 1, 1) == {stored.ID: given.id, "at": stored.place(1, 1), stored.PARTIAL: True}


def test_sizes_are_added_to_a_document_of_an_older_release_once():
    """They are those that a document written now has."""
    now = {stored.ID: "a", **stored.document(document(1), 1)}
    before = {key: each for key, each in now.items() if key not in stored.SIZES}
    assert stored.with_sizes(before) == now
    assert stored.with_sizes(now) is None


def test_the_usage_of_an_account_is_one_sum():
    """Of its documents that are not forgotten; without any it is zero."""
    match, group = stored.usage("a1")
    assert match == {"$match": {"live": True, "fields.account": "a1"}}
    assert group["$group"]["documentBytes"] == {"$sum": "$documentBytes"}
    assert stored.used([]) == port.Usage()
    assert stored.used([{"entities": 2, "documentBytes": 5.0, "objectBytes": 7}]) == port.Usage(2, 5, 7)


@pytest.mark.parametrize(
    ("scalar", "want"),
    [
        ("a", "a"), (True, True), (1.5, 1.5), (2**62, 2**62), (-(2**63), -(2**63)), (2**63, float(2**63)), (10**400, None), (None, None),
        ("x" * 1001, hashlib.sha256(b"x" * 1001).digest()),
    ],
)  # fmt: skip
def test_a_value_is_one_of_mongodbs(scalar, want):
    """A long text is a digest, a large number a float, and a number beyond all floats nothing."""
    found = stored.value(scalar)
    assert (found, type(found)) == (want, type(want))


def test_deeper_fields_than_mongodb_allows_are_left_out():
    """No query uses them."""
    deep: Any = "end"
    for _ in range(200):
        deep = {"a": [deep]}
    text = repr(stored.document(document(1, deep=deep), 1)["fields"])
    assert "end" not in text
    assert text.count("{") < 100


def test_newer_documents_of_newer_views_compare_greater():
    """First by the generation of the view, then by the version."""
    assert stored.place(9, 1) < stored.place(10, 1) < stored.place(0, 2)
    assert stored.older("a", 10, 1) == {"_id": "a", "at": {"$lt": stored.place(10, 1)}}
    assert stored.outdated(2) == {"at": {"$lt": stored.place(0, 2)}}


def test_every_query_of_a_kind_has_an_index():
    """Ordered by the time of creation within equal values; and one that has the sums."""
    for row in registry.ROWS:
        found = stored.indexes(row)
        asked = (*columns.SHARED, columns.CHANGED, *row.query.values())
        assert {each.paths[0] for each in found[:-1]} == {stored.field(path) for path in asked}
        assert all(each.only == stored.LIVE for each in found)
        assert found[-1].paths == ("fields.account", *stored.SIZES)


PREDICATES: list[tuple[Any, mongo.Json]] = [
    (AllOf(), {}),
    (AnyOf(), mongo.NEVER),
    (Equals(STATUS, "x"), {"fields.status": {"$in": ["x"]}}),
    (Equals(STATUS, None), {"fields.status": {"$in": [None]}}),
    (Equals(STATUS, 10**400), mongo.NEVER),
    (OneOf(STATUS, ()), mongo.NEVER),
    (OneOf(columns.ID, ("a", "b")), {"_id": {"$in": ["a", "b"]}}),
    (Equals(LABEL, "$gt"), {"fields.labels.a%2Eb": {"$in": ["$gt"]}}),
    (AnyElement(("tags",), "k", ("v",)), {"fields.tags.%a": {"$elemMatch": {"k": {"$in": ["v"]}}}}),
    (AnyElement(("tags",), "k", (None,)), {"fields.tags.%a": {"$elemMatch": {"k": {"$in": [None]}, "%a": {"$exists": False}}}}),
    (AnyElement(("tags",), "k", ()), mongo.NEVER),
    (AllOf((Equals(STATUS, "x"), Equals(LABEL, "1"))), {"fields.status": {"$in": ["x"]}, "fields.labels.a%2Eb": {"$in": ["1"]}}),
    (
        AllOf((Equals(STATUS, "x"), Equals(STATUS, "y"))),
        {"fields.status": {"$in": ["x"]}, "$and": [{"fields.status": {"$in": ["y"]}}]},
    ),
    (AnyOf((Equals(STATUS, "x"), AnyOf())), {"$or": [{"fields.status": {"$in": ["x"]}}, mongo.NEVER]}),
]


@pytest.mark.parametrize(("predicate", "want"), PREDICATES)
def test_a_predicate_is_a_filter(predicate, want):
    """A value stays a value inside `$in`, a key is escaped, and what can match nothing is the filter that matches nothing."""
    assert queries.compiled(predicate) == want


def test_what_is_no_predicate_is_an_error():
    """A mistake in the program, which no caller can cause."""
    with pytest.raises(TypeError, match="not a predicate"):
        queries.compiled("x")  # type: ignore[arg-type]


PAGES: list[tuple[Any, str, list[mongo.Json]]] = [
    ("b", "ascending", [{"fields.n": {"$gte": "b"}, "$or": [{"fields.n": {"$gt": "b"}}, {"_id": {"$gt": "i"}}]},
                        {"fields.n": {"$type": "object"}}, {"fields.n": {"$type": "binData"}}, {"fields.n": {"$type": "bool"}}]),
    ("b", "descending", [{"fields.n": {"$lte": "b"}, "$or": [{"fields.n": {"$lt": "b"}}, {"_id": {"$lt": "i"}}]},
                         {"fields.n": {"$type": "number"}}, {"fields.n": None}]),
    (True, "ascending", [{"fields.n": {"$gte": True}, "$or": [{"fields.n": {"$gt": True}}, {"_id": {"$gt": "i"}}]}]),
    (1, "descending", [{"fields.n": {"$lte": 1}, "$or": [{"fields.n": {"$lt": 1}}, {"_id": {"$lt": "i"}}]}, {"fields.n": None}]),
    (None, "ascending", [{"fields.n": None, "_id": {"$gt": "i"}}, *({"fields.n": {"$type": each}} for each in queries._TYPES)]),
    (None, "descending", [{"fields.n": None, "_id": {"$lt": "i"}}]),
    ("x" * 1001, "descending", [{"fields.n": {"$lte": hashlib.sha256(b"x" * 1001).digest()},
                                 "$or": [{"fields.n": {"$lt": hashlib.sha256(b"x" * 1001).digest()}}, {"_id": {"$lt": "i"}}]},
                                {"fields.n": {"$type": "object"}}, {"fields.n": {"$type": "string"}}, {"fields.n": {"$type": "number"}},
                                {"fields.n": None}]),
]  # fmt: skip


@pytest.mark.parametrize(("value", "order", "want"), PAGES)
def test_a_page_begins_in_a_type_and_goes_on_with_those_after_it(value, order, want):
    """MongoDB compares values of one type only."""
    found = queries.search(Find(collection="c", order_by=("n",), order=order, after=After(value, "i")))
    assert list(found.filters) == [{"live": True, **each} for each in want]
    assert found.order == (("fields.n", 1 if order == "ascending" else -1), ("_id", 1 if order == "ascending" else -1))


def test_without_an_order_it_is_that_of_creation_and_the_id_alone_is_enough():
    """The last part of every order is the ID, once."""
    assert queries.search(Find(collection="c")).order == (("fields.creationTime", 1), ("_id", 1))
    found = queries.search(Find(collection="c", order_by=columns.ID, after=After("x" * 1001, "i")))
    assert found.order == (("_id", 1),)
    assert found.filters[0]["_id"] == {"$gte": "x" * 1001}
    assert json.loads(json.dumps(found.filters)) == list(found.filters)
