"""SIGKILL of the server at random moments while analyses run."""

from __future__ import annotations

import json
import os
import random
import time

import pytest

from tests.acceptance.analysing import KINDS, Analyses
from tests.acceptance.proof import proved

pytestmark = pytest.mark.faults

ANALYSES = int(os.environ.get("FAULT_ANALYSES", "4"))
KILLS = int(os.environ.get("FAULT_KILLS", "2"))
SEED = int(os.environ.get("FAULT_SEED", "20261130"))


def test_every_analysis_ends_once_after_kill_9(fresh, prompts, service_request, tmp_path):
    """Each ends as its code decides, complete ones with their scores and rows; events, view and stored files agree; nothing is left."""
    moments = random.Random(SEED)
    fresh.start()
    analyses = Analyses(fresh, prompts, service_request, tmp_path)
    for number in range(ANALYSES):
        analyses.create(KINDS[number % len(KINDS)])

    for _ in range(KILLS):
        # real time: SIGKILL comes at a random moment of the server's own work
        time.sleep(moments.uniform(0.2, 3.0))
        fresh.kill()
        fresh.start()

    analyses.to(fresh)
    analyses.check(tmp_path)
    proved(fresh)
    report = json.loads(fresh.command("verify", "--objects", "--json"))
    assert (report["count"], report["differences"]) == (0, [])
    assert fresh.stop() == 0
    assert fresh.processes() == []
