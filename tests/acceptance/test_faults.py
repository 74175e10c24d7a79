"""Roles, the broker and the database are killed and paused at random moments, while clients write and evaluations run."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pyarrow.dataset
import pytest
from dyff.client import Client
from dyff.schema import requests

from tests import waiting
from tests.acceptance import on_kubernetes, scraping
from tests.acceptance.deployment import ON_THE_LOCAL_CLUSTER, Deployment, Process, engines
from tests.acceptance.faults import Gremlin, Writer
from tests.acceptance.proof import proved
from tests.acceptance.test_kill_9 import wait_for_all
from tests.conftest import long_round, missing
from tests.engines import building, server
from tests.engines.catalog import RECIPES
from tests.engines.node.access import Node
from tests.engines.recipes import Unavailable

pytestmark = [pytest.mark.faults, pytest.mark.engines]

SECONDS = float(os.environ.get("FAULT_SECONDS", "40"))
SEED = int(os.environ.get("FAULT_SEED", "20261125"))
SHARING = ("aggregator", "sink")
"""Roles that share the partitions of a topic among their processes."""
EVALUATIONS = int(os.environ.get("FAULT_EVALUATIONS", "4"))


class Role:
    """A process of ours as a victim."""

    def __init__(self, process: Process) -> None:
        self.kill, self.send, self._process = process.kill, process.send, process

    def restart(self) -> None:
        """Also if it has ended by itself: in production, a service manager starts it again."""
        if not self._process.is_running:
            self._process.begin()


class Engine:
    """A server of others as a victim."""

    def __init__(self, running: server.Server) -> None:
        self._running = running

    def kill(self) -> None:
        self._running.kill()

    def restart(self) -> None:
        if not self._running.is_running:
            self._running.start()

    def send(self, number: signal.Signals) -> None:
        os.kill(self._running.pid, number)


@pytest.fixture
def own_engines(tmp_path, monkeypatch):
    """Servers of the test's own, which it may kill: name to server."""
    with ExitStack() as stack:
        found = {}
        for name in ("kafka", "secantusdb", "seaweedfs"):
            recipe = RECIPES[name]
            try:
                built = building.build(recipe)
            except Unavailable as reason:
                missing(str(reason))
            found[name] = stack.enter_context(server.running(recipe, built, tmp_path / name))
            monkeypatch.setenv(recipe.variable, found[name].address)
        yield found


class Program:
    """A program of the node, which its service manager starts again."""

    def __init__(self, node: Node, name: str) -> None:
        self._node, self._name = node, name

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    def restart(self) -> None:
        """It is, by itself."""

    def send(self, number: signal.Signals) -> None:
        with suppress(OSError, IndexError):  # it may just be starting
            os.kill(self._node.program(self._name), number)


@pytest.fixture
def on_the_local_cluster(own_engines, tmp_path):
    """All roles on them, those that need the cluster in one process; and what may be harmed."""
    folder = tmp_path / "dyff"
    folder.mkdir()
    return Deployment(folder, engines(folder), ON_THE_LOCAL_CLUSTER), {}


@pytest.fixture
def on_a_node(own_engines, node, tmp_path):
    """All roles on them, each in a process of its own and twice, with a real node; and what of that may be harmed."""
    folder = tmp_path / "dyff"
    folder.mkdir()
    with on_kubernetes.deployed(node, folder) as subject:
        yield subject, {name: Program(node, name) for name in ("kube-apiserver", "etcd", "kubelet")}


@pytest.fixture(params=[pytest.param("on_the_local_cluster", marks=long_round), "on_a_node"])
def harmed(request):
    """A deployment that runs, and victims."""
    subject, victims = request.getfixturevalue(request.param)
    try:
        subject.start()
        yield subject, victims
    finally:
        subject.kill()


