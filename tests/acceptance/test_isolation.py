"""What the installed command reports about isolation, also on a machine that forbids namespaces, as a container of Docker does."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.acceptance.conftest import DYFF, Server, plain_environment

pytestmark = pytest.mark.acceptance
FORBIDDING = (
    "import os, sys; from dyff.cluster.pods.shim import seccomp, syscalls; syscalls.prctl(38, 1); "
    "seccomp.MARK_LIMIT = 99; seccomp.install(seccomp.program('bubblewrap')); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Runs a program under a filter that forbids namespaces and mounts. It does not forbid the mark of pods, which only our own filter does."""


def doctor(folder: Path, *, forbidding: bool = False, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [DYFF, "doctor", "isolation", "--data-dir", str(folder)]
    around = [sys.executable, "-c", FORBIDDING] if forbidding else []
    environment = plain_environment() | {f"DYFF_PODS__{name.upper()}": value for name, value in settings.items()}
    return subprocess.run([*around, *command], capture_output=True, text=True, timeout=120, check=False, env=environment)


def test_the_doctor_prints_each_attack_and_the_tier(tmp_path):
    """Each tier's line says whether it holds, each attack has a line, and the last line is what a server would say at its start."""
    done = doctor(tmp_path / "data")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line for line in lines if line.startswith("bubblewrap: holds: all ")]
    assert sum(line.startswith("  refused  ") for line in lines) > 20
    assert "REACHED" not in done.stdout
    assert lines[-1].startswith("pods: isolated by bubblewrap")


def test_the_doctor_says_how_to_fix_it(tmp_path):
    """Where namespaces are forbidden, the reason is Bubblewrap's own, the fix fits, and Landlock is used instead."""
    done = doctor(tmp_path / "data", forbidding=True)
    assert done.returncode == 0, done.stderr
    assert "bubblewrap: does not hold" in done.stdout
    assert "fix: " in done.stdout
    assert "--security-opt" in done.stdout
    assert "pods: isolated by landlock" in done.stdout


def test_the_doctor_fails_if_programs_would_be_refused(tmp_path):
    """If the only tier that the settings allow does not hold, the exit code says so."""
    done = doctor(tmp_path / "data", forbidding=True, isolation="bubblewrap")
    assert done.returncode == 1
    assert "pods: REFUSED" in done.stdout


@pytest.fixture
def started(tmp_path):
    servers = []

    def start(**settings: str) -> Server:
        server = Server(
            tmp_path / "data", {f"DYFF_PODS__{name.upper()}": value for name, value in settings.items()}, str(program(tmp_path, settings))
        )
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


def program(folder: Path, settings: dict[str, str]) -> Path:
    """The command, or one that runs it where namespaces are forbidden, if the settings insist on them."""
    if settings.get("isolation") != "bubblewrap":
        return Path(DYFF)
    wrapper = folder / "dyff"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{FORBIDDING}" {DYFF} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def ready(server: Server) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(f"{server.endpoint.removesuffix('/v0')}/ready", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_server_that_must_refuse_is_degraded(started):
    """Such a server serves, says so at its start, and `/ready` has the reason."""
    server = started(isolation="bubblewrap")
    pods = server.lines("ready")[-1]["pods"]
    status, report = ready(server)
    assert pods.startswith("REFUSED: programs of accounts cannot be confined")
    assert status == 200
    assert report["status"] == "degraded"
    assert [each["name"] for each in report["degraded"]] == ["isolation of pods"]
    assert "--security-opt" in report["degraded"][0]["reason"]


def test_a_server_without_isolation_says_so(started):
    """The setting `none` is obeyed, and the message at the start says what every account can do."""
    server = started(isolation="none")
    pods = server.lines("ready")[-1]["pods"]
    assert pods.startswith("NOT ISOLATED")
    assert "every account" in pods
    assert ready(server)[1]["status"] == "ok"
