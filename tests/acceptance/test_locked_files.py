"""Another program locks a database of the data directory: nothing ends, what is refused is certainly not done, all continues afterwards."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import waiting
from tests.acceptance.conftest import Server
from tests.entities import bodies

DEADLINE_S = 60.0
HELD = {"DYFF_API__PUBLISH_TIMEOUT_S": "2", "DYFF_SUPERVISION__WINDOW_S": "600", "DYFF_SUPERVISION__MAX_FAILURES": "2"}
"""Refusals come soon, and a role that failed twice would end the server."""


@contextlib.contextmanager
def locked(file: Path, how: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Hold the lock of a database, as a backup tool or a shell does."""
    other = sqlite3.connect(file, isolation_level=None, timeout=DEADLINE_S)
    try:
        other.execute(how)
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


class Person:
    """Who uses the server meanwhile."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.account = server.command("account", "create", "--name", "auditor")
        token = server.command("token", "create", "--account", self.account, "--role", "Admin")
        self.http = httpx.Client(base_url=server.endpoint, headers={"Authorization": f"Bearer {token}"}, timeout=30.0)

    def create(self, name: str) -> httpx.Response:
        return self.http.post("/datasets", json={**bodies.DATASET, "account": self.account, "name": name})

    def names(self) -> set[str]:
        return {each["name"] for each in self.http.get("/datasets").raise_for_status().json()}

    def ready(self) -> tuple[int, dict[str, Any]]:
        answer = self.http.get(self.server.endpoint.split("/v0")[0] + "/ready")
        return answer.status_code, answer.json()

    def troubles(self) -> set[str]:
        return {each["name"] for each in self.ready()[1]["degraded"]}

    def failures(self) -> dict[str, int]:
        return {name: role["failures"] for name, role in self.ready()[1]["roles"].items() if role["failures"]}


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen"
        waiting.a_blocking_moment(0.1)
    return found


@pytest.fixture
def person(make_server):
    server = make_server("data", HELD)
    server.start()
    found = Person(server)
    with found.http:
        yield found


@pytest.fixture(scope="module")
def at_a_start(tmp_path_factory):
    """For tests that stop and start the server themselves."""
    server = Server(tmp_path_factory.mktemp("locked") / "data", HELD)
    server.start()
    try:
        found = Person(server)
        with found.http:
            yield found
    finally:
        if server.is_running:
            server.kill()


@pytest.mark.acceptance
@pytest.mark.parametrize("how", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_locked_view_is_late_and_nothing_else(person, how):
    """What is written is accepted and appears when the lock is gone. No role fails, and `/ready` names the lock."""
    with locked(person.server.directory / "query.sqlite", how):
        assert person.create("during").status_code == 201
        until(lambda: "lock on the query store" in person.troubles(), "a report")
        assert person.create("later").status_code == 201
        assert "during" not in person.names()
        assert (person.ready()[0], person.failures()) == (200, {})
    until(lambda: {"during", "later"} <= person.names(), "the view")
    until(lambda: not person.troubles(), "the end of the trouble")
    assert person.failures() == {}


@pytest.mark.acceptance
def test_a_locked_log_refuses_certainly(person):
    """A refusal is a 503 with `Retry-After`, and what was refused was never done; reads are answered meanwhile."""
    assert person.create("before").status_code == 201
    until(lambda: "before" in person.names(), "the view")
    with locked(person.server.directory / "bus.sqlite"):
        refused = [person.create(f"refused-{number}") for number in range(3)]
        assert [(each.status_code, "retry-after" in each.headers) for each in refused] == [(503, True)] * 3
        assert "locked" in refused[0].json()["detail"]
        assert person.names() == {"before"}
        assert (person.ready()[0], person.failures()) == (200, {})
        assert "lock on the log" in person.troubles()
    until(lambda: not person.troubles(), "the end of the trouble, which no request waits for")
    assert person.create("after").status_code == 201
    until(lambda: "after" in person.names(), "the view")
    assert person.names() == {"before", "after"}


@pytest.mark.acceptance
def test_a_locked_accounts_database_refuses_changes_only(person):
    """Tokens are checked as before; a new one is refused; the relay of changes waits and does not fail."""
    with locked(person.server.directory / "accounts.sqlite"):
        refused = person.server.refused("token", "create", "--account", person.account)
        assert "locked" in refused
        assert person.create("during").status_code == 201
        assert (person.ready()[0], person.failures()) == (200, {})
    person.server.command("token", "create", "--account", person.account)
    until(lambda: not person.troubles(), "the end of the trouble")
    assert person.failures() == {}


@pytest.mark.acceptance
@pytest.mark.parametrize("file", ["bus.sqlite", "query.sqlite", "accounts.sqlite", "cluster.sqlite"])
@pytest.mark.parametrize("how", ["BEGIN IMMEDIATE", "PRAGMA locking_mode=EXCLUSIVE"], ids=["writers", "readers too"])
def test_a_start_waits_for_a_lock(at_a_start, file, how):
    """It says which file is locked, and serves when the lock is gone: nothing has to be started again by a person."""
    person, server = at_a_start, at_a_start.server
    assert server.stop() == 0
    said = len(server.log.read_text())
    with contextlib.ExitStack() as stack:
        other = sqlite3.connect(server.directory / file, isolation_level=None)
        stack.callback(other.close)
        if how.startswith("PRAGMA"):
            other.execute(how)
        other.execute("BEGIN IMMEDIATE")
        starting = threading.Thread(target=server.start, kwargs={"deadline_s": DEADLINE_S})
        starting.start()
        stack.callback(starting.join)
        until(lambda: "another program has locked" in server.log.read_text()[said:] or not starting.is_alive(), "a report")
        assert server.is_running  # it waits, or it serves: to read a view whose writers are locked out it needs no lock
        other.execute("ROLLBACK")
        other.close()
    assert server.is_running
    person.http.base_url = server.endpoint
    assert person.create("after").status_code == 201
