"""What an account keeps, on every adapter: always the sum over the documents that are there."""

from __future__ import annotations

import json

from dyff.query import port
from tests.contracts.query.documents import document


def a_model(number: int, version: int, status: str = "WaitingForUpload", annotations=(), size: int = 1000, **fields) -> port.Document:
    body = {
        "id": f"{number:032x}", "kind": "Model", "account": "a", "status": status, "source": {"kind": "Upload"},
        "artifact": {"kind": "Volume", "volume": {"files": [{"path": "w", "size": size}]}},
        "annotations": [{"key": key, "value": value} for key, value in annotations], **fields,
    }  # fmt: skip
    return port.Document("models", body["id"], version, json.dumps(body).encode())


def summed(*documents: port.Document, objects: int = 0) -> port.Usage:
    return port.Usage(len(documents), sum(len(each.body or b"") for each in documents), objects)


async def test_an_account_has_what_its_documents_say(query):
    """Of all kinds, with declared or measured sizes, and of no other account."""
    measured = a_model(2, 1, annotations=[("dyff.io/stored-bytes", "70")])
    mine = [document("e3", account="a"), document("e6", account="a"), a_model(1, 1), measured]
    await query.apply([*mine, document("e4", account="b")], port.Reached("e", {0: 1}, {0: 1}))
    assert await query.usage("a") == summed(*mine, objects=1070)
    assert (await query.usage("b")).entities == 1
    assert await query.usage("nobody") == port.Usage()


async def test_only_the_newest_version_counts(query):
    """Also if an older one is applied again, and if several versions come in one batch."""
    new = a_model(1, 5, annotations=[("dyff.io/stored-bytes", "7")], labels={"a": "b" * 100})
    await query.apply([a_model(1, 1), a_model(1, 3, size=9), new], port.Reached("e", {0: 1}, {0: 1}))
    await query.apply([a_model(1, 3, size=9)], port.Reached("e", {0: 2}, {0: 2}))
    assert await query.usage("a") == summed(new, objects=7)


async def test_deleted_entities_count_until_they_are_forgotten(query):
    """What is deleted is still stored; what is forgotten is not."""
    deleted = a_model(1, 2, "Deleted")
    await query.apply([a_model(1, 1), deleted], port.Reached("e", {0: 1}, {0: 1}))
    assert await query.usage("a") == summed(deleted, objects=1000)
    await query.apply([port.Document("models", deleted.id, 3, None)], port.Reached("e", {0: 2}, {0: 2}))
    assert await query.usage("a") == port.Usage()


async def test_what_stays_of_a_removed_run_counts_nothing(query):
    """A deleted evaluation of which nothing is stored any more stays in the view, and is not its account's."""
    body = {"id": f"{1:032x}", "kind": "Evaluation", "account": "a", "status": "Deleted"}
    for version, notes in enumerate(([], [{"key": "dyff.io/stored-bytes", "value": "0"}]), 1):
        run = port.Document("evaluations", body["id"], version, json.dumps({**body, "annotations": notes}).encode())
        await query.apply([run], port.Reached("e", {0: version}, {0: version}))
        assert (await query.usage("a")).entities == 2 - version
    assert await query.get("evaluations", body["id"]) is not None


async def test_a_view_that_is_filled_again_has_the_same(query):
    """After a reset nothing is left, and the same documents give the same usage."""
    documents = [a_model(number, 1) for number in range(5)]
    await query.apply(documents, port.Reached("e", {0: 1}, {0: 1}))
    before = await query.usage("a")
    await query.reset()
    assert await query.usage("a") == port.Usage()
    await query.apply(documents, port.Reached("e", {0: 1}, {0: 1}))
    assert await query.usage("a") == before == summed(*documents, objects=5000)


async def test_sizes_that_are_no_sizes_do_no_harm(query):
    """Stored data that does not fit its kind counts as documents; what is declared cannot make the sum overflow."""
    odd = [
        a_model(1, 1, size=2**63 - 1), a_model(2, 1, size=2**63 - 1), a_model(3, 1, artifact=[1]), a_model(4, 1, source="x"),
        a_model(5, 1, annotations=[("dyff.io/stored-bytes", "-1"), ([], {})]),
        a_model(6, 1, annotations=[("dyff.io/stored-bytes", "9" * 99)]),
    ]  # fmt: skip
    await query.apply(odd, port.Reached("e", {0: 1}, {0: 1}))
    used = await query.usage("a")
    assert (used.entities, used.document_bytes) == (6, sum(len(each.body or b"") for each in odd))
    assert 2**54 <= used.object_bytes <= 2**54 + 10**4
