"""The operator on an API server that answers as real ones do on bad days: for one object, for one verb, for a while."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest

from dyff.cluster import conditions, port
from dyff.entities import custom_resource, registry
from dyff.kernel import degradation
from tests.cluster import standin
from tests.planning import world
from tests.roles import operated

MODEL, SESSION = registry.RESOURCE_BY_KIND["Model"], registry.RESOURCE_BY_KIND["InferenceSession"]
GATEKEEPER = 'admission webhook "validation.gatekeeper.sh" denied the request: [owner] all jobs must have an owner'
KYVERNO = 'admission webhook "validate.kyverno.svc-fail" denied the request: blocked due to the policy need-owner'
QUOTA = "is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5"
WEBHOOK_DOWN = (
    'Internal error occurred: failed calling webhook "v.example": failed to call webhook: Post "https://v.svc": connection refused'
)
VAP = "ValidatingAdmissionPolicy 'owner' with binding 'b' denied request: failed expression: false"
RBAC = 'User "system:serviceaccount:dyff:dyff-operator" cannot {} resource "{}" in API group "{}" in the namespace "dyff"'
REFUSALS = {
    "Gatekeeper": (403, "Forbidden", GATEKEEPER),
    "Kyverno": (400, "BadRequest", KYVERNO),
    "a policy with 403": (403, "Forbidden", VAP),
    "a webhook with 409": (409, "Conflict", GATEKEEPER),
    "a webhook with 404": (404, "NotFound", GATEKEEPER),
    "quota": (403, "Forbidden", QUOTA),
    "a webhook that is down": (500, "InternalError", WEBHOOK_DOWN),
    "a proxy": (403, "", "blocked by the firewall"),
    "a defect": (500, "InternalError", "runtime error: invalid memory address"),
    "RBAC": (403, "Forbidden", RBAC.format("create", "jobs", "batch")),
}


class World:
    """A stand-in with an operator on it."""

    def __init__(self, there, server, troubles):
        self.there, self.server, self.troubles = there, server, troubles

    async def condition(self, kind, entity_id, name):
        found = await self.there.get(kind, entity_id)
        return found and conditions.get(found, name)

    async def refused(self, entity_id, words, kind=MODEL):
        """Wait until the status says these words of the server, while the resource continues."""

        async def check():
            found = await self.condition(kind, entity_id, "Refused")
            return found and found["status"] == "True" and words in found["message"]

        await self.there.until(f"the status that says {words!r}", check)
        assert not conditions.finished(await self.there.get(kind, entity_id))

    async def complete(self, entity_id):
        assert (await self.there.ended(MODEL, entity_id))["type"] == "Complete"


def a_model(number):
    """A Model, and the name of its Job."""
    entity_id = f"{number:032x}"
    made = world.a_model(id=entity_id)
    made["metadata"] = {**made["metadata"], "name": custom_resource.name(MODEL, entity_id), "labels": {"dyff.io/id": entity_id}}
    return entity_id, made, f"{made['metadata']['name']}-fetch"


@asynccontextmanager
async def opened(tmp_path, *faults, **changes):
    """An operator on a stand-in, in which there are `faults` from the start. `changes`: of the operator's settings."""
    troubles = degradation.Troubles()
    async with (
        operated.embedded(tmp_path) as inner,
        standin.serving(inner) as server,
        operated.Operated.open(inner) as there,
    ):
        server.faults += faults
        async with standin.connected(server, tmp_path, troubles) as cluster, there.operator(cluster, **changes):
            yield World(there, server, troubles)


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refused_job_is_the_error_of_its_model(tmp_path, case):
    """The status says what the server says, others complete meanwhile, few requests are made, and it runs once it is accepted."""
    code, reason, message = REFUSALS[case]
    (refused_id, refused, job), (other_id, other, _) = a_model(1), a_model(2)
    async with opened(tmp_path) as it:
        async with it.server.fault(
            lambda asked: asked.verb == "create" and asked.place == "jobs" and asked.about == job, code, message, reason=reason
        ):
            await it.there.create(refused)
            await it.refused(refused_id, message[:60])
            before = it.server.count("create", "jobs", job)
            await it.there.create(other)
            await it.complete(other_id)
            # real time: requests are counted over a time
            await anyio.sleep(1.0)
            assert it.server.count("create", "jobs", job) <= before + 3
        await it.complete(refused_id)
        assert it.troubles.current() == []
        assert (await it.condition(MODEL, refused_id, "Refused"))["status"] == "False"


