"""`dyff replay` next to running servers: reads stay right, whatever happens to the replay; embedded and on engines."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from typing import Any

import apsw
import httpx
import pytest

from tests.acceptance import positions
from tests.acceptance.conftest import DYFF, Server, plain_environment
from tests.acceptance.deployment import Deployment, engines
from tests.acceptance.proof import proved

pytestmark = pytest.mark.acceptance

SEED = int(os.environ.get("FAULT_SEED", "20261126"))
KILLS = int(os.environ.get("FAULT_KILLS", "4"))
SERVICES = 25


@pytest.fixture(params=["embedded", pytest.param("engines", marks=pytest.mark.engines)])
def subject(request, tmp_path):
    """One server, or all roles on engines, of api and sink two."""
    if request.param == "embedded":
        found: Any = Server(tmp_path / "data")
    else:
        found = Deployment(tmp_path, engines(tmp_path), ["api,orchestrator,informer,operator", "aggregator", "sink", "sink"])
    found.start()
    yield found
    found.kill()


class Client:
    """Makes services, and reads them without a pause; `wrong` is what was read and is not right."""

    def __init__(self, subject, request) -> None:
        self.account = subject.command("account", "create", "--name", "auditor")
        token = subject.command("token", "create", "--account", self.account)
        self._connect = lambda: httpx.Client(base_url=subject.endpoint, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        self.wrong: list[str] = []
        self.reads = 0
        with self._connect() as client:
            answers = [client.post("/inferenceservices", json=request(self.account, name=f"mock-{n}")) for n in range(SERVICES)]
            self.ids = [each.raise_for_status().json()["id"] for each in answers]
            client.get(f"/inferenceservices/{self.ids[0]}", headers=positions.of(answers)).raise_for_status()
        self._written = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._write, self._read)]

    def __enter__(self):
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()

    def _write(self) -> None:
        """Count on a label, and read it back at once."""
        with self._connect() as client:
            while not self._stop.wait(0.02):
                number = self._written + 1
                place = f"/inferenceservices/{self.ids[0]}"
                answer = client.patch(f"{place}/labels", json={"labels": {"number": str(number)}}).raise_for_status()
                found = client.get(place, headers=positions.of([answer])).raise_for_status().json()
                if found["labels"].get("number") != str(number):
                    self.wrong.append(f"wrote {number}, read {found['labels']}")
                self._written = number

    def _read(self) -> None:
        """Everything is there at any time, and what was read before is not undone."""
        last = 0
        with self._connect() as client:
            while not self._stop.is_set():
                least = max(last, self._written)
                found = client.get("/inferenceservices", params={"account": self.account, "limit": 100}).raise_for_status().json()
                seen = {each["id"]: each for each in found}
                one = client.get(f"/inferenceservices/{self.ids[0]}").raise_for_status().json()
                numbers = [int(each["labels"].get("number", 0)) for each in (seen.get(self.ids[0], {"labels": {}}), one)]
                if set(seen) != set(self.ids) or not least <= numbers[0] <= numbers[1]:
                    self.wrong.append(f"{len(seen)} of {SERVICES}; {numbers}, after {least}")
                last = numbers[1]
                self.reads += 1


def begun(subject) -> subprocess.Popen[str]:
    """A replay that runs."""
    where = ["--data-dir", str(subject.directory)] if isinstance(subject, Server) else []
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([DYFF, "replay", *where], env=plain_environment() | subject.settings, **pipes)


def test_reads_stay_right_during_replays_and_when_they_are_killed(subject, service_request):
    """Nothing older, nothing missing, each write is read back; kill -9 of the replay costs nothing; all is proved at the end."""
    moments = random.Random(SEED)
    with Client(subject, service_request) as client:
        for _ in range(2):
            assert "the new query store is in use" in subject.command("replay")
        for _ in range(KILLS):
            killed = begun(subject)
            # real time: SIGKILL comes at a random moment of a replay
            time.sleep(moments.uniform(0.3, 6.0 if isinstance(subject, Deployment) else 1.2))
            killed.kill()
            killed.communicate()
        assert "the new query store is in use" in subject.command("replay")
        assert client.reads > 20
    assert client.wrong == [], f"FAULT_SEED={SEED}"
    proved(subject)


def test_of_two_at_once_one_refuses(subject, service_request):
    """It says why, with exit code 3; the other one does its work."""
    with Client(subject, service_request) as client:
        both = [begun(subject) for _ in range(6)]
        ends = [(*each.communicate(timeout=100), each.returncode) for each in both]
    codes = [code for _, _, code in ends]
    assert set(codes) == {0, 3}, ends
    assert all("being rebuilt by another process" in reported for _, reported, code in ends if code == 3)
    assert client.wrong == []
    proved(subject)


def test_a_spoilt_view_is_repaired_without_a_server(fresh, service_request):
    """The next server serves the new one."""
    fresh.start()
    with Client(fresh, service_request) as client:
        pass
    assert fresh.stop() == 0
    view = apsw.Connection(str(fresh.directory / "query.sqlite"))
    view.execute("DELETE FROM documents WHERE rowid % 2; UPDATE documents SET body = '{}'")
    view.close()
    assert f"{SERVICES} documents in " in fresh.command("replay")
    proved(fresh)
    fresh.start()
    with client._connect() as connection:
        found = connection.get("/inferenceservices", params={"account": client.account, "limit": 100}).json()
    assert {each["id"] for each in found} == set(client.ids)
