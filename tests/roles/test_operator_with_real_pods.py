"""The operator, the local cluster and the steps together: whole evaluations in real processes."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager

import anyio
import pytest

from dyff.cluster import conditions, port
from dyff.cluster.embedded import EmbeddedCluster, LocalControllers
from dyff.cluster.pods import images, kubelet
from dyff.cluster.pods.isolation import describing
from dyff.entities import registry
from dyff.kernel import clock, ids, settings
from dyff.operator import role
from dyff.operator.manifests import metadata
from tests import kinds, waiting
from tests.planning import world
from tests.workflows import runs

DEADLINE_S = 60.0
DIES = settings.Image(command=(sys.executable, "-I", "-S", "-c", "import sys; sys.exit('no weights in the image')"))


@pytest.fixture
def store(tmp_path):
    """An object store with a dataset of twenty items."""
    made = runs.Store(tmp_path / "store")
    made.dataset(runs.rows(20))
    return made


@asynccontextmanager
async def cluster_with_operator(path, store, **changes):
    """Everything that runs below the orchestrator. `changes`: of the operator's settings."""
    time = clock.SystemClock()
    operator, pods = settings.Operator(resync_s=3600, **changes), settings.Pods(images={"test/dies": DIES})
    async with (
        EmbeddedCluster.open(path / "cluster.sqlite", clock=time, ids=ids.RandomIds()) as cluster,
        anyio.create_task_group() as group,
    ):
        node = kubelet.Kubelet(cluster, cluster.pods_dir, pods, time, sandboxes=describing.UNCONFINED)
        await group.start(LocalControllers(cluster, clock=time).run)
        await group.start(node.run)

        async def operate(task_status):
            env = {"DYFF_STORAGE_URL": store.url}
            await role.run(cluster, settings=operator, storage_env=env, task_status=task_status)

        await group.start(operate)
        try:
            yield cluster
        finally:
            with anyio.CancelScope(shield=True):
                await node.stop_all(10)
            group.cancel_scope.cancel()


def an_evaluation(endpoint="v1/completions", runner=None, **entity):
    """The custom resource of an evaluation of the mock service, as the orchestrator makes it."""
    service = {"id": "5e" * 16, "interface": runs.an_interface(endpoint), "runner": runner or {"kind": "mock"}}
    whole = {"id": runs.EVALUATION, "kind": "Evaluation", "account": "test", "dataset": runs.DATASET, **entity}
    return registry.resource_for({**whole, "inferenceSession": {"inferenceService": service}})


async def ended(cluster, resource):
    """How a custom resource ends."""
    kind = kinds.EVALUATION
    await cluster.create(kind, resource)
    name = resource["metadata"]["name"]
    with anyio.move_on_after(DEADLINE_S):
        while not conditions.finished(found := await cluster.get(kind, name)):
            await waiting.a_moment()
        return next(conditions.get(found, each) for each in ("Complete", "Failed") if conditions.is_true(found, each))
    raise AssertionError(f"{found.get('status')} {[pod.get('status') for pod in (await cluster.list(port.POD)).items]}")


async def test_an_evaluation_from_dataset_to_verified_output(tmp_path, store):
    """A real service answers a real client, and what is verified has every item once."""
    async with cluster_with_operator(tmp_path, store) as cluster:
        found = await ended(cluster, an_evaluation(replications=2))
        assert found["type"] == "Complete", found
    assert runs.pairs(store.verified().to_pylist()) == runs.all_pairs(range(20), 2)


@pytest.fixture
def before(monkeypatch):
    """The operator makes its parts as the release before did: the old name of the steps, which are not marked."""
    monkeypatch.setattr(metadata, "of_pods", lambda owner, component, steps=(), of_pods=metadata.of_pods: of_pods(owner, component))
    return {"steps_image": images.STEPS_BEFORE}


async def test_what_exists_at_the_upgrade_ends_well(tmp_path, store, before):
    """Jobs and sessions that the release before made name the steps in its way, and are run to their end by this one."""
    async with cluster_with_operator(tmp_path, store, **before) as cluster:
        found = await ended(cluster, an_evaluation())
        assert found["type"] == "Complete", found
        made = [each["spec"]["template"] for each in (await cluster.list(port.JOB)).items]
    assert {each["spec"]["containers"][0]["image"] for each in made} == {"dyff/workflows/steps"}
    assert not any("dyff.io/steps" in each["metadata"]["annotations"] for each in made)


async def test_a_session_that_exists_at_the_upgrade_fetches_its_data(tmp_path, store, before):
    """A Deployment of the release before can make a pod again, whose init container is a step by the old name."""
    async with cluster_with_operator(tmp_path, store, **before) as cluster:
        found = await ended(cluster, an_evaluation(runner=a_runner("test/dies", volumeMounts=[MISSING])))
    assert (found["reason"], "never finalized" in found["message"]) == ("FetchFailed", True)


async def test_a_refused_item_fails_with_the_steps_own_sentence(tmp_path, store):
    """What the client says in its last line is what the user reads."""
    async with cluster_with_operator(tmp_path, store) as cluster:
        found = await ended(cluster, an_evaluation("errors/400"))
    assert (found["type"], found["reason"]) == ("Failed", "InferenceFailed")
    assert "badRequestPolicy" in found["message"]


def a_runner(name, **more):
    """A container runner with an image of that name."""
    return {"kind": "container", "image": {"host": "localhost", "name": name, "digest": "sha256:" + "0" * 64}, **more}


COPY = ["fetch-data", "--source", "datasets/another/", "--destination", "/tmp"]
MISSING = {"name": "weights", "mountPath": "/weights", "kind": "Data", "data": {"source": {"kind": "Model", "id": world.OTHER}}}
FAILURES = {
    "an image that is not mapped": (a_runner("test/unknown"), "ImageNotRunnable", "localhost/test/unknown"),
    "the name of our steps": (
        {"kind": "container", "image": {"host": "dyff", "name": "workflows/steps", "digest": "sha256:" + "0" * 64}, "args": COPY},
        "ImageNotRunnable",
        "Dyff's own steps",
    ),
    "the present name of our steps": (
        {"kind": "container", "image": {"host": "", "name": "built-in steps", "digest": ""}, "args": COPY},
        "ImageNotRunnable",
        "built-in steps",
    ),
    "a variable of the loader": (
        a_runner("test/dies", env=[{"name": "PYTHONPATH", "value": "/weights"}]),
        "NotSupported",
        "PYTHONPATH changes how",
    ),
    "a runner that dies": (a_runner("test/dies"), "RunnerFailed", "no weights in the image"),
    "a model that was never finalized": (a_runner("test/dies", volumeMounts=[MISSING]), "FetchFailed", "never finalized"),
}


@pytest.mark.parametrize(("runner", "want_reason", "want_message"), FAILURES.values(), ids=FAILURES)
async def test_a_service_that_cannot_run_says_why(tmp_path, store, runner, want_reason, want_message):
    """The reason of the session is that of the evaluation, with the words of what failed."""
    async with cluster_with_operator(tmp_path, store) as cluster:
        found = await ended(cluster, an_evaluation(runner=runner))
    assert (found["type"], found["reason"]) == ("Failed", want_reason)
    assert want_message in found["message"]
