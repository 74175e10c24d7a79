"""Documents that MongoDB rejects: a part that says why takes their place, all others go on, and the whole is stored when it is accepted."""

from __future__ import annotations

import json

import anyio
import bson.errors
import msgspec
import pymongo
import pytest
from pymongo import errors as vendor

from dyff.entities import statuses
from dyff.kernel import degradation, errors, mongo, mongo_batches
from dyff.query import filters, port
from dyff.query.mongo import MongoQuery, rejects, sides
from tests.narrowing import sure
from tests.query.documents import document


class Rule:
    """Puts itself before the driver's collections: rejects whole documents with these IDs. `how`: as the server or the driver does."""

    def __init__(self, monkeypatch, code=121, how="each"):
        self.ids, self.code, self.how, self.parts = {document(1).id}, code, how, True
        given = mongo.Collection.__init__
        rule = self

        def made(subject, collection, name):
            given(subject, Checked(collection, rule), name)

        monkeypatch.setattr(mongo.Collection, "__init__", made)

    def rejects(self, request):
        there = request._doc
        return request._filter["_id"] in self.ids and (not self.parts or not there.get("partial"))


class Checked:
    """A collection of the driver, with a rule."""

    def __init__(self, inner, rule):
        self._inner, self._rule = inner, rule

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def bulk_write(self, requests, ordered):
        bad = [number for number, each in enumerate(requests) if self._rule.rejects(each)]
        if bad and self._rule.how == "driver":
            raise vendor.DocumentTooLarge("BSON document too large")
        if bad and self._rule.how == "value":
            raise bson.errors.InvalidDocument("cannot encode")
        if bad and self._rule.how == "command":
            raise vendor.OperationFailure("no", self._rule.code)
        good = [number for number in range(len(requests)) if number not in bad]
        failed = [{"index": number, "code": self._rule.code, "errmsg": "as asked for"} for number in bad]
        if good:
            try:
                await self._inner.bulk_write([requests[number] for number in good], ordered=ordered)
            except vendor.BulkWriteError as error:
                failed += [{**each, "index": good[each["index"]]} for each in error.details["writeErrors"]]
        if failed:
            raise vendor.BulkWriteError({"writeErrors": failed, "writeConcernErrors": []})


async def shown(query, number=1):
    """The entity as the view has it."""
    found = await query.get("evaluations", document(number).id)
    return None if found is None else json.loads(found)


async def until(check, limit_s=20.0):
    """Wait until `check` is true."""
    with anyio.fail_after(limit_s):
        while not await check():
            await anyio.sleep(0.05)  # real time: the engine has no event for what it shows


HOW = [("each", 121), ("each", 10334), ("each", 17280), ("each", 99999), ("command", 10334), ("command", 2), ("driver", 0), ("value", 0)]


@pytest.mark.parametrize(("how", "code"), HOW)
async def test_a_rejected_document_holds_up_no_other(connection, monkeypatch, how, code):
    """A part with the reason is shown and reported; the positions move on; it is whole once the rule is gone, without a restart."""
    rule, troubles = Rule(monkeypatch, code, how), degradation.Troubles()
    monkeypatch.setattr(rejects, "FIRST_S", 0.05)
    async with MongoQuery.open(connection, troubles=troubles) as query:
        await query.apply([document(0), document(1, note=["x"]), document(2)], port.Reached("e", {0: 3}, {0: 3}))
        reached = await query.reached()
        assert (reached.state, reached.events, reached.again) == ({0: 3}, {0: 3}, {0: 0})
        part = await shown(query)
        assert part["reason"] == statuses.NOT_SHOWN
        assert "In the log it is whole" in part["message"]
        assert part["account"] == json.loads(sure(document(1).body))["account"]
        assert "note" not in part
        assert (await shown(query, 2))["id"] == document(2).id
        assert [each.name for each in troubles.current()] == [rejects.TROUBLE]
        assert document(1).id in troubles.current()[0].reason
        await query.apply([document(3, 4)], port.Reached("e", {0: 4}))
        assert (await query.reached()).again == {0: 0}
        rule.ids.clear()

        async def whole():
            return (await shown(query)).get("note") == ["x"] and not troubles.current()

        await until(whole)
        await query.apply([], port.Reached("e", {0: 5}))
        assert (await query.reached()).again == {}
        async for batch in query.scan():
            assert all(each.sound for each in batch)


async def test_after_a_restart_it_is_read_again_from_before_it(connection, monkeypatch):
    """What was in memory is gone; the sink begins where it was rejected, and the whole takes the place of the part."""
    rule = Rule(monkeypatch)
    given = [document(number, number + 1, note=["x"]) for number in range(4)]
    async with MongoQuery.open(connection) as query:
        await query.apply(given[:1], port.Reached("e", {0: 1}))
        await query.apply(given[1:2], port.Reached("e", {0: 2}))
        await query.apply(given[2:], port.Reached("e", {0: 4}))
        assert (await query.reached()).again == {0: 1}
    rule.ids.clear()
    async with MongoQuery.open(connection) as query:
        await query.apply(given[1:2], port.Reached("e", {0: 2}))
        assert (await shown(query))["note"] == ["x"]
        reached = await query.reached()
        assert (reached.state, reached.again) == ({0: 4}, {0: 1})  # not all has been read again
        await query.apply(given[2:], port.Reached("e", {0: 4}))
        assert (await query.reached()).again == {}


