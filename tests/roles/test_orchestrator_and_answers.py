"""Orchestrator and informer on an API server that answers as real ones do on bad days: for one custom resource, for a verb, for a while."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest

from dyff.cluster import conditions
from dyff.consumers import informer
from dyff.consumers.common import custom_resources
from dyff.kernel import clock, degradation, settings
from tests.cluster import standin
from tests.roles import world
from tests.roles.orchestrated import FAST, E, leading
from tests.roles.test_operator_and_answers import GATEKEEPER, KYVERNO, RBAC, REFUSALS, WEBHOOK_DOWN

IMPATIENT = msgspec.structs.replace(FAST, operator=settings.Operator(refusal_patience_s=1.0))


@asynccontextmanager
async def opened(here, tmp_path, *faults, given=FAST):
    """Both roles on a stand-in on the cluster of `here`."""
    troubles = degradation.Troubles()
    async with standin.serving(here.cluster) as server, standin.connected(server, tmp_path, troubles) as cluster:
        server.faults += faults
        async with leading(here, given, cluster=cluster), world.running(informer, here.bus, cluster, clock=here.clock):
            yield server, troubles


def about(entity_id, verb="create", place="evaluations"):
    return lambda asked: asked.verb == verb and asked.place == place and entity_id in asked.about


async def says(here, entity_id, status, reason, words):
    """Wait until the entity says so."""

    async def check():
        found = here.said(entity_id)
        return found[:2] == (status, reason) and words in (found[2] or "")

    await standin.until(check, 20.0)


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refused_custom_resource_is_the_error_of_its_entity(here, tmp_path, case):
    """The entity says what the server says and keeps its place, others are admitted meanwhile, and it is admitted when it is accepted."""
    code, reason, message = REFUSALS[case]
    async with opened(here, tmp_path) as (server, _):
        async with server.fault(about(E[1]), code, message, reason=reason):
            await here.create(world.an_evaluation(E[1]))
            await says(here, E[1], "Schedulable", "Refused", message[:60])
            before = server.count("create", "evaluations")
            await here.create(world.an_evaluation(E[2]))
            await here.until_status(E[2], "Admitted")
            # real time: requests are counted over a time
            await anyio.sleep(0.5)
            assert server.count("create", "evaluations") <= before + 6
        await here.until_status(E[1], "Admitted")
        assert here.said(E[1]) == ("Admitted", None, None)


@pytest.mark.parametrize("answer", [(403, GATEKEEPER), (400, KYVERNO)])
async def test_a_refusal_that_lasts_ends_the_entity(here, tmp_path, answer):
    """After `operator.refusal_patience_s`, with the words of the policy."""
    code, message = answer
    async with opened(here, tmp_path, given=IMPATIENT) as (server, _):
        async with server.fault(about(E[1]), code, message):
            await here.create(world.an_evaluation(E[1]))
            await here.until_status(E[1], "Error", "AdmissionFailed")
        assert message in (await here.status_changes(E[1]))[-1]["message"]


@pytest.mark.parametrize("answer", [(400, "BadRequest", "unknown field"), (413, "", "limit is 3145728"), (422, "Invalid", "spec is wrong")])
async def test_what_can_never_be_right_ends_the_entity_at_once(here, tmp_path, answer):
    """One attempt, and the server's words."""
    code, reason, message = answer
    async with opened(here, tmp_path) as (server, _):
        async with server.fault(about(E[1]), code, message, reason=reason):
            await here.create(world.an_evaluation(E[1]))
            await here.until_status(E[1], "Error", "AdmissionFailed")
        assert message in (await here.status_changes(E[1]))[-1]["message"]
        assert server.count("create", "evaluations") == 1


@pytest.mark.parametrize(
    "answer", [(403, GATEKEEPER), (403, RBAC.format("delete", "evaluations", "dyff.io")), (500, WEBHOOK_DOWN), (409, "no")]
)
@pytest.mark.parametrize("verb", ["delete", "patch"])
async def test_a_refused_deletion_holds_up_nothing_else(here, tmp_path, verb, answer):
    """The resource of an ended entity stays until its deletion and the release are allowed; others are admitted and end."""
    code, message = answer
    async with opened(here, tmp_path) as (server, _):
        await here.create(world.an_evaluation(E[1]))
        await here.until_status(E[1], "Admitted")
        async with server.fault(about(E[1], verb), code, message, reason="Forbidden" if code == 403 else ""):
            await here.set_status("Evaluation", E[1], "Terminated")
            await here.create(world.an_evaluation(E[2]))
            await here.until_status(E[2], "Admitted")

            async def is_asked():
                return server.count(verb, "evaluations") >= 2

            await standin.until(is_asked)
            assert await here.resource("Evaluation", E[1]) is not None

        async def gone():
            return await here.resource("Evaluation", E[1]) is None

        await standin.until(gone)


