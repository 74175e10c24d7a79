"""A disk without space: the server serves on, takes what frees space, refuses what adds to it, and starts; nothing accepted is lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests import waiting
from tests.acceptance.conftest import Server
from tests.entities import bodies

DEADLINE_S = 60.0


def fill(disk: Path) -> Path:
    """Take all the space that is left, to the last byte."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


class Account:
    """Requests of one account."""

    def __init__(self, server: Server) -> None:
        self.account = server.command("account", "create", "--name", "auditor")
        self.token = server.command("token", "create", "--account", self.account, "--role", "Admin")
        self.accepted: list[str] = []
        self.deleted: list[str] = []

    def to(self, server: Server) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=f"{server.endpoint}", headers=headers, timeout=30.0)

    def create(self, http: httpx.Client, name: str) -> httpx.Response:
        """A dataset, which needs nothing else."""
        answer = http.post("/datasets", json={**bodies.DATASET, "account": self.account, "name": name})
        if answer.status_code in (200, 201):
            self.accepted.append(answer.json()["id"])
        return answer

    def delete(self, http: httpx.Client, entity_id: str) -> httpx.Response:
        answer = http.put(f"/datasets/{entity_id}/delete")
        if answer.status_code == 200:
            self.deleted.append(entity_id)
        return answer


def ready(http: httpx.Client) -> tuple[int, dict]:
    answer = http.get(str(http.base_url).split("/v0")[0] + "/ready")
    return answer.status_code, answer.json()


def until(condition, what: str):
    end = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen"
        waiting.a_blocking_moment(0.1)
    return found


def check_all(account: Account, server: Server, http: httpx.Client) -> None:
    """Everything that was accepted is there, and what was deleted is."""
    for entity_id in account.accepted:
        found = until(lambda each=entity_id: (got := http.get(f"/datasets/{each}")).status_code == 200 and got, "a read").json()
        assert (found["status"] == "Deleted") == (entity_id in account.deleted)
    assert server.command("verify").splitlines()[-1] == "0 differences"


@pytest.mark.acceptance
def test_a_full_disk_stops_only_what_adds_data(server_on_disk, disk):
    """Reads, deletions and readiness go on; creations are 503 and harmless; a start works; with space everything is as accepted."""
    server = server_on_disk
    server.start()
    account = Account(server)
    with account.to(server) as http:
        for number in range(10):
            created = account.create(http, f"before-{number}")
            assert created.status_code in (200, 201), created.text
        kept, gone, later = account.accepted[:3]
        until(lambda: http.get(f"/datasets/{later}").status_code == 200, "the view")
        filler = fill(disk)
        refused = [account.create(http, f"full-{number}") for number in range(5)]
        until(lambda: account.create(http, "full").status_code == 503, "a refusal")
        assert {each.status_code for each in refused} <= {200, 201, 503}
        end = time.monotonic() + 8.0
        while time.monotonic() < end:
            assert http.get(f"/datasets/{kept}").status_code == 200
            status, report = ready(http)
            assert (status, report["status"]) == (200, "degraded"), report
            # real time: the state must hold for a while in another process, which looks at its disk by its own clock
            time.sleep(0.2)
        assert "disk" in {each["name"] for each in report["degraded"]}
        assert account.delete(http, gone).status_code == 200
        until(lambda: http.get(f"/datasets/{gone}").json()["status"] == "Deleted", "the deletion")
    server.kill()
    fill(disk)
    server.start(deadline_s=DEADLINE_S)
    with account.to(server) as http:
        until(lambda: http.get(f"/datasets/{kept}").status_code == 200, "a read after a start on a full disk")
        assert account.create(http, "still-full").status_code == 503
        assert account.delete(http, later).status_code == 200
        filler.unlink()
        until(lambda: account.create(http, "after").status_code in (200, 201), "a creation")
        until(lambda: ready(http)[1]["status"] == "ok", "the end of the trouble")
        check_all(account, server, http)
    assert server.stop() == 0
    fill(disk)
    server.start(deadline_s=DEADLINE_S)
    with account.to(server) as http:
        assert http.get(f"/datasets/{kept}").status_code == 200
    assert server.stop() == 0


@pytest.mark.acceptance
def test_a_disk_that_another_program_keeps_full_ends_nothing(server_on_disk, disk):
    """It takes the reserve, too: whatever is written waits or is refused, reads go on, and with space nothing is missing."""
    server = server_on_disk
    server.start()
    account = Account(server)
    with account.to(server) as http, ThreadPoolExecutor() as others:
        for number in range(10):
            assert account.create(http, f"before-{number}").status_code in (200, 201)
        kept = account.accepted[0]
        until(lambda: http.get(f"/datasets/{account.accepted[-1]}").status_code == 200, "the view")
        over = threading.Event()
        keeping = others.submit(keep_full, disk, over)
        end = time.monotonic() + 20.0
        codes = set()
        while time.monotonic() < end:
            codes.add(account.create(http, "full").status_code)
            assert http.get(f"/datasets/{kept}").status_code == 200
            assert ready(http)[0] == 200
        assert codes <= {200, 201, 503}, codes
        assert 503 in codes
        server.kill()
        over.set()
        keeping.result().unlink()
    server.start(deadline_s=DEADLINE_S)
    with account.to(server) as http:
        until(lambda: account.create(http, "after").status_code in (200, 201), "a creation")
        until(lambda: ready(http)[1]["status"] == "ok", "the end of the trouble")
        check_all(account, server, http)
    assert server.stop() == 0


def keep_full(disk: Path, over: threading.Event) -> Path:
    """Take every byte that becomes free."""
    while not over.wait(0.02):
        filler = fill(disk)
    return filler
