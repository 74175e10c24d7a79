"""A whole server is scraped while evaluations run and after it was killed: everything of the table is there, and it says what happened."""

from __future__ import annotations

import math
import os
import signal
import socket
import time

import httpx
import pytest

from dyff.kernel.telemetry import names
from tests.acceptance.conftest import Server, eventually
from tests.narrowing import sure
from tests.telemetry.scraped import Scrape

pytestmark = pytest.mark.acceptance

REPLICATIONS = 25
"""So many that the evaluation runs for seconds, and is seen while it runs."""

NOT_HERE = {names.ACTION_ERRORS, names.RECONCILE_ERRORS, names.SCRAPE_ERRORS, names.TROUBLE, names.ADMITTED}
"""What has samples only while something runs or goes wrong. Each is listed all the same."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with an address for the probes, in place of the one that all modules share."""
    subject = Server(tmp_path_factory.mktemp("dyff") / "data", {"DYFF_PROBES__PORT": str(free_port())})
    subject.start()
    yield subject
    if subject.is_running:
        assert subject.stop() == 0


def scraped(server) -> Scrape:
    answer = httpx.get(f"http://127.0.0.1:{server.settings['DYFF_PROBES__PORT']}/metrics", timeout=30)
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)


def until(server, condition) -> Scrape:
    """The first scrape of which the condition holds."""
    end = time.monotonic() + 120
    while not condition(found := scraped(server)):
        assert time.monotonic() < end, sorted(found.samples.items(), key=str)
        time.sleep(0.1)  # real time: another process is asked again
    return found


@pytest.fixture(scope="module")
def evaluation(server, client, account, dataset, service) -> str:
    """An evaluation that is Complete. While it ran, its account had something admitted, and it had a pod."""
    body = {"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}, "replications": REPLICATIONS}
    made = client.evaluations.create(body)
    until(server, lambda each: each.value(names.ADMITTED, account=account) == 1 and each.total(names.PODS, state="Running"))
    done = eventually(lambda: client.evaluations.get(made.id), "Complete").id
    until(server, lambda each: each.value(names.ADMITTED, account=account) is None)
    return done


def test_every_metric_of_the_table_is_exposed_and_no_other(server, evaluation, token):
    """With a value that makes sense after one evaluation. What counts errors is listed, without samples."""
    found = until(server, lambda each: each.value(names.ITEMS))
    assert set(found.types) == set(names.BY_NAME)
    for metric in names.METRICS:
        samples = found.of(metric)
        assert found.types[metric.name] == metric.type
        assert samples or metric.name in NOT_HERE, metric.name
        assert all(math.isfinite(value) and value >= 0 for value in samples.values()), metric.name
        labels = {label for each in samples for label, _ in each if label} - {"le"}
        assert labels <= set(metric.labels), metric.name
    assert not any(evaluation in str(key) for key in found.samples)


def test_the_values_say_what_the_evaluation_did(server, evaluation, dataset):
    """Items, steps, states, requests: as many as there were."""
    found = until(server, lambda each: each.value(names.ITEMS) and each.value(names.ITEMS_LEFT) == 0)
    assert found.value(names.ITEMS) == 20 * REPLICATIONS
    assert found.value(names.ITEM_ERRORS) == 0
    for step in ("client", "verify"):
        assert found.value(f"{names.STEP_DURATION}_count", component=step, result="succeeded") == 1
        assert found.value(f"{names.STEP_DURATION}_count", component=step, result="failed") == 0
    assert found.value(names.HTTP_REQUESTS, method="POST", route="/v0/evaluations", status="201") == 1
    assert found.value(f"{names.HTTP_DURATION}_count", method="POST", route="/v0/evaluations") == 1
    assert found.value(names.CHANGES, role="informer", kind="Evaluation", status="Complete", reason="") == 1
    assert found.value(names.CHANGES, role="orchestrator", kind="Evaluation", status="Admitted", reason="") == 1
    until(server, lambda each: each.total(names.LAG) == 0)
    assert found.total(names.FOLDED, outcome="applied") >= 5
    assert found.total(names.SUNK, result="written") >= 5
    assert found.value(f"{names.PUBLISH_DURATION}_count", role="api", outcome="unknown") == 0
    assert sure(found.value(names.RELAYED)) >= 2
    assert found.value(names.PHASE, role="api", phase="ready") == 1
    assert found.total(names.RESTARTS) == 0
    assert sure(found.value(names.LOG_BYTES)) > 1000
    assert sure(found.value(names.DISK_FREE)) <= sure(found.value(names.DISK_SIZE))


def test_an_operator_reads_the_same_on_the_address_of_the_api(server, token, account):
    """With a token that grants everything; anybody else is refused."""
    url = f"{server.endpoint.removesuffix('/v0')}/metrics"
    answer = httpx.get(url, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert Scrape(answer.text).types.keys() == set(names.BY_NAME)
    assert httpx.get(url).status_code == 401
    plain = server.command("token", "create", "--account", account)
    assert httpx.get(url, headers={"authorization": f"Bearer {plain}"}).status_code == 403


def test_a_pause_and_a_kill_show(server, client, account, dataset, service, evaluation):
    """A pause of the process is a late event loop; after a kill the process is younger, and counts only what it does itself."""
    before = scraped(server)
    late = lambda each: each.value(f"{names.LOOP_DELAY}_count") - each.value(f"{names.LOOP_DELAY}_bucket", le="1.0")  # noqa: E731
    os.kill(server._process.pid, signal.SIGSTOP)
    time.sleep(3.5)  # real time: a pause that the metrics must show
    os.kill(server._process.pid, signal.SIGCONT)
    until(server, lambda each: late(each) > late(before))
    server.kill()
    server.start()
    after = scraped(server)
    assert sure(after.value("process_start_time_seconds")) > sure(before.value("process_start_time_seconds"))
    assert after.value(names.ITEMS) == 0
    assert after.total(f"{names.STEP_DURATION}_count") == 0
    assert after.value(names.PHASE, role="orchestrator", phase="ready") == 1
