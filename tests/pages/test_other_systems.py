"""The comparison on the page of a safety case: with which systems, for whom, and in which words."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import pytest_asyncio

from dyff.api.comparisons import others
from tests.api import studies
from tests.api.test_role import serving
from tests.pages import browser

GOOD, BAD = [True] * 40, [True] * 10 + [False] * 30


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """On a busy machine, a program takes long to start."""
    monkeypatch.setattr(others, "PAGE_S", 120.0)


@pytest_asyncio.fixture
async def study(world, api):
    """A study with a method for safety cases."""
    return await studies.Study(world, api).prepare()


async def shown(study, case, client=None):
    response = await (client or study.api).get(f"/v0/safetycases/{case}/dossier")
    assert response.status_code == 200, response.text
    return response.json()["otherSystems"]


async def page(study, case):
    response = await study.api.get(f"/safetycases/{case}")
    assert response.status_code == 200, response.text
    return response.text


async def test_other_systems_of_the_same_method_and_dataset(study):
    """The case's system comes first; each other one is compared with it, and p is corrected for all of these comparisons."""
    own = await study.measured("own <b>", GOOD)
    case = await study.reported(own, await study.reporting())
    await study.measured("worse", BAD)
    await study.measured("equal", GOOD)
    await study.measured("of another dataset", BAD, dataset=await study.datasets(b"other"))
    await study.measured("of another method", BAD, method=await study.methods())
    await study.measured("failed", BAD, status="Failed")
    await study.measured(
        "of another sampling", BAD, evaluation={"client": {"inputPipeline": [{"kind": "Drop", "configuration": {"fields": ["x"]}}]}}
    )
    found = await shown(study, case)
    assert [each["name"] for each in found["systems"]] == ["own <b>", "equal", "worse"]
    assert [(each["verdict"], each["test"]["comparisons"]) for each in found["pairs"]] == [("no difference shown", 2), ("A is better", 2)]
    assert found["pairs"][1]["difference"] == -0.75
    assert [(each["name"], each["why"]) for each in found["notCompared"]] == [("of another sampling", "different sampling")]
    assert (found["leftOut"], found["problem"], found["systems"][0]["safetycase"]) == (0, None, case)
    text = await page(study, case)
    assert "<bdi>own &lt;b&gt;</bdi>" in text
    charts = [ElementTree.fromstring(each) for each in re.findall(r"<div class=\"plot\" role=\"img\".*?</div>", text, re.DOTALL)]
    assert len(charts) == 2
    assert charts[1].attrib["aria-label"].startswith("Differences from this system. equal: 0, 95 % interval")
    assert "worse: −0.75, 95 % interval" in charts[1].attrib["aria-label"]
    assert re.findall(r"<strong>(no difference shown|better|worse)</strong>", text) == ["no difference shown", "worse"]


async def test_the_latest_measurement_of_each_system(study):
    """Of one that was measured twice; and that of the case itself is compared with none of its own system."""
    service, other = await study.system("own"), await study.system("other")
    case = await study.reported(await study.measurement(service, GOOD), await study.reporting())
    await study.measurement(service, BAD)
    await study.measurement(other, BAD)
    latest = await study.measurement(other, GOOD)
    found = await shown(study, case)
    assert [each["measurement"] for each in found["systems"]][1:] == [latest]


async def test_nobody_speaks_for_another_system(study):
    """A measurement whose scope names a system, and that reads the answers of another one, does not stand for it, nor hides its own."""
    rival = await study.system("rival")
    case = await study.reported(await study.measured("own", GOOD), await study.reporting())
    true = await study.measurement(rival, GOOD)
    of_rival = (await study.api.get(f"/v0/measurements/{true}")).json()["scope"]
    false = await study.measured("decoy", BAD, scope=of_rival)
    found = await shown(study, case)
    assert false not in str(found)
    assert [each["measurement"] for each in found["systems"]][1:] == [true]
    assert "its scope names another evaluation and another system" in await study.compare(409, a=true, b=false)
    lying = await study.reported(false, await study.reporting())
    assert "cannot be compared: its scope names another evaluation and" in (await shown(study, lying))["problem"]


async def test_nobody_names_another_system(study, world):
    """A public case that reads another's measurement, and is about a system with another title, gives that system no name and no link."""
    own = await study.reported(await study.measured("own", GOOD), await study.reporting())
    rival = await study.measured("rival", BAD)
    true = await study.reported(rival, await study.reporting())
    decoy = await study.system("decoy that names the rival")
    body = {"method": await study.reporting(), "scope": {"inferenceService": decoy}, "inputs": [{"keyword": "measured", "entity": rival}]}
    for account in ("test", "other"):
        false = (await study.audit.post("safetycases", body, account=account))["id"]
        await world.set_status(false, "Complete")
        await study.audit.publish("safetycases", false)
    await study.audit.publish("safetycases", own)
    async with world.client("") as anybody:
        unnamed = (await shown(study, own, anybody))["systems"][1]
        await study.audit.publish("safetycases", true)
        named = (await shown(study, own, anybody))["systems"][1]
    assert (unnamed["measurement"], unnamed["safetycase"], unnamed["name"]) == (rival, None, f"system {unnamed['inferenceService'][:8]}")
    assert (named["measurement"], named["safetycase"], named["name"]) == (rival, true, "rival")