@pytest.mark.parametrize(
    "answer",
    [
        (404, "NotFound", "the server could not find the requested resource"),
        (403, "Forbidden", RBAC.format("list", "models", "dyff.io")),
    ],
)
async def test_a_kind_that_is_missing_holds_up_no_other_kind(here, tmp_path, answer):
    """Its definition is not installed, or its permission not granted: that is reported, and evaluations are admitted and end."""
    code, reason, message = answer
    status = {"kind": "Status", "reason": reason, "message": message}
    fault = standin.Fault(lambda asked: asked.place.startswith("models"), code, status)
    async with opened(here, tmp_path, fault) as (server, troubles):
        await here.create(
            world.entity("Model", E[1], source={"kind": "HuggingFaceHub", "huggingFaceHub": {"repoID": "a/b", "revision": "c"}})
        )
        await here.create(world.an_evaluation(E[2]))
        await here.until_status(E[2], "Admitted")
        assert [each for each in troubles.current() if "models" in each.name]
        await end(here, E[2])
        await here.until_status(E[2], "Complete")
        server.faults.remove(fault)

        async def is_over():
            return not [
                each
                for each in troubles.current()
                if each.name in ("cluster permission: list models.dyff.io", "cluster type: models.dyff.io")
            ]

        await standin.until(is_over)


async def end(here, entity_id):
    """The operator of the test ends the run."""
    resource = await here.resource("Evaluation", entity_id)
    patch = conditions.status_patch(resource, conditions.complete("Complete"), clock.SystemClock().now())
    kind = custom_resources.KINDS["Evaluation"]
    await here.cluster.patch(kind, resource["metadata"]["name"], {"status": patch}, status=True)


async def test_an_entity_says_what_the_cluster_refuses_of_its_run(here, tmp_path):
    """While a part is refused its owner sees the words of the policy; when that is over, nothing of it is left."""
    async with opened(here, tmp_path):
        await here.create(world.an_evaluation(E[1]))
        await here.until_status(E[1], "Admitted")
        for status, message in ((True, "the API server refuses Job a: owner is missing"), (False, "")):
            resource = await here.resource("Evaluation", E[1])
            condition = {"Refused": conditions.Condition(status, "Refused" if status else "Accepted", message)}
            patch = conditions.status_patch(resource, condition, clock.SystemClock().now())
            kind = custom_resources.KINDS["Evaluation"]
            await here.cluster.patch(kind, resource["metadata"]["name"], {"status": patch}, status=True)
            await says(here, E[1], "Admitted", "Refused" if status else None, message)


@pytest.mark.parametrize("code", [401, 403, 404, 429, 500, 503])
async def test_a_server_that_answers_nothing_else_for_a_while_ends_nothing(here, tmp_path, code):
    """Both roles go on when it is over, and nothing was interrupted."""
    async with opened(here, tmp_path) as (server, _):
        await here.create(world.an_evaluation(E[1]))
        await here.until_status(E[1], "Admitted")
        bad = standin.Fault(lambda asked: True, code, {"kind": "Status", "message": "no"}, {"Retry-After": "0"})
        server.faults.append(bad)
        await here.create(world.an_evaluation(E[2]))
        before = len(server.asked)
        # real time: requests are counted over a time
        await anyio.sleep(1.5)
        assert len(server.asked) - before < 150
        server.faults.remove(bad)
        await here.until_status(E[2], "Admitted")
        await end(here, E[1])
        await here.until_status(E[1], "Complete")


ANSWERS_TO_A_READ = [
    (500, "InternalError", "conversion webhook for dyff.io/v1alpha1, Kind=Evaluation failed"),
    (500, "", "etcdserver: request timed out"),
    (503, "", ""),
    (502, "", ""),
    (504, "Timeout", "the server was unable to return a response in time"),
    (410, "Gone", "gone"),
    (409, "Conflict", "no"),
    (400, "BadRequest", "no"),
    (403, "Forbidden", "no"),
    (401, "Unauthorized", "Unauthorized"),
    (200, "", ""),
    (302, "", ""),
]


@pytest.mark.parametrize(
    ("place", "answer"), [("evaluations", each) for each in ANSWERS_TO_A_READ] + [("pods", each) for each in ANSWERS_TO_A_READ[:2]]
)
async def test_a_run_that_cannot_be_read_holds_up_no_other(here, tmp_path, place, answer):
    """What the API server answers about one custom resource, or the pods of one run, says nothing about the others."""
    code, reason, message = answer

    def concerned(asked):
        if asked.place != place or asked.verb not in ("get", "list"):
            return False
        return E[1] in asked.about or E[1] in asked.query.get("labelSelector", "")

    async with opened(here, tmp_path) as (server, _):
        await here.create(world.an_evaluation(E[1]))
        await here.until_status(E[1], "Admitted")
        async with server.fault(concerned, code, message, reason=reason):
            await here.set_status("Evaluation", E[1], "Terminated")
            await here.create(world.an_evaluation(E[2]))
            await here.until_status(E[2], "Admitted")
            await end(here, E[2])
            await here.until_status(E[2], "Complete")
            before = len(server.asked)
            await anyio.sleep(1.0)  # real time: counts how often the cluster is asked again
            assert len(server.asked) - before < 60

        async def gone():
            return await here.resource("Evaluation", E[1]) is None

        await standin.until(gone)
