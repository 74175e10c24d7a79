"""A disk without space while workflows run: sessions answer, evaluations wait, and all of them complete once there is space."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from dyff.sdk import Client
from tests.acceptance.conftest import Server
from tests.acceptance.proof import proved
from tests.acceptance.test_full_disk import DEADLINE_S, fill, until

pytestmark = pytest.mark.faults

EVALUATIONS = int(os.environ.get("FAULT_EVALUATIONS", "4"))
FULL_S = float(os.environ.get("FULL_DISK_S", "10"))
ENDED = {"Complete", "Failed", "Error", "Terminated"}


class Caller(threading.Thread):
    """Calls a session again and again: how often it was answered, and what else happened."""

    def __init__(self, session: Any) -> None:
        super().__init__(name="caller")
        self._session, self.over = session, threading.Event()
        self.answered, self.failures = 0, Counter[str]()

    def run(self) -> None:
        while not self.over.wait(0.1):
            try:
                assert self._session.infer({"text": "hello"})[0]["text"]
            except Exception as error:  # counted
                self.failures[f"{type(error).__name__}: {error}"[:200]] += 1
            else:
                self.answered += 1

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        self.start()
        try:
            yield
        finally:
            self.over.set()
            self.join()


def statuses(client: Client, account: str) -> dict[str, tuple[str, str | None, str | None]]:
    return {each.id: (each.status, each.reason, each.message) for each in client.evaluations.query(account=account)}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "killed while full"])
def test_sessions_run_on_and_evaluations_complete(server_on_disk: Server, disk, prompts, service_request, restarted):
    """On a full disk each call of a session is answered, no evaluation fails, and with space all complete and everything is proved."""
    server = server_on_disk
    server.start()
    account = server.command("account", "create", "--name", "auditor")
    token = server.command("token", "create", "--account", account, "--role", "Admin")
    client = Client(endpoint=server.endpoint, api_token=token)
    dataset = client.datasets.create_arrow_dataset(prompts, account=account, name="prompts")
    client.datasets.upload_arrow_dataset(dataset, prompts)
    service = client.inferenceservices.create(service_request(account))
    client.inferenceservices.wait(service.id, progress=False)
    made = client.inferencesessions.create({"account": account, "inferenceService": service.id})
    session = client.inferencesessions.wait(made.inferencesession.id, progress=False)
    interface = session.inferenceService.interface
    session_of = {"inferenceService": service.id}
    body: Any = {"account": account, "dataset": dataset.id, "inferenceSession": session_of, "replications": 50}
    caller = Caller(client.inferencesessions.client(session.id, made.token, interface=interface))
    with caller.calling():
        evaluations = [client.evaluations.create(body).id for _ in range(EVALUATIONS)]
        until(lambda: caller.answered, "an answer of the session")
        until(lambda: any(each[0] == "Admitted" for each in statuses(client, account).values()), "an admission")
        filler = fill(disk)
        before, end = caller.answered, time.monotonic() + FULL_S
        while time.monotonic() < end:
            fill(disk)
            # real time: the disk of another process stays full for that long, whatever it frees
            time.sleep(0.2)
        assert caller.answered > before
    assert caller.failures == {}
    if restarted:
        server.kill()
        fill(disk)
        server.start(deadline_s=DEADLINE_S)
        client = Client(endpoint=server.endpoint, api_token=token)
        session_again = client.inferencesessions.client(session.id, made.token, interface=interface)
        caller = Caller(session_again)
        until(lambda: client.inferencesessions.ready(session.id), "a session that is adopted")
        assert session_again.infer({"text": "hello"})[0]["text"]
    filler.unlink()
    found = until(lambda: (now := statuses(client, account)) and {each[0] for each in now.values()} <= ENDED and now, "the end")
    assert {each: one[:2] for each, one in found.items()} == dict.fromkeys(evaluations, ("Complete", None)), found
    assert client.inferencesessions.ready(session.id)
    client.inferencesessions.terminate(session.id)
    proved(server)
    assert server.command("verify", "--objects").splitlines()[-1] == "0 differences"
    assert server.stop() == 0
    assert server.processes() == []
