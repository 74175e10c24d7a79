"""By what entities can be compared, the items on which systems differ, and leaderboards: what they say, and for whom."""

from __future__ import annotations

import pytest
import pytest_asyncio

from dyff.accounts import grants
from dyff.api import programs
from tests.api import studies

GOOD, BAD = [True] * 40, [True] * 10 + [False] * 30
DROPS = {"client": {"inputPipeline": [{"kind": "Drop", "configuration": {"fields": ["x"]}}]}}
"""Another sampling than that of the other evaluations."""
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(study):
    """The measurements of a good and of a bad system."""
    return [await study.measured("good", GOOD), await study.measured("bad", [*BAD[:-1], None])]


async def answered(client, path, status=200, **query):
    response = await client.get(f"/v0/{path}", params=query)
    assert response.status_code == status, response.text
    return response.json() if status == 200 else response.json()["detail"]


async def evaluation_of(study, measurement):
    return (await study.api.get(f"/v0/measurements/{measurement}")).json()["scope"]["evaluation"]


async def test_evaluations_and_cases_lead_to_measurements(study, two):
    """Of one method: an evaluation has the latest of it, a safety case the one that it reads. All scores that all have are named."""
    asked = [await evaluation_of(study, two[0]), await study.reported(two[1], await study.reporting())]
    found = await answered(study.api, "comparisons/choices", ids=",".join(asked))
    assert [(each["id"], each["kind"], each["problem"]) for each in found["entities"]] == [
        (asked[0], "Evaluation", None), (asked[1], "SafetyCase", None),
    ]  # fmt: skip
    assert [each["name"] for each in found["entities"]] == ["good", "bad"]
    (choice,) = found["choices"]
    assert (choice["method"], choice["dataset"], [each["name"] for each in choice["scores"]]) == (study.method, study.dataset, ["right"])
    assert choice["members"] == [{"entity": one, "measurement": other} for one, other in zip(asked, two, strict=True)]
    assert found["notComparable"] == []


async def test_why_two_cannot_be_compared(study, two):
    """The exact reason of each pair: another sampling, no method in common, no measurement at all."""
    odd = await study.measured("odd", GOOD, evaluation=DROPS)
    other = await study.measured("other", GOOD, method=await study.methods(name="other method"))
    none = await study.evaluation(await study.system("not measured"))
    asked = [two[0], odd, other, none]
    found = await answered(study.api, "comparisons/choices", ids=",".join(asked))
    why = {(each["a"], each["b"]): each["why"] for each in found["notComparable"]}
    assert len(why) == 6
    assert found["choices"] == []
    assert "different sampling: client.inputPipeline of the evaluations" in why[two[0], odd][0]
    assert "no method has measured both" in why[odd, other][0]
    assert "'other method'" in why[odd, other][0]
    assert why[other, none] == ["it has no measurement that this token may read ('get' and 'data')"]


async def test_some_of_several_can_be_compared(study, two):
    """A choice has those that can be; the others are named with their reasons."""
    odd = await study.measured("odd", GOOD, evaluation=DROPS)
    found = await answered(study.api, "comparisons/choices", ids=",".join([*two, odd]))
    assert [[one["entity"] for one in each["members"]] for each in found["choices"]] == [two]
    assert {(each["a"], each["b"]) for each in found["notComparable"]} == {(two[0], odd), (two[1], odd)}


async def test_the_latest_measurement_of_an_evaluation(study, two):
    """Two of one method: the newer one counts. Two IDs that lead to the same one are no comparison."""
    evaluation = await evaluation_of(study, two[0])
    found = await answered(study.api, "comparisons/choices", ids=f"{evaluation},{two[0]}")
    assert found["choices"] == []
    assert found["notComparable"][0]["why"] == ["by 'mean-word-length': they lead to the same measurement"]


