"""A page that stays open for a week: its memory and its elements are the same after all changes of that time."""

from __future__ import annotations

import os
from typing import Any

import pytest

from dyff.bus import envelope, topics
from dyff.entities import folding
from dyff.kernel.positions import Position
from tests.conftest import long_round
from tests.console import browsing

CHANGES = int(os.environ.get("DYFF_TEST_CHANGES", "100000"))
"""Ten a minute for a week."""
ROUND = 500
SHOWN = 40
SETTLED = 4
"""Rounds after which the page has all that it ever needs: compiled code, caches, a first set of rows that have changed."""
GROWTH_BYTES = 2 * 2**20
"""What the heap may differ by: it is measured after a collection, but not of the compiler's own."""


async def tell(world, changes: list[tuple[str, str]]) -> None:
    """As the aggregator tells states, of which this world has none: IDs of datasets and statuses."""
    topic = await world.services.bus.topic(topics.EVENTS)
    messages = []
    for entity_id, status in changes:
        at = Position(topic.epoch, topics.partition_of(entity_id.encode(), topic.partitions), 0)
        entity = {"kind": "Dataset", "id": entity_id, "account": "test", "status": status, "creationTime": "2026-01-31T12:00:00Z"}
        messages.append(envelope.state_message(folding.State("Dataset", entity, at, "x", at, {}, fold_version=2), entity_id))
    await world.services.bus.publish(topics.STATE, messages)


async def memory(page: Any) -> dict[str, float]:
    """The heap of scripts in bytes, and the numbers of nodes and of listeners, after a collection."""
    devtools = await page.context.new_cdp_session(page)
    try:
        await devtools.send("Performance.enable")
        for _ in range(2):
            await devtools.send("HeapProfiler.collectGarbage")
        found = {each["name"]: each["value"] for each in (await devtools.send("Performance.getMetrics"))["metrics"]}
    finally:
        await devtools.detach()
    return {name: found[name] for name in ("JSHeapUsedSize", "Nodes", "JSEventListeners")}


@long_round
@pytest.mark.parametrize("place", ["datasets", ""])
async def test_a_page_that_stays_open_does_not_grow(world, place):
    """A list and the overview, while entities that are shown change and others appear."""
    shown = [await world.dataset(name=str(n)) for n in range(SHOWN)]
    async with browsing.opened(world) as console:
        page = console.page
        await console.sign_in(world.admin)
        await console.go("datasets")
        await page.get_by_role("link", name=str(SHOWN - 1), exact=True).wait_for()
        seen: list[dict[str, float]] = []
        await page.evaluate("place => { location.hash = `#/${place}` }", place)
        await console.heading("Datasets" if place else "Overview")
        total = 0
        while total < CHANGES:
            others = [(world.services.ids.new(), "Created") for _ in range(ROUND - SHOWN)]
            async with page.expect_response(lambda each: "/rows" in each.url or "/overview" in each.url):
                await tell(world, [*((each, "Created") for each in shown), *others])
            total += ROUND
            seen.append(await memory(page))
        first, last = seen[min(SETTLED, len(seen) - 1)], seen[-1]
        assert len(seen) > SETTLED
        assert last["JSHeapUsedSize"] < first["JSHeapUsedSize"] + GROWTH_BYTES, (first, last)
        assert last["Nodes"] <= 1.1 * first["Nodes"], (first, last)
        assert last["JSEventListeners"] <= 1.1 * first["JSEventListeners"], (first, last)
