"""The comparison of systems: its verdicts, for whom, and why measurements cannot be joined."""

from __future__ import annotations

import pyarrow as pa
import pytest
import pytest_asyncio

from dyff.accounts import grants
from dyff.api import programs

GOOD, BAD = [True] * 40, [True] * 10 + [False] * 30
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def good(study):
    """A measurement of a system that is always right."""
    return await study.measured("good", GOOD)


async def test_a_better_system(study, good):
    """The difference is b minus a over the joined items, with its interval, and the verdict names the better one by its ID."""
    bad = await study.measured("bad", [*BAD[:-1], None])
    found = await study.compare(a=good, b=bad, score="right")
    (pair,) = found["pairs"]
    assert (pair["verdict"], pair["better"], pair["higher"]) == ("A is better", good, good)
    assert pair["difference"] == pytest.approx(-29 / 39)
    assert pair["estimate"]["low"] < pair["difference"] < pair["estimate"]["high"] < 0
    assert pair["estimate"]["outcomes"] == {"items": 40, "verdicts": 39, "errors": 1, "notScored": 0}
    assert (pair["test"]["method"], pair["test"]["exact"], pair["test"]["comparisons"]) == ("McNemar, exact", True, 1)
    assert pair["ofB"]["outcomes"]["errors"] == 1
    assert [(each["id"], each["name"], each["quantity"]) for each in found["systems"]] == [(good, "good", 1), (bad, "bad", 10 / 39)]
    assert (found["score"], found["valence"], found["dataset"], found["method"]) == ("right", "positive", study.dataset, study.method)


async def test_a_tie_is_not_ranked(study, good):
    """Without a score, it is the primary one; equal systems have no order, and the answer says what would have been found."""
    other = await study.measured("other", [*GOOD[:-1], False])
    found = await study.compare(a=good, b=other)
    (pair,) = found["pairs"]
    assert (pair["verdict"], pair["better"], pair["higher"]) == ("no difference shown", None, None)
    assert 0.05 < pair["detectable"] < 0.1


async def test_several_at_once(study, good):
    """Each pair, with Holm's correction for all of them."""
    ids = [good, await study.measured("one", BAD), await study.measured("two", BAD)]
    found = await study.compare(ids=",".join(ids), score="right")
    assert [(each["a"], each["b"]) for each in found["pairs"]] == [(ids[0], ids[1]), (ids[0], ids[2]), (ids[1], ids[2])]
    assert [each["verdict"] for each in found["pairs"]] == ["A is better", "A is better", "no difference shown"]
    first = found["pairs"][0]["test"]
    assert (first["comparisons"], first["pCorrected"]) == (3, pytest.approx(3 * first["p"]))


async def test_safety_cases_stand_for_what_they_read(study, good):
    """The ID in the answer is the one that was asked for."""
    bad = await study.measured("bad", BAD)
    method = await study.reporting()
    cases = [await study.reported(each, method) for each in (good, bad)]
    found = await study.compare(a=cases[0], b=cases[1], score="right")
    assert [(each["id"], each["measurement"]) for each in found["systems"]] == [(cases[0], good), (cases[1], bad)]
    assert found["pairs"][0]["better"] == cases[0]


async def test_replications_belong_together_by_their_order(study):
    """Those of two evaluations have different IDs. The answers to one item are a cluster."""
    ids = [await study.measured(name, GOOD, evaluation={"replications": count}) for name, count in (("two", 2), ("three", 3))]
    (pair,) = (await study.compare(a=ids[0], b=ids[1]))["pairs"]
    assert (pair["estimate"]["n"], pair["estimate"]["clusters"]) == (80, 40)
    assert (pair["ofA"]["missing"], pair["ofB"]["missing"]) == (40, 0)


async def test_the_same_data_under_another_id(study, good):
    """A dataset that was uploaded again has the same items."""
    again = await study.measured("again", BAD, dataset=await study.datasets(name="again"))
    assert (await study.compare(a=good, b=again))["pairs"][0]["better"] == good


WRONG = {"kind": "Drop", "configuration": {"fields": ["secret"]}}
INSTEAD = pa.table({"_index_": [900], "_replication_": ["x"], "right": [True]})


async def test_what_cannot_be_joined(study, good):
    """Each error names the measurements, and says what differs."""
    other_method, data = await study.methods(), await study.datasets(b"other rows")
    judged = await study.methods(parameters=[{"keyword": "threshold"}])
    strict = await study.measured("s", GOOD, method=judged, arguments={"threshold": "0.9"})
    whole = await study.methods(level="Dataset")
    cases = {
        "different dataset, or another version of it": await study.measured("d", GOOD, dataset=data),
        "different method": await study.measured("m", GOOD, method=other_method),
        "different sampling: client.inputPipeline of the evaluations": await study.measured(
            "p", GOOD, evaluation={"client": {"inputPipeline": [WRONG]}}
        ),
        "it is not complete: its status is Failed": await study.measured("f", GOOD, status="Failed"),
        "the level of its method's output is 'Dataset'": await study.measured("l", GOOD, method=whole),
        "a and b have no item in common": await study.measured("n", [True], table=INSTEAD),
        "its rows have no column 'right'": await study.measured("c", [True], table=INSTEAD.drop_columns("right")),
        "the score is 0.5, and the mean of its column is 1": await study.measured("q", GOOD, quantity=0.5),
        "right: no item has a verdict on both sides": await study.measured("e", [*[None] * 40, True]),
        "has 2 rows of one item and replication": await study.measured("r", [True], table=pa.concat_tables([INSTEAD, INSTEAD])),
        "it has no rows": await study.measured("z", [True], table=INSTEAD.slice(1)),
    }
    for message, measurement in cases.items():
        detail = await study.compare(409, a=good, b=measurement, score="right")
        assert message in detail, (message, detail)
        assert measurement in detail
    lax = await study.measured("t", GOOD, method=judged, arguments={"threshold": "0.5"})
    detail = await study.compare(409, a=strict, b=lax)
    assert "different judge: the argument 'threshold' is '0.9' and '0.5'" in detail