async def test_a_measurement_is_a_member_once(study, two):
    """An evaluation and its own measurement are compared with another one as one; only these two are no pair."""
    evaluation = await evaluation_of(study, two[0])
    found = await answered(study.api, "comparisons/choices", ids=",".join([evaluation, *two]))
    (choice,) = found["choices"]
    assert choice["members"] == [{"entity": evaluation, "measurement": two[0]}, {"entity": two[1], "measurement": two[1]}]
    assert [(each["a"], each["b"]) for each in found["notComparable"]] == [(evaluation, two[0])]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "must be from 2 to 8 IDs; these are 0"),
        ({"ids": "a"}, "these are 1"),
        ({"ids": "a,a"}, "one is there twice"),
        ({"ids": "a,b", "score": "x"}, "the parameter is not known"),
    ],
)
async def test_mistakes_about_choices(study, query, message):
    """They name the parameter."""
    (problem,) = await answered(study.api, "comparisons/choices", 422, **query)
    assert message in problem["msg"]


async def test_an_id_of_nothing(study, two):
    """Is a 404 that says which kinds were looked for."""
    assert "no SafetyCase and no Measurement" in await answered(study.api, "comparisons/choices", 404, ids=f"{'0' * 32},{two[0]}")


async def test_items_that_differ(study, two):
    """A page of them with the values of both, and how often each is higher; the next page goes on."""
    found = await answered(study.api, "comparisons/items", ids=",".join(two), limit="20")
    assert [each["index"] for each in found["items"]] == list(range(10, 30))
    assert (found["items"][0]["values"], found["items"][0]["number"], found["count"], found["next"]) == ([True, False], 0, 29, "20")
    assert found["pairs"] == [{"a": two[0], "b": two[1], "aHigher": 29, "bHigher": 0, "equal": 10, "unpaired": 1}]
    assert found["evaluations"] == [await evaluation_of(study, each) for each in two]
    rest = await answered(study.api, "comparisons/items", ids=",".join(two), limit="20", after=found["next"])
    assert ([each["index"] for each in rest["items"]], rest["next"]) == (list(range(30, 39)), None)
    wins = await answered(study.api, "comparisons/items", ids=",".join(two), between=f"{two[1]},{two[0]}", higher=two[1])
    assert wins["items"] == []
    lost = await answered(study.api, "comparisons/items", ids=",".join(two), show="unpaired")
    assert [(each["index"], each["states"]) for each in lost["items"]] == [(39, ["verdict", "error"])]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"show": "ties"}, "must be one of differing, unpaired, all"),
        ({"between": "a"}, "must be two different IDs"),
        ({"higher": "a"}, "must be one of the two IDs in between"),
        ({"between": "a,b", "higher": "a", "show": "all"}, "can only be given where show is differing"),
        ({"limit": "201"}, "from 1 to 200"),
        ({"after": "x"}, "must be the `next` of the page before"),
        ({"after": "9" * 30}, "must be the `next` of the page before"),
    ],
)
async def test_mistakes_about_items(study, query, message):
    """They name the parameter."""
    (problem,) = await answered(study.api, "comparisons/items", 422, ids="a,b", **query)
    assert message in problem["msg"]


async def test_items_of_what_cannot_be_compared(study, two):
    """Are a 409 with the reason."""
    odd = await study.measured("odd", GOOD, evaluation=DROPS)
    assert "different sampling" in await answered(study.api, "comparisons/items", 409, ids=f"{two[0]},{odd}")


async def board(study, **query):
    return await answered(study.api, "leaderboards", **{"method": study.method, "dataset": study.dataset, **query})


