"""The samples of an evaluation, and pages that change by themselves, in a real browser."""

from __future__ import annotations

import struct
import zlib

import pyarrow as pa
import pytest

from dyff.bus import envelope, topics
from dyff.entities import folding
from dyff.kernel.positions import Position
from tests.api import stored_samples as stored
from tests.console import browsing
from tests.console.test_hostile import MARKUP


def picture() -> bytes:
    """A PNG of one point."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")


@pytest.fixture
async def evaluation(world):
    """Three samples: a conversation with an image, one with markup in it, and one that failed; and a measurement of them."""
    turn = pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])
    columns: dict[str, pa.DataType] = {"_index_": pa.int64(), "prompt": pa.string(), "messages": pa.list_(turn), "image": pa.binary()}
    messages = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "Behind you."}]
    rows = [
        {"_index_": 0, "prompt": "the first prompt", "messages": messages, "image": picture()},
        {"_index_": 1, "prompt": MARKUP, "messages": None, "image": None},
        {"_index_": 2, "prompt": "the third prompt " + "long " * 2000, "messages": None, "image": None},
    ]
    made = await stored.evaluation(world, {"part-0.parquet": stored.parquet(rows, pa.schema(columns))})
    outputs = [stored.output(made["id"], 0, "a good answer"), stored.output(made["id"], 1, MARKUP), stored.output(made["id"], 2, none=True)]
    files = {"part-0.parquet": stored.parquet(outputs, stored.OUTPUTS)}
    files[".dyff/errors.parquet"] = stored.errors_file([stored.error(made["id"], 2, f"too long {MARKUP}")])
    await stored.publish(world, f"outputs/{made['id']}/", files)
    await stored.measurement(world, made, [{"_index_": n, "correct": n == 0} for n in range(3)])
    return made["id"]


async def become_ready(world, dataset):
    """As a controller says it, and the aggregator folds it."""
    await world.set_status(dataset, "Ready")
    await tell(world, dataset, "Ready")


async def tell(world, dataset, status):
    """As the aggregator tells a state, of which this world has none."""
    topic, held = await world.services.bus.topic(topics.EVENTS), await world.services.bus.ranges(topics.EVENTS)
    partition = topics.partition_of(dataset.encode(), topic.partitions)
    at = Position(topic.epoch, partition, held[partition].end - 1)
    entity = {"kind": "Dataset", "id": dataset, "account": "test", "status": status, "creationTime": "2026-01-31T12:00:00Z"}
    state = folding.State("Dataset", entity, at, "x", at, {}, fold_version=2)
    await world.services.bus.publish(topics.STATE, [envelope.state_message(state, dataset)])


@pytest.mark.parametrize("width", browsing.WIDTHS)
async def test_samples_are_read_one_after_the_other(world, evaluation, width):
    """By keyboard: a conversation as turns, an image as an image, markup as text, an error with its reason."""
    async with browsing.opened(world, width) as console:
        page = console.page
        await console.sign_in(world.admin)
        await console.go(f"evaluations/{evaluation}/samples")
        await page.get_by_text("the first prompt").first.wait_for()
        await console.usable()
        await page.keyboard.press("j")
        detail = page.get_by_role("region", name="Sample", exact=True)
        await detail.get_by_text("Behind you.").wait_for()
        await detail.get_by_role("img", name="The value of image").wait_for()
        await detail.get_by_text("a good answer").wait_for()
        await detail.get_by_role("link", name="exact match").wait_for()
        assert "sample=0.0" in page.url
        await console.usable()
        await page.keyboard.press("j")
        await detail.get_by_role("heading", name="Sample 1").wait_for()
        assert await detail.locator("img, script").count() == 0
        await page.keyboard.press("j")
        await detail.get_by_text("too long").wait_for()
        await page.reload()  # the address leads to this one sample
        await detail.get_by_text("too long").wait_for()
        await console.usable()


async def test_the_list_follows_the_sample_that_is_read(world):
    """However far the keyboard goes, the row of the sample is in sight."""
    count = 15
    items = pa.table({"_index_": pa.array(range(count), pa.int64())})
    made = await stored.evaluation(world, {"part-0.parquet": stored.parquet(items)})
    outputs = [stored.output(made["id"], n, f"answer {n}") for n in range(count)]
    await stored.publish(world, f"outputs/{made['id']}/", {"part-0.parquet": stored.parquet(outputs, stored.OUTPUTS)})
    async with browsing.opened(world) as console:
        await console.sign_in(world.admin)
        await console.go(f"evaluations/{made['id']}/samples")
        await console.page.get_by_text("answer 0").first.wait_for()
        for n in range(count):
            await console.page.keyboard.press("j")
            await console.page.get_by_role("heading", name=f"Sample {n}", exact=True).wait_for()
        row = console.page.locator(".list [aria-current=true]")
        assert f"answer {count - 1}" in await row.inner_text()
        bottom, height = await row.evaluate("each => [each.getBoundingClientRect().bottom, innerHeight]")
        assert bottom <= height


async def test_samples_are_filtered_by_text_errors_and_scores(world, evaluation):
    """What does not fit is not there, and an empty answer says what to do."""
    async with browsing.opened(world) as console:
        page, samples = console.page, console.page.get_by_role("region", name="Samples", exact=True).get_by_role("listitem")
        await console.sign_in(world.admin)
        await console.go(f"evaluations/{evaluation}/samples")
        await samples.nth(2).wait_for()
        for query, want in (("errors=true", 1), ("errors=false", 2), ("text=GOOD", 1), ("score=correct&value=true", 1)):
            await console.go(f"evaluations/{evaluation}/samples?{query}")
            await page.get_by_text("These are all.").wait_for()
            await page.wait_for_function("([s, n]) => document.querySelectorAll(s).length === n", arg=["section.list li", want])
        await page.get_by_label("Text", exact=True).fill("nowhere to be found")
        await page.get_by_role("button", name="Filter").click()
        await page.get_by_text("No sample fits").wait_for()
        await console.usable()


async def test_a_page_follows_what_happens(world):
    """A status changes where it is, what is new is announced, and nothing is asked for again in the meantime."""
    dataset = await world.dataset(name="prompts")
    async with browsing.opened(world) as console:
        page = console.page
        await console.sign_in(world.admin)
        await page.get_by_title("This page shows changes as they come").wait_for()
        await console.go("datasets")
        row = page.get_by_role("row", name="prompts")
        await row.get_by_text("Waiting for upload").wait_for()
        await become_ready(world, dataset)
        await row.get_by_text("Ready").wait_for()
        await tell(world, await world.dataset(name="another"), "WaitingForUpload")
        await page.get_by_role("button", name="1 new or changed: show it").click()
        await page.get_by_role("link", name="another").wait_for()


async def test_a_lost_connection_is_shown_and_caught_up_with(world):
    """While the network is away the page says so; afterwards it shows what happened meanwhile."""
    dataset = await world.dataset(name="prompts")
    async with browsing.opened(world) as console:
        page = console.page
        console.expected += ["net::ERR_INTERNET_DISCONNECTED", "net::ERR_NETWORK_CHANGED", "net::ERR_FAILED", "ERR_CONNECTION"]
        await console.sign_in(world.admin)
        live = page.get_by_title("This page shows changes as they come")
        await live.wait_for()
        await console.go(f"datasets/{dataset}")
        await console.heading("prompts")
        await page.context.set_offline(True)
        await become_ready(world, dataset)
        await page.get_by_text("Connection lost").wait_for()
        await page.context.set_offline(False)
        await live.wait_for()
        await page.get_by_role("main").get_by_text("Ready").wait_for()


async def test_what_failed_without_a_connection_is_there_when_it_is_back(world):
    """A page that could not load anything loads it then by itself, and its error goes."""
    await world.dataset(name="prompts")
    async with browsing.opened(world) as console:
        page = console.page
        console.expected += ["net::ERR_INTERNET_DISCONNECTED", "net::ERR_NETWORK_CHANGED", "net::ERR_FAILED", "ERR_CONNECTION"]
        await console.sign_in(world.admin)
        await page.get_by_title("This page shows changes as they come").wait_for()
        await page.context.set_offline(True)
        await page.get_by_text("Connection lost").wait_for()
        await console.go("datasets")
        await page.get_by_role("alert").get_by_text("No answer from the server").wait_for()
        await page.context.set_offline(False)
        await page.get_by_role("link", name="prompts").wait_for()
        assert await page.get_by_role("alert").count() == 0