def test_nothing_is_lost_and_nothing_doubled(own_engines, harmed, prompts, service_request, tmp_path):
    """After minutes of faults every evaluation has each output once, every label is the last that was acknowledged, and all agrees.

    More of it: FAULT_SECONDS, FAULT_SEED, FAULT_EVALUATIONS; and on the local cluster: DYFF_TEST_LONG=1.
    """
    deployment, more = harmed
    account = deployment.command("account", "create", "--name", "auditor")
    client = Client(api_token=deployment.command("token", "create", "--account", account), endpoint=deployment.endpoint)
    dataset = client.datasets.create_arrow_dataset(prompts, account=account, name="prompts")
    client.datasets.upload_arrow_dataset(dataset, prompts)
    service = client.inferenceservices.create(requests.InferenceServiceCreateRequest.model_validate(service_request(account)))
    session = requests.EvaluationInferenceSessionRequest(inferenceService=service.id)
    body = requests.EvaluationCreateRequest(account=account, dataset=dataset.id, inferenceSession=session)

    victims = {each.name: Role(each) for each in deployment.processes}
    victims |= {name: Engine(own_engines[name]) for name in ("kafka", "secantusdb")} | more
    gremlin = Gremlin(victims, SEED, pause_s=(0.5, 8.0), between_s=(0.5, 3.0))
    stop = threading.Event()
    quick = httpx.Client(base_url=deployment.endpoint, headers={"Authorization": f"Bearer {client._api_token}"}, timeout=20)
    labelled = Writer(lambda number: label(quick, dataset.id, number), every_s=0.05, stop=stop)
    evaluations: list[str] = [client.evaluations.create(body).id for _ in range(EVALUATIONS)]
    created = Writer(lambda _: evaluations.append(created_evaluation(quick, body)), every_s=SECONDS / EVALUATIONS, stop=stop)
    watch = scraping.Watch({each.name: each.metrics for each in deployment.processes})
    for each in deployment.processes:
        watch.look(each.name)
    with watch.watching(), gremlin.at_work():
        for each in (labelled, created):
            each.start()
        try:
            # real time: faults happen and clients work for that long, and on a busy machine until there was something to lose
            time.sleep(SECONDS)
            waiting.wait_until(
                lambda: len(labelled.acknowledged) > 20 and len(gremlin.done) >= SECONDS / 20,
                lambda: f"20 labels and some faults: {labelled.failures}",
                limit_s=10 * SECONDS,
                look_s=0.5,
            )
        finally:
            stop.set()
            for each in (labelled, created):
                each.join()
    for victim in victims.values():
        victim.restart()
    for each in deployment.processes:
        each.wait_ready(120)
        watch.look(each.name)
    done = ", ".join(f"{each.kind} {each.victim}" for each in gremlin.done)
    story = f"{done} {labelled.failures} {created.failures} (FAULT_SEED={SEED})\n{watch.story()}"

    client = Client(api_token=client._api_token, endpoint=deployment.endpoint)
    unknown = created.tried - len(created.acknowledged)
    statuses = wait_for_all(client, account, set(evaluations), more=unknown)
    assert set(statuses.values()) == {("Complete", None)}, story
    for evaluation in statuses:
        check_outputs(client, evaluation, tmp_path / evaluation)
    last = int(client.datasets.get(dataset.id).labels["number"])
    assert last in range(labelled.acknowledged[-1], labelled.tried + 1), story
    proved(deployment, story)
    assert scraping.unexplained(gremlin.done, watch.lives) == [], story
    caught_up(watch, [each.name for each in deployment.processes], story)
    assert set(deployment.stop()) == {0}


def caught_up(watch: scraping.Watch, processes: list[str], story: str) -> None:
    """The metrics of all processes say that each partition has one owner for each role, and nothing is left to do."""
    found: dict[tuple[str, str, str], list[float]] = {}

    def settled() -> bool:
        found.clear()
        found.update(scraping.lags({name: watch.look(name) for name in processes}))
        owners = {role: [len(values) for (of, *_), values in found.items() if of == role] for role in SHARING}
        return all(each and set(each) == {1} for each in owners.values()) and not any(map(sum, found.values()))

    waiting.wait_until(settled, lambda: f"a lag of zero everywhere: {found} {story}", look_s=0.5)


def label(client: httpx.Client, dataset: str, number: int) -> None:
    """Count on a label."""
    client.patch(f"/datasets/{dataset}/labels", json={"labels": {"number": str(number)}}).raise_for_status()


def created_evaluation(client: httpx.Client, body: requests.EvaluationCreateRequest) -> str:
    """The ID of one that was acknowledged."""
    return client.post("/evaluations", json=body.model_dump(mode="json")).raise_for_status().json()["id"]


def check_outputs(client: Client, evaluation: str, folder: Path) -> None:
    """Each item is answered once."""
    client.evaluations.download(evaluation, folder)
    rows = pyarrow.dataset.dataset(folder).to_table().to_pylist()
    replication = uuid.uuid5(uuid.UUID(evaluation), "0").hex
    assert sorted((row["_index_"], row["_replication_"]) for row in rows) == list(itertools.product(range(20), [replication]))