async def test_ties_share_ranks(shared_world, shared_api):
    """And are in the order of their names. Each system is compared with the best, p is corrected for all pairs."""
    study = await studies.Study(shared_world, shared_api).prepare()
    first, _, worst = [await study.measured(*each) for each in (("b", GOOD), ("a", [*GOOD[:-1], False]), ("c", BAD))]
    await study.measured("odd one", GOOD, evaluation=DROPS)
    found = await board(study)
    assert [(each["name"], each["ranks"]) for each in found["systems"]] == [
        ("a", {"first": 1, "last": 2}), ("b", {"first": 1, "last": 2}), ("c", {"first": 3, "last": 3}),
    ]  # fmt: skip
    assert (found["reference"], found["comparisons"], found["title"], found["leftOut"]) == (first, 3, "Right answers", 0)
    tie, reference, last = (each["against"] for each in found["systems"])
    assert (tie["verdict"], reference, last["verdict"]) == ("no difference shown", None, "worse")
    assert last["low"] < last["difference"] == -0.75 < last["high"] < 0
    assert last["pCorrected"] == pytest.approx(3 * last["p"])
    assert [(each["name"], each["why"]) for each in found["notRanked"]] == [("odd one", "different sampling")]
    # Another reference turns the differences around, and changes no p and no rank: nothing is calculated again.
    turned = await board(study, reference=worst)
    assert [each["ranks"] for each in turned["systems"]] == [each["ranks"] for each in found["systems"]]
    assert turned["systems"][1]["against"]["verdict"] == "better"
    assert turned["systems"][1]["against"]["pCorrected"] == last["pCorrected"]


async def test_a_reference_that_is_none(study, two):
    """Is a 409 that says what to give."""
    why = await answered(study.api, "leaderboards", 409, method=study.method, dataset=study.dataset, reference="0" * 32)
    assert "is no measurement of this leaderboard" in why


async def test_a_leaderboard_of_nothing(study):
    """Nothing was measured, or the token may see none of it: no systems, and nobody learns whether there are some."""
    found = await board(study, dataset="0" * 32)
    assert (found["systems"], found["reference"]) == ([], None)


@pytest.mark.parametrize("name", ["method", "dataset"])
async def test_mistakes_about_leaderboards(study, name):
    """They name the parameter."""
    (problem,) = await answered(study.api, "leaderboards", 422, **{"method": study.method, "dataset": study.dataset, name: "x"})
    assert problem["loc"] == ["query", name]


async def test_what_a_token_may_not_read_is_not_there(study, two, shared_world):
    """`get` and `data` on a measurement, both. Without them it is in no choice and on no leaderboard, and its items are refused."""
    evaluations = [await evaluation_of(study, each) for each in two]
    may_get = grants.Grant(("evaluations",), ("get",), ("*",))
    ids = ",".join(evaluations)
    few = [
        grants.Grant(("measurements",), ("get", "data"), (), (two[0],)),
        grants.Grant(("measurements",), ("get",), ("*",)),
    ]  # fmt: skip
    async with shared_world.client(await shared_world.token(may_get, *few)) as client:
        found = await answered(client, "comparisons/choices", ids=ids)
        assert found["choices"] == []
        assert [each["problem"] is None for each in found["entities"]] == [True, False]
        listed = await answered(client, "leaderboards", method=study.method, dataset=study.dataset)
        assert [each["id"] for each in listed["systems"]] == [two[0]]
        await answered(client, "comparisons/items", 403, ids=",".join(two))
    async with shared_world.client(await shared_world.token(grants.Grant(("measurements",), ("get", "data"), ("*",)))) as client:
        await answered(client, "comparisons/choices", 403, ids=ids)
        await answered(client, "comparisons/items", ids=",".join(two))
    async with shared_world.client("") as anybody:
        for path, query in (("comparisons/choices", {"ids": ids}), ("comparisons/items", {"ids": ids}), ("leaderboards", {})):
            assert (await anybody.get(f"/v0/{path}", params=query)).status_code == 401


async def test_the_same_page_is_found_once(study, two, monkeypatch):
    """Measurements do not change, so a page is kept; permissions are checked each time."""
    first = await answered(study.api, "comparisons/items", ids=",".join(two), limit="7")

    async def refused(*_):
        raise AssertionError("a second program")

    monkeypatch.setattr(programs, "start", refused)
    assert await answered(study.api, "comparisons/items", ids=",".join(two), limit="7") == first
