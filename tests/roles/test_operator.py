"""The operator as a role, on every adapter of the cluster: whole runs, failures, restarts and deletion."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from dyff.cluster import conditions, port
from dyff.entities import registry
from dyff.kernel import clock, errors, liveness
from dyff.operator import role
from tests import kinds
from tests.planning import world
from tests.roles import kubelet, operated
from tests.roles.instead import Instead

EVALUATION, SESSION, MODEL = (
    registry.RESOURCE_BY_KIND["Evaluation"],
    registry.RESOURCE_BY_KIND["InferenceSession"],
    registry.RESOURCE_BY_KIND["Model"],
)
ID, OTHER = world.ID, world.OTHER


@pytest.fixture(params=["cluster:embedded", pytest.param("cluster:kubernetes", marks=pytest.mark.engines)])
async def cluster(request, tmp_path):
    """A cluster with its controllers."""
    async with operated.ADAPTERS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
async def there(cluster):
    """The cluster with a kubelet, without an operator."""
    async with operated.Operated.open(cluster) as opened:
        yield opened


async def has(there, kind, name):
    """Whether an object exists."""
    return await there.cluster.get(kind, name) is not None


async def finalizers(there, name):
    """Of a Job."""
    return (await there.cluster.get(port.JOB, name))["metadata"].get("finalizers", [])


async def test_an_evaluation_completes(there):
    """Session, client and verification run one after the other; at the end only the finished Jobs are left, free to go."""
    async with there.operator():
        await there.create(world.an_evaluation())
        assert (await there.ended(EVALUATION, ID))["type"] == "Complete"

        async def cleaned():
            left = await there.everything(ID)
            held = [name for name in left["Job"] if "dyff.io/operator" in await finalizers(there, name)]
            return not held and set(left) == {"Evaluation", "Job", "ConfigMap", "Pod"}

        await there.until("the clean-up", cleaned)
        status = (await there.get(EVALUATION, ID))["status"]
        assert status["steps"] == {"client": "Succeeded", "verify": "Succeeded"}
        assert {each["type"]: each["status"] for each in status["conditions"]} == {"Complete": "True", "Failed": "False"}


async def test_a_model_is_fetched(there):
    """A model's fetch ends in Complete."""
    async with there.operator():
        await there.create(world.a_model())
        assert (await there.ended(MODEL, ID))["type"] == "Complete"


async def test_a_session_follows_its_pods(there):
    """Ready is True while a pod is ready, False when none is, and True again."""
    async with there.operator():
        await there.create(world.a_session())
        for play, ready in ((kubelet.READY, True), (kubelet.RUN, False), (kubelet.READY, True)):
            there.kubelet.plays["infer"] = play

            async def follows(ready=ready):
                return conditions.is_true(await there.get(SESSION, ID), "Ready") == ready

            await there.until(f"Ready={ready}", follows)


async def test_a_session_expires_by_itself(there):
    """At `expires` the session completes without anyone asking, and its pods go."""
    async with there.operator():
        soon = clock.SystemClock().now() + timedelta(seconds=1)
        await there.create(world.a_session(expires=clock.iso(soon)))
        found = await there.ended(SESSION, ID)
        assert (found["type"], found["reason"]) == ("Complete", "Expired")

        async def gone():
            return set(await there.everything(ID)) == {"InferenceSession"}

        await there.until("the end of its parts", gone)


CRASHED = {
    "phase": "Running",
    "containerStatuses": [
        {
            "name": "runner",
            "image": "",
            "imageID": "",
            "ready": False,
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "no weights"}},
        }
    ],
}


def waiting(container, reason):
    """A container that cannot start."""
    state = {"waiting": {"reason": reason, "message": "map the image"}}
    return {"phase": "Pending", "containerStatuses": [{"name": container, "image": "", "imageID": "", "restartCount": 0, "state": state}]}


FAILURES = {
    "the client is incomplete": ({"client": 20}, "Incomplete", "the last words of 20"),
    "the client crashes for ever": ({"client": 1}, "InferenceFailed", "the last words of 1"),
    "the manifest is wrong": ({"client": 78}, "SchemaError", "the last words of 78"),
    "the verification finds duplicates": ({"verify": 4}, "VerificationFailed", "the last words of 4"),
    "the verification misses items": ({"verify": 2}, "Incomplete", "the last words of 2"),
    "the runner crashes": ({"client": kubelet.RUN, "infer": CRASHED}, "RunnerFailed", "no weights"),
    "the service's image is not there": (
        {"client": kubelet.RUN, "infer": waiting("runner", "ErrImageNeverPull")},
        "ImageNotRunnable",
        "map the image",
    ),
    "the steps' image is not there": ({"client": waiting("step", "ErrImageNeverPull")}, "ImageNotRunnable", "map the image"),
}


