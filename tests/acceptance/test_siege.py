"""Attackers hold connections and send headers without an end while evaluations run and the server is killed again and again.

Small by default. A long round: SIEGE_EVALUATIONS=50 SIEGE_KILLS=10 SIEGE_CONNECTIONS=2000 SIEGE_HEADER_MB=2048 (and `-s`, to see figures).
"""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
from dyff.client import Client
from dyff.schema import requests

from tests.acceptance.attackers import attacked
from tests.acceptance.conftest import DYFF
from tests.acceptance.proof import proved
from tests.acceptance.test_kill_9 import wait_for_all
from tests.engines.ports import free_port
from tests.narrowing import sure

pytestmark = pytest.mark.faults

EVALUATIONS = int(os.environ.get("SIEGE_EVALUATIONS", "3"))
KILLS = int(os.environ.get("SIEGE_KILLS", "2"))
CONNECTIONS = int(os.environ.get("SIEGE_CONNECTIONS", "400"))
HEADER_BYTES = int(os.environ.get("SIEGE_HEADER_MB", "64")) * 2**20
SEED = int(os.environ.get("FAULT_SEED", "20261129"))

CONNECTION_KIB = 48
"""What a held connection may cost: a socket's objects, the parser's, and the 32 KiB of a head that is not complete."""
SLACK_KIB = 32 * 2**10
"""How much two rounds of the same work differ, and what the floods' few connections may have under way."""


class Round:
    """One server, evaluations, kills; with its peak of memory."""

    def __init__(self, server: Any, prompts: Path, service_request: Any) -> None:
        self.server, self.port, self.peak = server, free_port(), 0
        server.program = DYFF  # a fork would have more memory from the start
        self.start()
        self.account = server.command("account", "create", "--name", "auditor")
        self.token = server.command("token", "create", "--account", self.account)
        client = self.client()
        dataset = client.datasets.create_arrow_dataset(prompts, account=self.account, name="prompts")
        client.datasets.upload_arrow_dataset(dataset, prompts)
        service = requests.InferenceServiceCreateRequest.model_validate(service_request(self.account))
        session = requests.EvaluationInferenceSessionRequest(inferenceService=client.inferenceservices.create(service).id)
        self._body = requests.EvaluationCreateRequest(account=self.account, dataset=dataset.id, inferenceSession=session)

    def start(self) -> None:
        self.server.start("--port", str(self.port), deadline_s=120.0)

    def client(self) -> Client:
        return Client(api_token=self.token, endpoint=self.server.endpoint)

    def memory(self) -> dict[str, int]:
        """The server's peak, in all its lives until now, and what it uses now; in KiB."""
        status = Path(f"/proc/{self.server._process.pid}/status").read_text()
        peak, present = (int(sure(re.search(rf"{name}:\s+(\d+) kB", status))[1]) for name in ("VmHWM", "VmRSS"))
        self.peak = max(self.peak, peak)
        return {"peak": self.peak, "present": present}

    def run(self) -> dict[str, Any]:
        """All evaluations end as Complete, through all kills; figures."""
        moments, began = random.Random(SEED), time.monotonic()
        client = self.client()
        accepted = {client.evaluations.create(self._body).id for _ in range(EVALUATIONS)}
        for _ in range(KILLS):
            # real time: SIGKILL comes at a random moment of the attack
            time.sleep(moments.uniform(0.5, 4.0))
            self.memory()
            self.server.kill()
            self.start()
        statuses = wait_for_all(self.client(), self.account, accepted, 1800.0)
        assert statuses == dict.fromkeys(accepted, ("Complete", None))
        return {"evaluations": len(accepted), "complete_s": round(time.monotonic() - began, 1)}

    def finish(self) -> None:
        """All of it is proved, and nothing is left."""
        proved(self.server)
        assert self.server.command("verify", "--objects").splitlines()[-1] == "0 differences"
        assert self.server.stop() == 0
        assert self.server.processes() == []


def test_attackers_cost_neither_evaluations_nor_memory(make_server, prompts, service_request):
    """Through attack and SIGKILL all evaluations complete, all is proved, and the peak of memory is that of a round without attack."""
    quiet = Round(make_server("quiet"), prompts, service_request)
    without = quiet.run() | quiet.memory()
    quiet.finish()

    besieged = Round(make_server("besieged"), prompts, service_request)
    with attacked(besieged.port, connections=CONNECTIONS, header_bytes=HEADER_BYTES) as attackers:
        attack = besieged.run()
        did = attackers.finish()
        attack |= besieged.memory()
    besieged.finish()
    print(f"\nwithout attack {without}\nwith attack    {attack}\nattackers      {did}")  # noqa: T201
    assert did["hold"]["most"] >= CONNECTIONS * 0.9, did
    assert did["flood"]["sent"] >= HEADER_BYTES, did
    assert besieged.peak <= quiet.peak + CONNECTIONS * CONNECTION_KIB + SLACK_KIB, (without, attack)
