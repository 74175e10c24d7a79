"""Analyses while people delete them, a disk is full, and operators make backups, restore and replay."""

from __future__ import annotations

import contextlib
import json
import threading

import pytest

from tests import waiting
from tests.acceptance.analysing import KINDS, Analyses
from tests.acceptance.conftest import Server, eventually
from tests.acceptance.proof import proved
from tests.acceptance.test_backup import backed_up, clean, new_token, restored
from tests.acceptance.test_full_disk import fill

pytestmark = pytest.mark.faults


@pytest.fixture
def serving(fresh, prompts, service_request, tmp_path) -> tuple[Server, Analyses]:
    """A running server, and an account's analyses on it."""
    fresh.start()
    return fresh, Analyses(fresh, prompts, service_request, tmp_path)


def running(analyses: Analyses, name: str = "slow") -> str:
    """An analysis whose code has begun."""
    made = analyses.create(name)
    waiting.wait_until(lambda: any("it waits" in line for line in printed(analyses, made)), "the start of its code", look_s=0.2)
    return made


def printed(analyses: Analyses, entity: str) -> list[str]:
    """The lines of its pods so far."""
    return [each.message for each in analyses.group(analyses.accepted[entity]).workflow_logs(entity).logs]


def test_one_that_runs_is_deleted(serving, tmp_path):
    """No process of it is left, others run on, and log, view and stored files agree."""
    server, analyses = serving
    deleted = running(analyses)
    analyses.create("good")
    del analyses.accepted[deleted]
    analyses.client.measurements.delete(deleted)
    waiting.wait_until(lambda: not [each for each in server.processes() if deleted in each], "the end of its processes", look_s=0.1)
    analyses.check(tmp_path)
    proved(server)
    clean(server)


def test_results_outlive_replay_backup_and_restore(serving, make_server, tmp_path):
    """Scores and rows are the same from a rebuilt view and on a restored server, and one that ran during the backup completes there."""
    server, analyses = serving
    for name in KINDS:
        analyses.create(name)
    analyses.check(tmp_path / "before")
    assert "the new query store is in use" in server.command("replay")
    analyses.check(tmp_path / "replayed")
    analyses.create("good")
    backed_up(server, tmp_path / "backup")
    assert server.stop() == 0
    elsewhere = make_server("elsewhere")
    restored(tmp_path / "backup", elsewhere)
    elsewhere.start()
    analyses.to(elsewhere, new_token(elsewhere, analyses.account))
    analyses.check(tmp_path / "restored")
    clean(elsewhere)


def test_a_full_disk_fails_no_analysis(server_on_disk, disk, prompts, service_request, tmp_path):
    """What cannot be stored waits for space; then all complete with their results."""
    server_on_disk.start()
    analyses = Analyses(server_on_disk, prompts, service_request, tmp_path)
    for name in (*KINDS, "good"):
        analyses.create(name)
    first = next(iter(analyses.accepted))
    eventually(lambda: analyses.client.measurements.get(first), "Admitted", "Complete")
    filler = fill(disk)
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.callback(filler.unlink)
        for _ in range(25):
            fill(disk)
            # real time: the disk of another process stays full for that long, whatever it frees
            over.wait(0.2)
    analyses.check(tmp_path / "after")
    assert json.loads(server_on_disk.command("verify", "--objects", "--json"))["count"] == 0