@pytest.mark.parametrize(("plays", "want_reason", "want_message"), FAILURES.values(), ids=FAILURES)
async def test_failures(there, plays, want_reason, want_message):
    """Each failure ends the evaluation with its reason and the last words, and nothing goes on running."""
    there.kubelet.plays.update(plays)
    async with there.operator():
        await there.create(world.an_evaluation())
        found = await there.ended(EVALUATION, ID)
        assert (found["type"], found["reason"]) == ("Failed", want_reason)
        assert want_message in found["message"]

        async def stopped():
            pods = (await there.cluster.list(port.POD, {"dyff.io/id": ID})).items
            left = await there.everything(ID)
            return not {"InferenceSession", "Deployment", "Service"} & set(left) and not _live(pods)

        await there.until("the end of what ran", stopped)


def _live(pods):
    return [pod["metadata"]["name"] for pod in pods if pod.get("status", {}).get("phase", "Pending") in ("Pending", "Running")]


async def test_a_deadline_is_noticed_without_an_event(there):
    """A session that never gets ready fails when its time is up, though nothing changes."""
    there.kubelet.plays.update(infer=kubelet.RUN, client=kubelet.RUN)
    async with there.operator(session_start_deadline_s=1.0):
        await there.create(world.an_evaluation())
        found = await there.ended(EVALUATION, ID)
        assert (found["type"], found["reason"]) == ("Failed", "DeadlineExceeded")


async def test_a_lost_referenced_session_is_noticed(there):
    """An evaluation looks again when the session that it refers to fails, though the session is not its own."""
    there.kubelet.plays["client"] = kubelet.RUN
    async with there.operator():
        await there.create(world.a_session(OTHER))
        await there.create(world.an_evaluation_of_a_running_session())

        async def running():
            return await has(there, port.JOB, f"eval-{ID}-client")

        await there.until("the client", running)
        there.kubelet.plays["infer"] = kubelet.RUN
        name = f"session-{OTHER}"
        failed = {
            "type": "Failed",
            "status": "True",
            "reason": "RunnerFailed",
            "message": "by hand",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        await there.cluster.patch(kinds.INFERENCE_SESSION, name, {"status": {"conditions": [failed]}}, status=True)
        assert (await there.ended(EVALUATION, ID))["reason"] == "RunnerFailed"


PHASES = {
    "before anything": ({}, lambda: None),
    "while the session starts": ({"infer": kubelet.RUN, "client": kubelet.RUN}, lambda: f"eval-{ID}-client"),
    "while the client runs": ({"client": kubelet.RUN}, lambda: f"eval-{ID}-client"),
    "while the verification runs": ({"verify": kubelet.RUN}, lambda: f"eval-{ID}-verify"),
}


async def _reach(there, plays, job):
    """Create an evaluation and bring it to where its Job has a running pod."""
    there.kubelet.plays.update(plays)
    await there.create(world.an_evaluation())

    async def reached():
        if job is None:
            return True
        pods = (await there.cluster.list(port.POD, {"dyff.io/id": ID, "dyff.io/component": job.rpartition("-")[2]})).items
        return bool(pods) and pods[0].get("status", {}).get("phase") == "Running"

    await there.until(f"the start of {job}", reached)


@pytest.mark.parametrize(("plays", "job"), PHASES.values(), ids=PHASES)
async def test_a_restart_leads_to_the_same_end(there, plays, job):
    """The operator goes away in the middle of a phase, the world goes on without it, and a new one brings it to the end."""
    async with there.operator():
        await _reach(there, plays, job())
    there.kubelet.plays.update(infer=kubelet.READY, client=0, verify=0)
    # real time: the world goes on without an operator, at the pace of its kubelet
    await anyio.sleep(0.1)
    async with there.operator():
        assert (await there.ended(EVALUATION, ID))["type"] == "Complete"


@pytest.mark.parametrize(("plays", "job"), PHASES.values(), ids=PHASES)
async def test_deletion_in_the_middle_leaves_nothing(there, plays, job):
    """Whatever runs when an evaluation is deleted is stopped, and in the end nothing with its ID is left."""
    async with there.operator():
        await _reach(there, plays, job())
        await there.cluster.delete(kinds.EVALUATION, f"eval-{ID}")
        await there.forget(EVALUATION, ID)

        async def gone():
            return not await there.everything(ID)

        await there.until("the end of everything", gone)


async def test_a_resource_removed_by_force_leaves_nothing(there):
    """If the evaluation itself is gone, its Jobs' pods are stopped first and then our finalizer goes."""
    async with there.operator():
        await _reach(there, {"client": kubelet.RUN}, f"eval-{ID}-client")
        await there.cluster.patch(kinds.EVALUATION, f"eval-{ID}", {"metadata": {"finalizers": []}})
        await there.cluster.delete(kinds.EVALUATION, f"eval-{ID}")

        async def gone():
            return not await there.everything(ID)

        await there.until("the end of everything", gone)


async def test_it_survives_dying_after_every_single_write(there):
    """An operator that is killed after each of its writes, before it learns that it landed, still completes the evaluation."""
    await there.create(world.an_evaluation())
    lives = 0
    with anyio.fail_after(operated.DEADLINE_S):
        while not conditions.finished(await there.get(EVALUATION, ID)):
            try:
                async with anyio.create_task_group() as group:
                    await there.start_operator(group, operated.Interrupted(there.cluster, 1))
            except* errors.Fatal:  # one or several, since workers write at the same time
                lives += 1
    assert lives > 8
    assert conditions.is_true(await there.get(EVALUATION, ID), "Complete")


async def test_it_survives_lost_requests_and_lost_answers(there):
    """Writes that fail before or after they landed are tried again until everything is as it should be."""
    async with there.operator(operated.Unreliable(there.cluster)):
        await there.create(world.an_evaluation())
        assert (await there.ended(EVALUATION, ID))["type"] == "Complete"


async def test_two_operators_do_no_harm(there):
    """Two operators at once, as during a takeover, end an evaluation once."""
    async with there.operator(), there.operator():
        await there.create(world.an_evaluation())
        assert (await there.ended(EVALUATION, ID))["type"] == "Complete"


async def test_what_the_server_refuses_fails_with_its_words(there):
    """A part that the API server will never accept ends the run and names the field."""
    async with there.operator():
        await there.create(world.an_evaluation(session={"volumes": [{"kind": "Scratch", "name": "a", "mountPath": "", "capacity": "1Gi"}]}))
        found = await there.ended(EVALUATION, ID)
        assert found["reason"] == "SchemaError"
        assert "mountPath" in found["message"]


async def test_what_runs_nothing_ends_at_once(there):
    """A service has nothing to run, and says so instead of waiting for ever."""
    async with there.operator():
        await there.create(world.a_service())
        assert (await there.ended(registry.RESOURCE_BY_KIND["InferenceService"], ID))["reason"] == "NothingToRun"


@pytest.mark.parametrize(
    ("ends_with", "want"), [(0, ("Complete", "Complete")), (11, ("Failed", "OutputInvalid")), (75, ("Failed", "StoreFailed"))]
)
async def test_an_analysis_runs_to_its_end(there, ends_with, want):
    """One Job, in a network that is closed before it begins and opens to nothing; a failure that can be accidental is tried once more."""
    there.kubelet.plays["run"] = kubelet.RUN
    kind = registry.RESOURCE_BY_KIND["Analysis"]
    async with there.operator():
        await there.create(world.an_analysis())

        async def storing():
            found = await there.get(kind, ID)
            return (conditions.get(found, "Complete") or {}).get("message") == "the analysis is storing its results"

        await there.until("the progress of the analysis", storing)
        there.kubelet.plays["run"] = ends_with
        found = await there.ended(kind, ID)
    assert (found["type"], found["reason"]) == want
    [job] = (await there.cluster.list(port.JOB, {"dyff.io/id": ID})).items
    assert job["status"].get("failed", 0) == {0: 0, 11: 1, 75: 2}[ends_with]


async def test_a_strangers_job_is_neither_used_nor_removed(there):
    """A Job that has our name and is not ours ends the evaluation, and stays."""
    name, pod = f"eval-{ID}-client", {"restartPolicy": "Never", "containers": [{"name": "step", "image": "x"}]}
    template = {"metadata": {"labels": {"dyff.io/component": "client"}}, "spec": pod}
    there.kubelet.plays["client"] = kubelet.IGNORE
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template}}
    await there.cluster.create(port.JOB, job)
    async with there.operator():
        await there.create(world.an_evaluation())
        assert (await there.ended(EVALUATION, ID))["reason"] == "NameTaken"
        assert await has(there, port.JOB, name)