@pytest.mark.parametrize("case", ["Gatekeeper", "Kyverno", "a proxy"])
async def test_a_refusal_that_lasts_fails_with_the_words_of_the_policy(tmp_path, case):
    """After `operator.refusal_patience_s`, and nothing of it is left."""
    code, reason, message = REFUSALS[case]
    entity_id, resource, job = a_model(1)
    async with opened(tmp_path, refusal_patience_s=1.0) as it:
        async with it.server.fault(
            lambda asked: asked.verb == "create" and asked.place == "jobs" and asked.about == job, code, message, reason=reason
        ):
            await it.there.create(resource)
            ended = await it.there.ended(MODEL, entity_id)
        assert (ended["type"], ended["reason"]) == ("Failed", "Refused")
        assert message in ended["message"]


@pytest.mark.parametrize(
    "answer", [(422, "Invalid", VAP), (413, "RequestEntityTooLarge", "limit is 3145728"), (400, "BadRequest", "unknown field")]
)
async def test_what_can_never_be_right_fails_at_once(tmp_path, answer):
    """One attempt, and the server's words."""
    code, reason, message = answer
    entity_id, resource, job = a_model(1)
    async with opened(tmp_path) as it:
        async with it.server.fault(
            lambda asked: asked.verb == "create" and asked.place == "jobs" and asked.about == job, code, message, reason=reason
        ):
            await it.there.create(resource)
            ended = await it.there.ended(MODEL, entity_id)
        assert (ended["type"], ended["reason"]) == ("Failed", "SchemaError")
        assert message in ended["message"]
        assert it.server.count("create", "jobs", job) == 1


@pytest.mark.parametrize("verb", ["delete", "patch"])
async def test_a_refused_deletion_or_release_holds_up_nothing_else(tmp_path, verb):
    """A policy that protects one object, or a permission that is missing for it: it is retried, and done when it is allowed."""
    (_, resource, job), (other_id, other, _) = a_model(1), a_model(2)
    async with opened(tmp_path) as it:
        it.there.kubelet.plays["fetch"] = "run"
        await it.there.create(resource)
        await standin.until(lambda: it.there.cluster.get(port.JOB, job))
        async with it.server.fault(lambda asked: asked.verb == verb and asked.about == job, 403, GATEKEEPER):
            await it.there.cluster.delete(port.custom(MODEL), resource["metadata"]["name"])
            it.there.kubelet.plays["fetch"] = 0
            await it.there.create(other)
            await it.complete(other_id)
            # real time: requests are counted over a time
            await anyio.sleep(0.5)
            assert it.server.count(verb, "jobs", job) < 8

        async def gone():
            return await it.there.cluster.get(port.JOB, job) is None

        await it.there.until("the end of the Job", gone)


async def test_a_refused_status_holds_up_nothing_else(tmp_path):
    """The one resource is retried until its status can be written."""
    (entity_id, resource, _), (other_id, other, _) = a_model(1), a_model(2)
    name = resource["metadata"]["name"]
    async with opened(tmp_path) as it:
        async with it.server.fault(lambda asked: asked.place == "models/status" and asked.about == name, 403, GATEKEEPER):
            await it.there.create(resource)
            await it.there.create(other)
            await it.complete(other_id)
        await it.complete(entity_id)


