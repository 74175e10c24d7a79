"""A new entity by the form, in a real browser: of any kind, checked by the server, and the same as a program and as a command."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import Any

import anyio
import pytest

from dyff.bus import envelope, topics
from dyff.entities import folding, registry
from dyff.kernel.positions import Position
from tests.api import stored_samples as stored
from tests.console import browsing

REFUSED = "the server responded with a status of 422"


async def tell(world, kind: str, entity_id: str, status: str) -> None:
    """As the aggregator tells a state, of which this world has none."""
    topic, held = await world.services.bus.topic(topics.EVENTS), await world.services.bus.ranges(topics.EVENTS)
    partition = topics.partition_of(entity_id.encode(), topic.partitions)
    at = Position(topic.epoch, partition, held[partition].end - 1)
    entity = {"kind": kind, "id": entity_id, "account": "test", "status": status, "creationTime": "2026-01-31T12:00:00Z"}
    await world.services.bus.publish(
        topics.STATE, [envelope.state_message(folding.State(kind, entity, at, "x", at, {}, fold_version=2), entity_id)]
    )


async def pick(page: Any, label: str, name: str) -> None:
    """Choose an entity by its name, as one does with the list below the field."""
    field = page.get_by_label(label)
    offered = "name => [...document.querySelectorAll('datalist option')].some(each => each.label.startsWith(name))"
    await page.wait_for_function(offered, arg=name)
    await field.fill(name)
    await field.blur()
    await page.get_by_role("link", name=name, exact=True).wait_for()


@pytest.mark.parametrize("width", browsing.WIDTHS)
async def test_an_evaluation_from_the_form_to_a_failing_sample(world, width):
    """References are found by name, the draft survives a reload, the page follows the run, and a failing sample can be opened."""
    dataset, service = await world.dataset(name="prompts"), await world.ready_service(name="mock")
    await world.set_status(dataset, "Ready")
    rows = [{"_index_": n, "prompt": f"prompt {n}"} for n in range(2)]
    await stored.publish(world, f"datasets/{dataset}/", {"part-0.parquet": stored.parquet(rows)})
    async with browsing.opened(world, width, color_scheme="dark" if width == 390 else "light") as console:
        page = console.page
        await console.sign_in(world.admin)
        await console.go("evaluations/new")
        await page.get_by_label("Account (required)").fill("test")
        await pick(page, "Dataset (required)", "prompts")
        await page.get_by_role("button", name="Set inference session", exact=True).click()
        await pick(page, "Inference service (required)", "mock")
        await page.get_by_label("Replications").fill("0")
        await console.usable()
        console.expected.append(REFUSED)
        await page.get_by_role("button", name="Create").click()
        await page.get_by_text("see the fields that are marked").wait_for()
        assert await page.get_by_label("Replications").get_attribute("aria-invalid") == "true"
        await console.usable()
        await page.reload()
        assert await page.get_by_label("Dataset (required)").input_value() == dataset
        await page.get_by_label("Replications").fill("1")
        await page.get_by_role("button", name="Create").click()
        await page.get_by_role("heading", name="Labels").wait_for()
        made = page.url.rpartition("/")[2]
        async with world.client() as client:
            entity = (await client.get(f"/v0/evaluations/{made}")).json()
        assert (entity["dataset"], entity["inferenceSession"]["inferenceService"]["id"]) == (dataset, service)
        outputs = [stored.output(made, 0, "a good answer"), stored.output(made, 1, none=True)]
        files = {"part-0.parquet": stored.parquet(outputs, stored.OUTPUTS)}
        files[".dyff/errors.parquet"] = stored.errors_file([stored.error(made, 1, "too long")])
        await stored.publish(world, f"outputs/{made}/", files)
        await world.set_status(made, "Complete")
        await tell(world, "Evaluation", made, "Complete")
        await page.get_by_text("Complete").first.wait_for()
        await console.go(f"evaluations/{made}/samples?errors=true")
        await page.get_by_role("button", name="prompt 1").click()
        await page.get_by_role("region", name="Sample", exact=True).get_by_text("too long").wait_for()
        await console.usable()


async def test_the_program_and_the_command_create_what_the_form_shows(world):
    """Both are run as they are copied. The token is in neither."""
    dataset, service = await world.dataset(name="pro'mp\"ts"), await world.ready_service(name="mock")
    async with browsing.opened(world) as console:
        page = console.page
        await console.sign_in(world.admin)
        await console.go("evaluations/new")
        await page.get_by_role("button", name="JSON", exact=True).click()
        body = (
            '{"account": "test", "dataset": "%s", "inferenceSession": {"inferenceService": "%s", "useSpotPods": false}, "replications": 7}'
        )
        await page.get_by_label("The request, as JSON").fill(body % (dataset, service))
        for name, command in (("Python program", [sys.executable, "-"]), ("curl command", ["bash", "-s"])):
            text = await page.get_by_role("region", name=name, include_hidden=True).text_content()
            assert text is not None
            assert world.admin not in text
            environment = {"PATH": os.environ["PATH"], "DYFF_API_TOKEN": world.admin}
            run = partial(subprocess.run, command, input=text, env=environment, capture_output=True, text=True, timeout=60)
            done = await anyio.to_thread.run_sync(run)
            assert done.returncode == 0, done.stderr + done.stdout
            assert "Evaluation" in done.stdout
        async with world.client() as client:
            found = (await client.get("/v0/evaluations", params={"orderBy": "creationTime"})).json()
        assert [each["replications"] for each in found] == [7, 7]
        assert [each["inferenceSession"]["useSpotPods"] for each in found] == [False, False]


async def test_every_kind_that_is_created_has_a_form(world):
    """From its row alone: the fields that must be there are marked, everybody can use it, and signing out forgets what was begun."""
    async with browsing.opened(world, 390) as console:
        page = console.page
        await console.sign_in(world.admin)
        for row in registry.ROWS:
            if row.creation is None:
                continue
            await console.go(f"{row.plural}/new")
            await page.get_by_label("Account (required)").fill(f"of-{row.plural}")
            await console.usable()
            assert await page.evaluate("name => sessionStorage.getItem(`dyff-draft ${name} `)", row.plural) is not None, row.name
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_label("Token", exact=True).wait_for()
        assert await page.evaluate("JSON.stringify({...sessionStorage})") == "{}"