async def test_many_evaluations_at_once(there):
    """Evaluations do not get in each other's way."""
    names = [f"{number:032x}" for number in range(1, 11)]
    async with there.operator():
        for name in names:
            await there.create(world.an_evaluation(id=name))
        for name in names:
            assert (await there.ended(EVALUATION, name))["type"] == "Complete"


async def test_its_signs_report_a_reconciliation_that_does_not_end(there):
    """A cluster that takes a read and never answers: the sign stands still until it does, then nothing waits."""
    signs, hanging, proceed = liveness.Signs(), anyio.Event(), anyio.Event()

    async def get(kind, name):
        hanging.set()
        await proceed.wait()
        return await there.cluster.get(kind, name)

    mute = Instead(there.cluster, get=get)

    async def waiting():
        return [(sign.name, sign.waiting, sign.mark) for sign in await signs.read() if sign.waiting is not None]

    async def run(*, task_status):
        await role.run(mute, settings=operated.SETTINGS, storage_env={}, signs=signs, task_status=task_status)

    async with anyio.create_task_group() as group:
        await group.start(run)
        assert await waiting() == []
        await there.create(world.an_evaluation())
        await hanging.wait()
        assert await waiting() == [("reconciliations", "1 to look at", 0)]
        proceed.set()
        await there.until("the end of the work", lambda: _is_idle(waiting))
        group.cancel_scope.cancel()


async def _is_idle(waiting):
    return not await waiting()
