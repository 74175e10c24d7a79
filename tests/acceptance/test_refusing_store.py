"""A store that refuses one object, or everything for a while, with what real stores are known to answer: no role ends, all recovers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from dyff.objects import layout
from tests import waiting
from tests.acceptance.conftest import Server
from tests.entities import bodies
from tests.objects import faulty

DEADLINE_S = 30.0
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "DYFF_API__FINALIZE_WAIT_S": "0",
    "DYFF_SUPERVISION__MAX_FAILURES": "1",
}
"""A role that fails once through its own fault ends the server."""


class Auditor:
    """Makes and finalizes datasets."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.account = server.command("account", "create", "--name", "auditor")
        token = server.command("token", "create", "--account", self.account, "--role", "Admin")
        self.http = httpx.Client(base_url=server.endpoint, headers={"Authorization": f"Bearer {token}"}, timeout=60.0, trust_env=False)

    def uploaded(self, name: str) -> str:
        made = self.http.post("/datasets", json={**bodies.DATASET, "account": self.account, "name": name}).raise_for_status().json()["id"]
        until(lambda: self.http.get(f"/datasets/{made}").status_code == 200, "the view")
        signed = self.http.get(f"/datasets/{made}/upload/part-0.parquet").raise_for_status().json()
        httpx.put(signed["url"], content=bodies.ROWS, headers=signed["headers"], trust_env=False).raise_for_status()
        return made

    def finalize(self, entity_id: str) -> httpx.Response:
        return self.http.post(f"/datasets/{entity_id}/finalize")

    def entity(self, entity_id: str) -> dict[str, Any]:
        return self.http.get(f"/datasets/{entity_id}").raise_for_status().json()

    def report(self) -> dict[str, Any]:
        return self.http.get(str(self.http.base_url).split("/v0")[0] + "/ready").json()


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen"
        waiting.a_blocking_moment(0.1)
    return found


@pytest.fixture(scope="module")
def store():
    with faulty.a_store() as state:
        yield state


@pytest.fixture(scope="module")
def auditor(store, tmp_path_factory):
    """Of a server that all answers are tried on, one after the other: it must outlive each of them."""
    objects = {"DYFF_OBJECTS__URL": f"s3://bucket?endpoint={store.url}&timeout_s=3&ambient=true"}
    server = Server(tmp_path_factory.mktemp("refused") / "data", SETTINGS | objects)
    server.start()
    try:
        found = Auditor(server)
        with found.http:
            yield found
        assert server.stop() == 0
    finally:
        if server.is_running:
            server.kill()


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (403, "RequestTimeTooSkewed"),
        (403, "InvalidAccessKeyId"),
        (400, "ExpiredToken"),
        (404, "NoSuchBucket"),
        (403, "InvalidObjectState"),
        (503, "SlowDown"),
        (500, "InternalError"),
        (301, "PermanentRedirect"),
        (418, "SomethingNew"),
    ],
)
def test_one_object_is_refused_for_a_while(store, auditor, status, code):
    """Its dataset waits, and becomes ready when the store answers again; another one is ready meanwhile. Nothing ends."""
    one, other = auditor.uploaded("one"), auditor.uploaded("other")
    (staged,) = [each for each in store.objects if one in each]
    store.refusals[staged] = (status, code)  # this request: its answer says why
    refused = auditor.finalize(one)
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True), refused.text
    key = layout.root("datasets", one)
    store.refusals = {key: (status, code)}  # this object: what was accepted waits
    assert auditor.finalize(one).status_code in (200, 503)
    assert auditor.finalize(other).status_code in (200, 503)  # accepted, and not sealed yet
    until(lambda: auditor.entity(other)["status"] == "Ready", "the other dataset")
    until(lambda: len([each for each in store.requests if key in each]) > 1, "an attempt")
    waiting = until(lambda: (found := auditor.entity(one)).get("message") and found, "a word to its owner")
    assert (waiting["status"], waiting["reason"]) == ("WaitingForUpload", "Finalizing")
    assert "tried again" in waiting["message"]
    assert store.url not in waiting["message"] or 300 < status < 400
    report = auditor.report()
    assert {name: role["failures"] for name, role in report["roles"].items() if role["failures"]} == {}
    assert auditor.server.is_running
    store.refusals = {}
    auditor.finalize(one)
    until(lambda: auditor.entity(one)["status"] == "Ready", "recovery")