async def test_measurements_that_are_not_looked_at_are_said(study, monkeypatch):
    """Who measures the own system very often cannot push the others out of sight without a word."""
    monkeypatch.setattr(others, "MAX_FOUND", 2)
    own = await study.system("own")
    await study.measured("rival", GOOD)
    several = [await study.measurement(own, GOOD) for _ in range(2)]
    case = await study.reported(several[0], await study.reporting())
    found = await shown(study, case)
    assert (found["systems"], found["atLeast"]) == ([], True)
    assert "other systems can be missing here" in await page(study, case)


async def test_strangers_see_public_systems_only(study, world):
    """Through a public measurement, or a public safety case that reads it. Others are not even counted."""
    own = await study.reported(await study.measured("own", GOOD), await study.reporting())
    of_case, of_measurement = await study.measured("by case", BAD), await study.measured("by measurement", BAD)
    await study.measured("private", BAD)
    other = await study.reported(of_case, await study.reporting())
    for plural, entity in (("safetycases", own), ("safetycases", other), ("measurements", of_measurement)):
        await study.audit.publish(plural, entity)
    async with world.client("") as anybody:
        found = await shown(study, own, anybody)
    assert [each["measurement"] for each in found["systems"]][1:] == [of_measurement, of_case]
    assert [each["safetycase"] for each in found["systems"]] == [own, None, other]
    assert (found["leftOut"], found["notCompared"]) == (0, [])
    assert [each["name"] for each in found["systems"]] == ["own", f"system {found['systems'][1]['inferenceService'][:8]}", "by case"]


async def test_a_bounded_number(study, monkeypatch):
    """The latest ones; and how many are left out."""
    monkeypatch.setattr("dyff.entities.comparisons.MAX_SYSTEMS", 2)
    case = await study.reported(await study.measured("own", GOOD), await study.reporting())
    for name in ("first", "second", "third"):
        await study.measured(name, BAD)
    found = await shown(study, case)
    assert ([each["name"] for each in found["systems"]], found["leftOut"]) == (["own", "third"], 2)
    assert "2 more systems that were measured earlier are not shown" in await page(study, case)


async def test_a_page_does_not_wait_for_ever(study, monkeypatch):
    """It says that the comparison is being made. That continues, so it is there later."""
    case = await study.reported(await study.measured("own", GOOD), await study.reporting())
    await study.measured("other", BAD)
    monkeypatch.setattr(others, "PAGE_S", 0.0)
    assert (await shown(study, case))["problem"] == others.LATE
    assert "load this page again in a minute" in await page(study, case)
    monkeypatch.setattr(others, "PAGE_S", 120.0)
    assert (await shown(study, case))["problem"] is None


async def test_nothing_to_compare(study):
    """Alone, without rows that fit, without a measurement, or before it is complete: the page says so, or has no such section."""
    alone = await study.reported(await study.measured("own", GOOD), await study.reporting())
    assert "No other system that you may see" in await page(study, alone)
    unfit = await study.reported(await study.measured("own", GOOD, method=await study.methods(level="Dataset")), await study.reporting())
    assert "has rows that can be compared" in (await shown(study, unfit))["problem"]
    wrong = await study.reported(await study.measured("wrong", GOOD, quantity=0.25), await study.reporting())
    assert "The rows of this system cannot be compared: the score is 0.25" in (await shown(study, wrong))["problem"]
    gone = await study.reported(await study.measured("gone", GOOD), await study.reporting())
    await study.api.put(f"/v0/safetycases/{gone}/delete")
    assert await shown(study, gone) is None


@pytest.mark.parametrize("quantity", [1.0, 0.5])
async def test_another_system_with_unfit_rows_does_not_spoil_the_page(study, quantity):
    """It is listed with the reason, and the others are compared."""
    case = await study.reported(await study.measured("own", GOOD), await study.reporting())
    await study.measured("worse", BAD)
    await study.measured("odd", GOOD, quantity=quantity)
    found = await shown(study, case)
    assert len(found["systems"]) + len(found["notCompared"]) == 3
    assert [each["name"] for each in found["notCompared"]] == ([] if quantity == 1 else ["odd"])


OUTSIDE = """texts => texts.filter(each => {
    const box = each.getBoundingClientRect(); return box.left < 0 || box.right > window.innerWidth
}).map(each => each.textContent)"""


@pytest.mark.parametrize("width", [390, 1280])
async def test_the_comparison_fits(study, world, width):
    """Narrow and wide, with long and hostile names: nothing is wider than the window, no text of a chart is cut, nothing is reported."""
    name = "<script>alert(1)</script> " + "W" * 90
    case = await study.reported(await study.measured(name, GOOD), await study.reporting())
    await study.measured(f"{name} 2", GOOD)
    async with (
        serving(world) as url,
        browser.opened(viewport={"width": width, "height": 900}, extra_http_headers={"Authorization": f"Bearer {world.admin}"}) as seen,
    ):
        await seen.show(f"{url}/safetycases/{case}")
        assert await seen.page.locator("#others .plot").count() == 2
        assert await seen.page.evaluate("document.documentElement.scrollWidth") == width
        assert await seen.page.locator("#others svg text").evaluate_all(OUTSIDE) == []
        assert (
            await seen.page.locator("#others .chart").evaluate_all("all => all.filter(each => each.scrollWidth > each.clientWidth).length")
            == 0
        )
        assert (seen.errors, seen.dialogs) == ([], [])
        assert await seen.page.locator("script").count() == 0
