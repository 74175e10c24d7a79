"""Comparisons and leaderboards in a real browser: from a list to the items on which systems differ."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from tests.api import stored_samples as stored
from tests.api import studies
from tests.console import browsing
from tests.console.test_hostile import MARKUP

GOOD, SIMILAR, BAD = [True] * 40, [*[True] * 39, False], [True] * 10 + [False] * 30
_COLUMNS: dict[str, pa.DataType] = {"_index_": pa.int64(), "prompt": pa.string()}
ITEMS = pa.schema(_COLUMNS)


class _Answered(studies.Study):
    """A study whose evaluations have answers. `ids`: of the evaluations."""

    def __init__(self, world, api):
        super().__init__(world, api)
        self.ids: list[str] = []


@pytest.fixture
async def study(world, api):
    """Three systems with answers; the names of two are hostile."""
    made = _Answered(world, api)
    await made.prepare()
    prompts = [{"_index_": n, "prompt": f"question {n} {MARKUP}"} for n in range(40)]
    made.dataset = await made.datasets(stored.parquet(prompts, ITEMS), name="questions")
    measured = [await made.measured(name, rows) for name, rows in ((MARKUP, GOOD), ("\u202esimilar", SIMILAR), ("bad", BAD))]
    for name, measurement in zip(("good", "similar", "bad"), measured, strict=True):
        evaluation = (await api.get(f"/v0/measurements/{measurement}")).json()["scope"]["evaluation"]
        outputs = [stored.output(evaluation, n, f"the {name} answer to {n} {MARKUP}") for n in range(40)]
        await stored.publish(world, f"outputs/{evaluation}/", {"part-0.parquet": stored.parquet(outputs, stored.OUTPUTS)})
        made.ids.append(evaluation)
    return made


async def no_markup(page):
    """What others wrote is text."""
    assert await page.locator("main img, main script, main a[href^=javascript]").count() == 0


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
async def test_from_a_list_to_an_item_side_by_side(world, study, width, scheme):
    """By keyboard: rows are chosen, compared, and an item on which they differ is read with all answers; the address has all of it."""
    async with browsing.opened(world, width, color_scheme=scheme, reduced_motion="reduce") as console:
        page, keyboard = console.page, console.page.keyboard
        await console.sign_in(world.admin)
        await console.go("evaluations")
        await page.locator("[data-row]").nth(2).wait_for()
        for key in ("j", "x", "j", "x", "j", "x"):
            await keyboard.press(key)
        await page.get_by_role("button", name="Compare (3)").wait_for()
        await console.usable()
        await page.reload()
        await page.get_by_role("button", name="Compare (3)").wait_for()
        await page.locator("[data-row]").nth(2).wait_for()
        await keyboard.press("v")
        await console.heading("Compare")
        pairs = page.get_by_role("region", name="Differences on the same items")
        await pairs.get_by_text("is better").first.wait_for()
        assert await pairs.get_by_text("no difference shown", exact=True).count() == 1
        assert await pairs.get_by_text("would have been found in 80 % of such studies").count() == 1
        assert await page.get_by_role("img", name=re.compile("interval|minus")).count() >= 3
        await page.get_by_text("30 items fit.").wait_for()
        await console.usable()
        await no_markup(page)
        await keyboard.press("j")
        side = page.get_by_role("region", name="Item", exact=True)
        await side.get_by_text("the bad answer to 10").wait_for()
        await side.get_by_text("the good answer to 10").wait_for()
        await side.get_by_text("question 10").wait_for()
        top = await side.evaluate("each => each.getBoundingClientRect().top / innerHeight")
        assert 0 <= top < 0.6, "it was opened where the reader does not see it"
        await console.usable()
        await no_markup(page)
        await keyboard.press("j")
        await side.get_by_text("the bad answer to 11").wait_for()
        await page.reload()  # the address leads to this one item
        await side.get_by_text("the bad answer to 11").wait_for()
        assert "item=11.0" in page.url
        await page.get_by_text("30 items fit.").wait_for()
        await keyboard.press("k")
        await side.get_by_text("the bad answer to 10").wait_for()
        await keyboard.press("x")
        await side.wait_for(state="hidden")


async def test_items_by_who_is_higher(world, study):
    """The filter names each pair with its counts, and is in the address."""
    async with browsing.opened(world) as console:
        page = console.page
        await console.sign_in(world.admin)
        await console.go(f"compare?ids={','.join(study.ids[1:])}")
        await page.get_by_text("29 items fit.").wait_for()
        await page.get_by_label("Show").select_option(label="bad is higher than \u202esimilar (0)")
        await page.get_by_text("No item fits").wait_for()
        await page.get_by_label("Show").select_option(label="\u202esimilar is higher than bad (29)")
        await page.get_by_text("29 items fit.").wait_for()
        assert "where=" in page.url


async def test_what_cannot_be_compared_says_why(world, study):
    """Each pair with the exact reason; the others are compared."""
    none = await study.evaluation(await study.system("never measured"))
    async with browsing.opened(world, 390) as console:
        page = console.page
        await console.sign_in(world.admin)
        await console.go(f"compare?ids={study.ids[0]},{none}")
        await page.get_by_text("it has no measurement that this token may read").wait_for()
        await console.usable()
        await console.go(f"compare?ids={study.ids[0]},{study.ids[1]},{none}")
        await page.get_by_text("2 pairs cannot be compared").wait_for()
        await page.get_by_text("no difference shown", exact=True).wait_for()
        await console.go("compare")
        await page.get_by_role("link", name="safety cases").wait_for()
        await console.usable()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
async def test_a_leaderboard_shares_ranks(world, study, width, scheme):
    """Ties have the same ranks, whatever their scores; another reference changes what is said of it and no rank."""
    async with browsing.opened(world, width, color_scheme=scheme, reduced_motion="reduce") as console:
        page = console.page
        await console.sign_in(world.admin)
        await console.go(f"leaderboard?method={study.method}")
        await page.get_by_role("link", name=f"dataset {study.dataset[:8]}").click()
        rows = page.get_by_role("row")
        await rows.filter(has_text="the reference").first.wait_for()
        found = await page.locator("td.ranks").all_inner_texts()
        assert [re.sub(r"^Ranks\s*", "", each) for each in found] == ["1\u20132", "1\u20132", "3"]
        assert await page.get_by_text("no difference shown", exact=True).count() == 1
        await console.usable()
        await no_markup(page)
        await page.get_by_role("button", name="Compare the others with bad").click()
        await page.get_by_role("row").filter(has_text="bad").get_by_text("the reference").wait_for()
        assert await page.locator("strong", has_text="better").count() == 2
        assert [re.sub(r"^Ranks\s*", "", each) for each in await page.locator("td.ranks").all_inner_texts()] == [
            "1\u20132",
            "1\u20132",
            "3",
        ]
        assert "reference=" in page.url
        await console.usable()