async def test_a_log_that_cannot_be_read_costs_only_the_words(tmp_path):
    """The run still ends, with what is known."""
    entity_id, resource, _ = a_model(1)
    async with opened(tmp_path) as it:
        ended = {"exitCode": 65, "reason": "Error"}
        container = {"name": "step", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": ended}}
        it.there.kubelet.plays["fetch"] = {"phase": "Failed", "containerStatuses": [container]}
        async with it.server.fault(lambda asked: asked.place == "pods/log", 403, RBAC.format("get", "pods/log", "")):
            await it.there.create(resource)
            assert (await it.there.ended(MODEL, entity_id))["reason"] == "FetchFailed"


@pytest.mark.parametrize(
    "answer",
    [
        (401, "Unauthorized", "Unauthorized"),
        (403, "Forbidden", RBAC.format("list", "jobs", "batch")),
        (403, "", ""),
        (500, "", "etcdserver: leader changed"),
        (404, "NotFound", "the server could not find the requested resource"),
        (429, "TooManyRequests", "too many requests"),
        (503, "", ""),
        (502, "", ""),
        (302, "", ""),
        (410, "Expired", "too old resource version"),
        (504, "Timeout", "Too large resource version: 9, current: 7"),
        (200, "", ""),
    ],
)
@pytest.mark.parametrize("at_start", [True, False])
async def test_a_server_that_answers_nothing_else_for_a_while_ends_nothing(tmp_path, answer, at_start):
    """Whatever it says, at the start or later: few requests are made, and then everything works."""
    code, reason, message = answer
    (entity_id, resource, _), (other_id, other, _) = a_model(1), a_model(2)
    bad = standin.Fault(lambda asked: True, code, {"kind": "Status", "reason": reason, "message": message}, {"Retry-After": "0"})
    troubles = degradation.Troubles()
    async with operated.embedded(tmp_path) as inner, standin.serving(inner) as server, operated.Operated.open(inner) as there:
        if at_start:
            server.faults.append(bad)
        async with standin.connected(server, tmp_path, troubles) as cluster, anyio.create_task_group() as group:
            group.start_soon(_operate, there, cluster)
            await there.create(resource)
            if not at_start:
                assert (await there.ended(MODEL, entity_id))["type"] == "Complete"
                server.faults.append(bad)
            before = len(server.asked)
            # real time: requests are counted over a time
            await anyio.sleep(1.5)
            assert len(server.asked) - before < 150
            server.faults.remove(bad)
            await there.create(other)
            assert (await there.ended(MODEL, other_id))["type"] == "Complete"
            assert (await there.ended(MODEL, entity_id))["type"] == "Complete"
            group.cancel_scope.cancel()


async def _operate(there, cluster):
    async with anyio.create_task_group() as group:
        await there.start_operator(group, cluster)


async def test_a_missing_permission_for_one_kind_degrades_that_kind(tmp_path):
    """Models are fetched although sessions cannot get their policies; it is reported, and ends when the permission is granted."""
    entity_id, resource, _ = a_model(1)
    denied = RBAC.format("list", "networkpolicies", "networking.k8s.io")
    refused = standin.Fault(
        lambda asked: asked.place == "networkpolicies", 403, {"kind": "Status", "reason": "Forbidden", "message": denied}
    )
    async with opened(tmp_path, refused) as it:
        await it.there.create(resource)
        await it.complete(entity_id)
        assert "cluster permission: list networkpolicies.networking.k8s.io" in [each.name for each in it.troubles.current()]
        session = world.a_session()
        await it.there.create(session)

        async def is_named():
            name = "cluster permission: get networkpolicies.networking.k8s.io"
            return name in [each.name for each in it.troubles.current()]

        await it.there.until("a trouble that names the permission", is_named)
        assert await it.there.cluster.list(port.DEPLOYMENT) == port.Listing(
            (), (await it.there.cluster.list(port.DEPLOYMENT)).resource_version
        )
        it.server.faults.remove(refused)

        async def is_ready():
            return conditions.is_true(await it.there.get(SESSION, world.ID), "Ready")

        await it.there.until("the session that is ready", is_ready)
        await it.there.until("no trouble", _none(it.troubles))


def _none(troubles):
    async def check():
        return not troubles.current()

    return check


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"kind": "Status", "message": "x", "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}}),
        (504, {"kind": "Status", "message": "Too large resource version: 9, current: 7"}),
        (410, {"kind": "Status", "reason": "Gone"}),
        (400, {"kind": "Status", "message": "invalid resource version"}),
        (500, {"kind": "Status", "message": "an unknown form of it"}),
        (200, {"kind": "Status", "code": 410, "reason": "Expired"}),
        (200, {"kind": "Status", "message": "too old resource version: 1 (2)"}),
    ],
)
async def test_a_deletion_is_noticed_although_no_watch_works(tmp_path, answer):
    """A version that cannot be served leads to a new list: a Job that somebody deleted is made again."""
    code, status = answer
    _, resource, job = a_model(1)
    stream = ({"type": "ERROR", "object": status},) if code == 200 else None
    async with opened(tmp_path, standin.Fault(lambda asked: asked.verb == "watch", code, status, stream=stream)) as it:
        it.there.kubelet.plays["fetch"] = "run"
        await it.there.create(resource)
        first = await standin.until(lambda: it.there.cluster.get(port.JOB, job))
        await it.there.cluster.patch(port.JOB, job, {"metadata": {"finalizers": []}})
        await it.there.cluster.delete(port.JOB, job)

        async def again():
            found = await it.there.cluster.get(port.JOB, job)
            return found is not None and found["metadata"]["uid"] != first["metadata"]["uid"]

        await it.there.until("a new Job", again)
