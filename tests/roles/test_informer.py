"""The informer on an embedded log and an embedded cluster, and its table."""

from __future__ import annotations

import anyio
import pytest

from dyff.consumers import informer
from dyff.consumers.common import custom_resources
from dyff.entities import custom_resource, registry
from tests.narrowing import sure
from tests.roles import world

E = [world.an_id(number) for number in range(10)]


@pytest.fixture
async def here(tmp_path):
    """A world with an evaluation that runs."""
    async with world.installation(tmp_path) as made:
        await made.create(world.an_evaluation(E[1], "Admitted"))
        await made.cluster.create(custom_resources.KINDS["Evaluation"], registry.resource_for(world.an_evaluation(E[1])))
        yield made


def informing(here):
    """The informer, while the context lasts."""
    return world.running(informer, here.bus, here.cluster, clock=here.clock)


def having(*names, status="True", **fields):
    """A resource with these conditions."""
    return {"status": {"conditions": [{"type": name, "status": status, **fields} for name in names]}}


@pytest.mark.parametrize(
    ("kind", "resource", "want"),
    [
        ("Evaluation", {}, None),
        ("Evaluation", {"status": {}}, None),
        ("Evaluation", having("Complete", "Failed", status="False"), None),
        ("Evaluation", having("Complete", "Failed", status="Unknown"), None),
        ("Evaluation", having("Ready"), None),
        ("Evaluation", having("Complete", reason="Complete", message=""), ("Complete", None, None)),
        ("Evaluation", having("Complete", reason="Skipped", message=""), ("Complete", "Skipped", None)),
        ("Evaluation", having("Complete", reason="", message="x"), ("Complete", None, "x")),
        ("Evaluation", having("Failed", reason="Unverified", message="3 rows"), ("Failed", "Unverified", "3 rows")),
        ("Evaluation", having("Complete", "Failed"), ("Failed", None, None)),
        ("InferenceSession", having("Ready", reason="Ready"), None),
        ("InferenceSession", having("Complete", reason="Expired"), ("Terminated", "Expired", None)),
        ("InferenceSession", having("Failed", reason="ImageNotRunnable"), ("Error", "ImageNotRunnable", None)),
        ("Model", having("Complete", reason="Complete"), ("Ready", None, None)),
        ("Model", having("Failed", reason="FetchFailed"), ("Error", "FetchFailed", None)),
    ],
)
def test_what_conditions_mean(kind, resource, want):
    """Only a condition that is true ends a run, what failed never counts as complete, and a reason that tells nothing is none."""
    ended = informer.how_ended(sure(registry.BY_KIND[kind].run).ended, resource)
    assert (ended and (ended.status, ended.reason, ended.message)) == want


async def test_the_end_of_a_run_is_reported_once(here):
    """The condition becomes a status; seeing it again, also after a restart, says nothing more."""
    async with informing(here):
        await here.set_condition("Evaluation", E[1], "Complete", message="210 rows")
        await here.until_status(E[1], "Complete", None)
    for _ in range(2):
        async with informing(here):
            await here.set_condition("Evaluation", E[1], "Complete", message="again")
            # real time: nothing reports that something does not happen
            await anyio.sleep(0.1)
    assert await here.reported(E[1]) == [("Complete", None)]


async def test_what_ended_while_nobody_looked_is_reported_at_the_start(here):
    """The informer compares what is, so nothing that happened before it started is lost."""
    await here.set_condition("Evaluation", E[1], "Failed", reason="Unverified")
    async with informing(here):
        await here.until_status(E[1], "Failed", "Unverified")


async def test_two_informers_say_what_one_says(here):
    """The same decision has the same ID, so that a second informer changes nothing."""
    async with informing(here), informing(here):
        await here.set_condition("Evaluation", E[1], "Failed", reason="Unverified")
        await here.until_status(E[1], "Failed", "Unverified")
        at = here.folded.get(E[1]).status_source
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.2)
    assert here.folded.get(E[1]).status_source == at
    assert set(await here.reported(E[1])) == {("Failed", "Unverified")}


@pytest.mark.parametrize("status", ["Terminated", "Deleted", "Failed"])
async def test_what_ended_otherwise_is_not_touched(here, status):
    """A late `Complete` does not follow another end."""
    await here.set_status("Evaluation", E[1], status, "Why")
    async with informing(here):
        await here.set_condition("Evaluation", E[1], "Complete")
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.2)
    assert here.said(E[1])[:2] == (status, "Why")
    assert await here.reported(E[1]) == [(status, "Why")]


async def test_a_part_of_a_workflow_says_nothing_about_an_entity(here):
    """The session that an evaluation has for itself carries the evaluation's ID, but its end is not the evaluation's."""
    part = registry.resource_for(world.a_session(E[1]))
    part["metadata"] |= {"name": f"eval-{E[1]}-infer", "labels": custom_resource.labels("Evaluation", "infer", "acme", E[1])}
    await here.cluster.create(custom_resources.KINDS["InferenceSession"], part)
    status = {"status": having("Failed", reason="SessionExpired")["status"]}
    await here.cluster.patch(custom_resources.KINDS["InferenceSession"], part["metadata"]["name"], status, status=True)
    async with informing(here):
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.2)
    assert here.said(E[1]) == ("Admitted", None, None)


async def test_a_resource_that_nobody_knows_is_passed_over(here):
    """A resource without an entity does not disturb the others."""
    await here.cluster.create(custom_resources.KINDS["Evaluation"], registry.resource_for(world.an_evaluation(E[2])))
    await here.set_condition("Evaluation", E[2], "Complete")
    async with informing(here):
        await here.set_condition("Evaluation", E[1], "Complete")
        await here.until_status(E[1], "Complete")
    assert here.folded.get(E[2]) is None