async def test_what_is_asked_wrong(study, good):
    """The error names the parameter and the fix."""
    other = await study.measured("other", GOOD)
    detail = await study.compare(409, a=good, b=other, score="rigt")
    assert "it has no score 'rigt' (did you mean 'right'?); it has right" in detail
    for query, name in (
        ({}, "ids"), ({"a": good}, "b"), ({"a": good, "b": good}, "ids"), ({"ids": good}, "ids"), ({"a": good, "ids": good}, "ids"),
        ({"ids": ",".join([good] * 9)}, "ids"), ({"a": good, "c": other}, "c"),
    ):  # fmt: skip
        (problem,) = await study.compare(422, **query)
        assert problem["loc"] == ["query", name], query
    assert "there is no Measurement with the ID " + "f" * 8 in await study.compare(404, a=good, b="f" * 12 + "4fff8" + "f" * 15)


async def test_a_case_without_the_score(study, good):
    """It says which scores there are."""
    case = await study.reported(good, await study.reporting())
    assert "reads no measurement with the score 'rigt'; did you mean 'right'?" in await study.compare(409, a=case, b=good, score="rigt")
    assert "lead to the same measurement" in await study.compare(409, a=case, b=good)


async def test_permissions(study, shared_world, good):
    """Reading both measurements and fetching their data is needed, as for doing it by hand; a case needs reading in addition."""
    bad = await study.measured("bad", BAD)
    case = await study.reported(bad, await study.reporting())
    both = (good, bad)
    granted = {
        200: [grants.Grant(("measurements",), ("get", "data"), (), both)],
        403: [grants.Grant(("measurements",), ("get", "data"), (), (good,)), grants.Grant(("measurements",), ("get",), (), both)],
    }
    for status, tokens in granted.items():
        for each in tokens:
            async with shared_world.client(await shared_world.token(each)) as client:
                assert (await client.get("/v0/comparisons", params={"a": good, "b": bad})).status_code == status
                assert (await client.get("/v0/comparisons", params={"a": good, "b": case})).status_code == 403
    async with shared_world.client("") as anybody:
        assert (await anybody.get("/v0/comparisons", params={"a": good, "b": bad})).status_code == 401


async def test_names_are_for_those_who_may_read_the_system(study, shared_world, good):
    """Others see a part of its ID."""
    bad = await study.measured("bad", BAD)
    token = await shared_world.token(grants.Grant(("measurements",), ("get", "data"), ("*",)))
    async with shared_world.client(token) as client:
        found = (await client.get("/v0/comparisons", params={"a": good, "b": bad})).json()
    assert [each["name"] for each in found["systems"]] == [f"system {each['inferenceService'][:8]}" for each in found["systems"]]


async def test_one_program_for_what_is_asked_twice(study, good, monkeypatch):
    """Measurements do not change, so the numbers are kept. Permissions are checked each time."""
    bad = await study.measured("bad", BAD)
    first = await study.compare(a=good, b=bad)

    async def refused(*_):
        raise AssertionError("a second program")

    monkeypatch.setattr(programs, "start", refused)
    assert await study.compare(a=good, b=bad) == first


async def test_the_program_ends_where_it_takes_too_much(study, good, monkeypatch):
    """A crash, too much memory or time: the request is answered, and says what to do."""
    bad = await study.measured("bad", BAD)
    monkeypatch.setattr("dyff.api.comparisons.calculating.ANSWER_S", 0.0)
    assert "takes more memory or time than is allowed; compare fewer" in await study.compare(409, a=good, b=bad)


async def test_what_took_too_much_is_not_tried_again_at_once(study, good, monkeypatch):
    """Anybody can load a page that asks for it; after a while it is tried again."""
    bad = await study.measured("bad", BAD)
    asked = []
    ready = programs.ready

    async def counted(*arguments, **more):
        asked.append(arguments)
        return await ready(*arguments, **more)

    monkeypatch.setattr(programs, "ready", counted)
    monkeypatch.setattr("dyff.api.comparisons.calculating.ANSWER_S", 0.0)
    first = await study.compare(409, a=good, b=bad)
    assert await study.compare(409, a=good, b=bad) == first
    assert len(asked) == 1
    monkeypatch.setattr("dyff.api.comparisons.calculating.ANSWER_S", 60.0)
    other = await study.measured("other", BAD)
    monkeypatch.setattr("dyff.api.comparisons.calculating.FAILED_S", -1.0)
    monkeypatch.setattr("dyff.api.comparisons.calculating.ANSWER_S", 0.0)
    await study.compare(409, a=good, b=other)
    monkeypatch.setattr("dyff.api.comparisons.calculating.ANSWER_S", 60.0)
    assert (await study.compare(a=good, b=other))["pairs"]


async def test_bounds(study, good, monkeypatch):
    """Files that are too large, and comparisons that are too many at once, are refused before anything is read."""
    bad = await study.measured("bad", BAD)
    monkeypatch.setattr("dyff.api.comparisons.calculating.MAX_BYTES", 10)
    assert "bytes, and at most 10 are read" in await study.compare(409, a=good, b=bad)
    monkeypatch.setattr("dyff.api.comparisons.calculating.MAX_WAITING", 0)
    assert "many comparisons are being made; try again" in await study.compare(503, a=good, b=bad)