async def test_a_newer_version_takes_the_place_of_a_part(connection, monkeypatch):
    """And the old one is not tried any more."""
    rule, troubles = Rule(monkeypatch), degradation.Troubles()
    async with MongoQuery.open(connection, troubles=troubles) as query:
        await query.apply([document(1, 1, note=["x"])], port.Reached("e", {0: 1}))
        rule.ids.clear()
        await query.apply([document(1, 5, note=["y"])], port.Reached("e", {0: 5}))
        assert (await shown(query))["note"] == ["y"]
        assert troubles.current() == []
        found = await port.found(query.find(filters.Find(collection="evaluations")))
        assert len(found) == 1


async def test_if_not_even_a_part_can_be_stored_the_view_waits(connection, monkeypatch):
    """It must not look as if the entity did not exist. When the rule is gone, it goes on."""
    rule = Rule(monkeypatch)
    rule.parts = False
    async with MongoQuery.open(connection) as query:
        with pytest.raises(errors.Blocked, match="even a part"):
            await query.apply([document(1)], port.Reached("e", {0: 1}))
        assert (await query.reached()).state == {}
        rule.ids.clear()
        assert await query.apply([document(1)], port.Reached("e", {0: 1})) == 1


@pytest.mark.parametrize("code", [10107, 13, 50, 112, 91])
async def test_an_answer_about_more_than_a_document_rejects_none(connection, monkeypatch, code):
    """Elections, rights and time limits concern the call, which is made again."""
    rule = Rule(monkeypatch, code)
    async with MongoQuery.open(connection) as query:
        with pytest.raises(errors.Unavailable):
            await query.apply([document(1)], port.Reached("e", {0: 1}))
        assert await shown(query) is None
        rule.ids.clear()
        assert await query.apply([document(1)], port.Reached("e", {0: 1})) == 1


class Driver:
    """A collection of the driver that holds documents by ID, and rejects some."""

    def __init__(self, answer):
        self.answer, self.calls = answer, 0

    async def bulk_write(self, requests, ordered):
        self.calls += 1
        self.answer([each._filter["_id"] for each in requests])


def replacements(*names):
    return [pymongo.ReplaceOne({"_id": name}, {}, upsert=True) for name in names]


async def test_an_answer_that_names_no_document_leads_to_one_call_for_each():
    """The driver refuses a batch as a whole, before it sends anything."""

    def answer(names):
        if "bad" in names:
            raise vendor.DocumentTooLarge("too large")

    driver = Driver(answer)
    ended = await mongo_batches.replace(driver, replacements("a", "bad", "b"))
    assert ended.newer == frozenset()
    assert list(ended.rejected) == [1]
    assert "too large" in ended.rejected[1]
    assert driver.calls == 4


@pytest.mark.parametrize(
    ("failed", "concern", "want"),
    [
        ([{"index": 0, "code": 11000}], [], ({0}, set())),
        ([{"index": 0, "code": 11000}, {"index": 1, "code": 121, "errmsg": "no"}], [], ({0}, {1})),
        ([{"index": 1}], [], (set(), {1})),
        ([{"index": 1, "code": 121}, {"index": 0, "code": 189}], [], None),
        ([{"index": 1, "code": 121}], [{"code": 64}], None),
        ([], [{"code": 64}], None),
    ],
)
async def test_only_what_concerns_single_documents_is_taken_apart(failed, concern, want):
    """A write concern that is not met, or one error of the server among the others: nothing is known of any."""

    def answer(names):
        raise vendor.BulkWriteError({"writeErrors": failed, "writeConcernErrors": concern})

    if want is None:
        with pytest.raises(vendor.BulkWriteError):
            await mongo_batches.replace(Driver(answer), replacements("a", "b"))
        return
    ended = await mongo_batches.replace(Driver(answer), replacements("a", "b"))
    assert (set(ended.newer), set(ended.rejected)) == want


def test_a_stand_in_has_what_every_answer_needs():
    """Its short simple fields; no part that is large; the reason in place of its own."""
    body = {**json.loads(sure(document(1).body)), "status": "Ready", "reason": "x", "text": "y" * 5000, "deep": {"a": 1}}
    given = msgspec.structs.replace(document(1), body=json.dumps(body).encode())
    made = json.loads(sure(port.stand_in(given, "it is too large").body))
    assert (made["status"], made["reason"]) == ("Ready", "NotShown")
    assert "it is too large" in made["message"]
    assert not made.keys() & {"text", "deep"}
    assert port.stand_in(msgspec.structs.replace(given, body=None), "x").body is None


def test_only_so_many_are_kept_in_memory(monkeypatch):
    """Those beyond are counted, and keep the place from which the next start reads."""
    monkeypatch.setattr(rejects, "MAX_KEPT", 2)
    troubles = degradation.Troubles()
    subject = rejects.Rejects(troubles)
    many = [document(number, 1) for number in range(5)]
    subject.took(many, [sides.Rejected(each, "no") for each in many], {0}, 0)
    assert subject.has(0)
    assert not subject.has(1)
    assert "5 entities" in troubles.current()[0].reason
    view = {"state": {"0": 9}, "again": {"0": 1}}
    assert rejects.again_fields(view, port.Reached("e", {0: 10}), False, subject) == {}
    subject.took([document(number, 2) for number in range(5)], [], {0}, 0)
    assert not subject
    assert troubles.current() == []
    assert rejects.again_fields(view, port.Reached("e", {0: 10}), False, subject) == {"$unset": {"again.0": ""}}
    assert rejects.again_fields(view, port.Reached("e", {0: 8}), False, subject) == {}
