"""`dyff verify` as an administrator uses it: next to the running server, after a crash, on engines; and what it finds."""

from __future__ import annotations

import json
import os
import subprocess

import anyio
import apsw
import httpx
import pytest

from dyff.bus import port, topics
from dyff.bus.embedded import high_watermark
from dyff.kernel import mongo
from dyff.query.mongo import stored
from dyff.sdk import Client, requests
from tests.acceptance import positions
from tests.acceptance.conftest import DYFF, plain_environment, run
from tests.acceptance.deployment import Deployment, engines
from tests.roles import log

pytestmark = pytest.mark.acceptance


def services(subject, request, count: int) -> list[str]:
    """The IDs of so many new inference services, which can be read already, of an account of their own."""
    account = subject.command("account", "create", "--name", "auditor")
    token = subject.command("token", "create", "--account", account)
    client = httpx.Client(base_url=subject.endpoint, headers={"Authorization": f"Bearer {token}"})
    with client:
        bodies = [client.post("/inferenceservices", json=request(account, name=f"mock-{n}")).raise_for_status() for n in range(count)]
        found = [each.json()["id"] for each in bodies]
        client.get(f"/inferenceservices/{found[-1]}", headers=positions.of(bodies)).raise_for_status()
    return found


def test_it_is_clean_while_the_server_runs_and_after_kill_9(fresh, service_request):
    """0 differences and three equal roots at any time; the exit code says it, too."""
    fresh.start()
    services(fresh, service_request, 30)
    reported = fresh.command("verify").splitlines()
    assert reported[-1] == "0 differences"
    assert len({line.split()[-1] for line in reported[1:4]}) == 1
    assert reported[0].startswith("30 entities of ")
    fresh.kill()
    assert fresh.command("verify").splitlines()[-1] == "0 differences"
    fresh.start()
    report = json.loads(fresh.command("verify", "--json"))
    assert (report["count"], report["differences"], report["entities"]) == (0, [], 30)


def test_a_changed_byte_is_found(fresh, service_request):
    """In the view, and in the state topic: which entity, what is there, what should be; exit code 1."""
    fresh.start()
    first, second, *_ = services(fresh, service_request, 3)
    view = apsw.Connection(str(fresh.directory / "query.sqlite"))
    view.execute("UPDATE documents SET body = replace(body, 'mock-0', 'mock-1') WHERE id = ?", (first,))
    view.close()
    assert fresh.stop() == 0
    anyio.run(_replace_state, fresh.directory / "bus.sqlite", second)
    result = run("verify", "--data-dir", str(fresh.directory))
    lines = result.stdout.splitlines()
    assert (result.returncode, lines[-1]) == (1, "2 differences"), result.stderr
    reported = [f"query store: bytes: InferenceService/{first}: ", f"state topic: bytes: InferenceService/{second}: "]
    assert sorted(line.partition("there is")[0] for line in lines if "there is" in line) == reported


async def _replace_state(path, entity_id: str) -> None:
    """Write the last state of an entity again, with another byte."""
    async with log.opened(path, partitions=4) as bus:
        record = [each for each in await log.records(bus, topics.STATE) if each.key == entity_id.encode()][-1]
        value = record.value.replace(b'"name":"mock-1"', b'"name":"mock-2"')
        assert value != record.value
        await bus.publish(topics.STATE, [port.Message(record.key, value, record.headers, record.partition)])


def test_stored_files_are_compared_with_their_manifests(fresh, tmp_path):
    """Clean after an upload, while the server runs and after kill -9; a file that was cut by seven bytes is found, and what to do."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "w.bin").write_bytes(bytes(3_000_000))
    fresh.start()
    account = fresh.command("account", "create", "--name", "auditor")
    token = fresh.command("token", "create", "--account", account)
    with Client(endpoint=fresh.endpoint, api_token=token) as client:
        resources: requests.ModelResources = {"storage": "1Gi", "memory": "1Gi"}
        model = client.models.create_from_volume(folder, account=account, name="mine", resources=resources)
        client.models.upload_volume(model, folder, progress=False)
        assert client.models.get(model.id).status == "Ready"
    wanted = ["object store: 1 files of 1 manifests, 3000000 bytes", "0 differences"]
    assert [line for line in fresh.command("verify", "--objects").splitlines() if line in wanted] == wanted
    fresh.kill()
    assert fresh.command("verify", "--objects").splitlines()[-1] == "0 differences"
    (file,) = (fresh.directory / "objects/objects/models" / model.id / ".dyff/blobs").iterdir()
    os.truncate(file, 3_000_000 - 7)
    result = run("verify", "--objects", "--data-dir", str(fresh.directory))
    lines = result.stdout.splitlines()
    assert (result.returncode, lines[-1]) == (1, "1 difference"), result.stderr
    assert lines[-2].startswith(f"object store: damaged: Model/{model.id}: w.bin: there is models/{model.id}/.dyff/blobs/")
    assert lines[-2].endswith("or delete the Model and create it and upload its files again")


def test_where_there_is_nothing_nothing_is_made(tmp_path):
    """A wrong directory is an error, with exit code 2."""
    result = run("verify", "--data-dir", str(tmp_path / "none"))
    assert result.returncode == 2
    assert "there is no data of a Dyff server in" in result.stderr
    assert not (tmp_path / "none").exists()


def test_where_it_cannot_look_it_says_neither(fresh, service_request):
    """A log that lost what was acknowledged: exit code 4, which is neither clean nor a list of differences."""
    fresh.start()
    services(fresh, service_request, 1)
    assert fresh.stop() == 0
    high_watermark.HighWatermark(fresh.directory / "bus.sqlite.mark").write(1_000_000)
    result = run("verify", "--data-dir", str(fresh.directory))
    assert (result.returncode, result.stdout) == (4, "")
    assert "lost its end" in result.stderr


@pytest.mark.engines
def test_on_engines(tmp_path, service_request):
    """The same on Kafka and MongoDB, while the roles run."""
    settings = engines(tmp_path)
    deployment = Deployment(tmp_path, settings, ["api,orchestrator,informer,operator", "aggregator", "sink"])
    deployment.start()
    try:
        first, *_ = services(deployment, service_request, 10)
        assert deployment.command("verify").splitlines()[-1] == "0 differences"
        anyio.run(_change_document, settings, first)
        result = subprocess.run(
            [DYFF, "verify"], capture_output=True, text=True, timeout=120, check=False, env=plain_environment() | settings
        )
        lines = result.stdout.splitlines()
        assert (result.returncode, lines[-1]) == (1, "1 difference"), result.stderr
        assert lines[-2].startswith(f"query store: index: InferenceService/{first}: ")
    finally:
        deployment.kill()


async def _change_document(settings: dict[str, str], entity_id: str) -> None:
    """Change what queries go by."""
    connection = mongo.Connection(uri=settings["DYFF_QUERY__MONGODB__URI"], database=settings["DYFF_QUERY__MONGODB__DATABASE"])
    async with mongo.Database.open(connection, "the database") as database:
        services = database.collection(stored.collection("inferenceservices"))
        assert await services.update({"_id": entity_id}, {"$set": {"fields.name": "other"}})
