"""A log of the old fold is upgraded while clients write, through SIGKILLs, and both halves of it are proved.

By default the old half is a recorded data directory of release 0.1.0. UPGRADE_FROM=/path/to/an/older/release/.venv/bin/dyff makes it with
that program, under load, instead; UPGRADE_SECONDS is the length of each phase. It must be a release before version 2 of the fold.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from dyff.client import Client
from dyff.schema import requests

from dyff.bus import envelope, topics
from tests.acceptance.conftest import DYFF, Server, plain_environment
from tests.acceptance.faults import Writer
from tests.acceptance.proof import proved
from tests.acceptance.test_kill_9 import wait_for_all
from tests.acceptance.test_migrate import OLD_ACCOUNT, recorded
from tests.engines.ports import free_port
from tests.entities import bodies
from tests.roles import log

pytestmark = pytest.mark.faults

OLD_DYFF = os.environ.get("UPGRADE_FROM")
SECONDS = float(os.environ.get("UPGRADE_SECONDS", "3"))


class Clients:
    """They create, edit and delete datasets, and create evaluations; what was acknowledged must be found at the end."""

    def __init__(self, server: Server, account: str) -> None:
        self.account = account
        token = server.command("token", "create", "--account", account, "--role", "Admin")
        self.http = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=20.0)
        self.token = token
        self.created: list[str] = []
        self.deleted: list[str] = []
        self.labels: dict[str, int] = {}
        self.tried: dict[str, int] = {}
        self.evaluations: list[str] = []
        self.service, self.dataset = "", ""
        self.failures: dict[str, int] = {}
        self.unknown = 0

    def published(self, server: Server) -> Client:
        """The published client."""
        return Client(api_token=self.token, endpoint=server.endpoint)

    def prepare(self, server: Server, prompts: Path, service_request: Callable[[str], dict]) -> None:
        """What evaluations need."""
        client = self.published(server)
        dataset = client.datasets.create_arrow_dataset(prompts, account=self.account, name="prompts")
        client.datasets.upload_arrow_dataset(dataset, prompts)
        request = requests.InferenceServiceCreateRequest.model_validate(service_request(self.account))
        self.dataset, self.service = dataset.id, client.inferenceservices.create(request).id

    @contextmanager
    def at_work(self, endpoint: str) -> Iterator[None]:
        """The requests go on during the context."""
        stop = threading.Event()
        acts = {self.create: 0.05, self.edit: 0.02, self.delete: 0.2}
        if self.service:
            acts[self.evaluate] = SECONDS / 3
        self.http.base_url = endpoint
        writers = [Writer(act, every_s=every_s, stop=stop) for act, every_s in acts.items()]
        for each in writers:
            each.start()
        try:
            yield
        finally:
            stop.set()
            for each in writers:
                each.join()
                self.failures |= each.failures
                self.unknown += each.tried - len(each.acknowledged)
        assert all(each.acknowledged for each in writers), self.failures

    def create(self, number: int) -> None:
        body = {**bodies.DATASET, "account": self.account, "name": f"d-{number}"}
        self.created.append(self._done("POST", "/datasets", body)["id"])

    def edit(self, number: int) -> None:
        if not self.created:
            return
        chosen = self.created[-1 - number % min(5, len(self.created))]
        value = self.tried[chosen] = self.tried.get(chosen, 0) + 1
        self._done("PATCH", f"/datasets/{chosen}/labels", {"labels": {"number": str(value)}})
        self.labels[chosen] = value

    def delete(self, number: int) -> None:
        if len(self.created) > 20:
            chosen = self.created[number % (len(self.created) - 10)]
            self._done("PUT", f"/datasets/{chosen}/delete")
            self.deleted.append(chosen)

    def evaluate(self, number: int) -> None:
        session = {"inferenceService": self.service}
        body = {"account": self.account, "dataset": self.dataset, "inferenceSession": session}
        self.evaluations.append(self._done("POST", "/evaluations", body)["id"])

    def _done(self, method: str, path: str, body: object = None) -> dict:
        return self.http.request(method, path, json=body).raise_for_status().json()

    def check(self) -> None:
        """Everything that was acknowledged is there."""
        for each in self.created:
            found = self._done("GET", f"/datasets/{each}")
            assert each not in self.deleted or found["status"] == "Deleted"
            if each in self.labels:
                assert self.labels[each] <= int(found["labels"]["number"]) <= self.tried[each]


@contextmanager
def killed_under_load(server: Server, clients: Clients) -> Iterator[None]:
    """It is killed while the clients are at work."""
    with clients.at_work(server.endpoint):
        # real time: clients work for that long before SIGKILL
        time.sleep(SECONDS)
        yield
        server.kill()


def report(program: str, directory: Path) -> dict:
    """What `dyff verify --json` of a program reports of a copy of the data directory."""
    copy = directory.with_name(f"copy-{Path(program).parts[-4]}")
    shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("*.lock", "pods"))
    arguments = [program, "verify", "--json", "--data-dir", str(copy)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False, env=plain_environment())
    assert result.returncode == 0, result.stdout + result.stderr
    shutil.rmtree(copy)
    return json.loads(result.stdout)


async def folded_by(directory: Path) -> list[list[int]]:
    """For each partition the versions of the fold by which its states were made, in order."""
    async with log.opened(directory / "bus.sqlite", partitions=4) as bus:
        records = await log.records(bus, topics.STATE)
    states = [(each.partition, envelope.heading(each).fold_version) for each in records if each.headers]
    return [[version for place, version in states if place == number] for number in range(4)]


def test_both_halves_are_proved(fresh, prompts, service_request):
    """The old half has the same root in both releases; each acknowledged change of either half is there after SIGKILLs; all is proved."""
    port, old = str(free_port()), Server(fresh.directory, command=OLD_DYFF or DYFF)
    if OLD_DYFF:
        old.start("--port", port)
        account = old.command("account", "create", "--name", "auditor")
    else:
        recorded(fresh.directory)
        account = OLD_ACCOUNT
    clients = Clients(old, account)
    if OLD_DYFF:
        clients.prepare(old, prompts, service_request)
        with killed_under_load(old, clients):
            pass
        assert report(DYFF, fresh.directory)["roots"]["events"] == report(OLD_DYFF, fresh.directory)["roots"]["events"]
    fresh.command("migrate", "pre")
    if OLD_DYFF:  # until `post`, one can go back
        old.start("--port", port)
        with killed_under_load(old, clients):
            pass
    for _ in range(2):
        fresh.start("--port", port)
        if not clients.service:
            clients.prepare(fresh, prompts, service_request)
        with killed_under_load(fresh, clients):
            pass
        assert fresh.command("verify").splitlines()[-1] == "0 differences"
    assert "nothing to do" in fresh.command("migrate", "post")  # the start did it, as the only process
    if OLD_DYFF:
        refused = subprocess.run(
            [OLD_DYFF, "serve", "--port", "0", "--data-dir", str(fresh.directory)], capture_output=True, text=True, check=False
        )
        assert (refused.returncode, "newer release" in refused.stderr) == (2, True), refused.stderr
    fresh.start("--port", port)
    statuses = wait_for_all(clients.published(fresh), account, set(clients.evaluations), more=clients.unknown)
    assert set(statuses.values()) == {("Complete", None)}
    clients.check()
    proved(fresh)
    assert fresh.command("verify", "--objects").splitlines()[-1] == "0 differences"
    assert fresh.stop() == 0
    assert fresh.processes() == []
    versions = anyio.run(folded_by, fresh.directory)
    assert all(each == sorted(each) for each in versions)
    assert {1, 2} == set(itertools.chain(*versions))
