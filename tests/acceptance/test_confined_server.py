"""A server as a container runs it: read-only root, another user, process 1; with and without a /tmp."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from dyff.schema import requests

from dyff.cluster.pods.isolation import bwrap
from tests import waiting
from tests.acceptance.conftest import DYFF, Server, eventually
from tests.conftest import missing
from tests.narrowing import sure

pytestmark = pytest.mark.acceptance

BWRAP = bwrap.find()
NOBODY = "65534"


CHECKOUT = str(Path(__file__).parents[2])
"""It can be below /tmp itself."""


class ConfinedServer(Server):
    """Started through Bubblewrap, as process 1 of a namespace."""

    def descendants(self) -> dict[int, str]:
        """The processes of the server, with their states (`Z` for a zombie), the first of them process 1."""
        found: dict[int, str] = {}
        waiting = [sure(self._process).pid]
        while waiting:
            for each in children(waiting.pop(0)):
                state = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[0]
                if Path(f"/proc/{each}/comm").read_text().strip() != "bwrap":
                    found[each] = state
                waiting.append(each)
        return found

    def stop(self, deadline_s: float = 30.0) -> int:
        """SIGTERM to process 1, as a container's runtime sends it; returns the exit code."""
        os.kill(next(iter(self.descendants())), signal.SIGTERM)
        return sure(self._process).wait(deadline_s)


def children(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module", params=["/tmp", "no /tmp"])
def server(request, tmp_path_factory):
    """A server that can write to its data directory, and to /tmp if there is one."""
    if BWRAP is None:
        missing("no bwrap is installed")
    folder = tmp_path_factory.mktemp("confined")
    data = folder / "the data"
    arguments = ["--ro-bind", "/", "/", *(["--tmpfs", "/tmp", "--ro-bind", CHECKOUT, CHECKOUT] if request.param == "/tmp" else [])]
    arguments += ["--bind", "DATA", "DATA", "--dev", "/dev", "--proc", "/proc", "--unshare-pid", "--as-pid-1", "--unshare-user"]
    arguments += ["--uid", NOBODY, "--gid", NOBODY, "--die-with-parent", "--chdir", "/", "--setenv", "HOME", "/nonexistent"]
    data.mkdir(mode=0o700)
    wrapped = [str(data) if each == "DATA" else str(each) for each in arguments]
    if subprocess.run([BWRAP, *wrapped, "true"], capture_output=True, check=False).returncode != 0:
        missing("this machine does not allow the namespaces of a container (bwrap --unshare-user --unshare-pid)")
    script = folder / "dyff"
    script.write_text(f'#!/bin/sh\nexec {shlex.join([BWRAP, *wrapped, str(DYFF)])} "$@"\n')
    script.chmod(0o700)
    subject = ConfinedServer(data, {"DYFF_LOGS__FORMAT": "text"}, command=str(script))  # what a person sees
    subject.start(deadline_s=60)
    assert (data / "tmp").exists() == (request.param == "no /tmp")
    yield subject
    if subject.is_running:
        subject.kill()


def test_the_first_process_only_waits(server):
    """Process 1 has one child, which is the server; the server could not take the exit codes of others."""
    first, second = list(server.descendants())[:2]
    assert children(first) == [second]
    assert Path(f"/proc/{first}/status").read_text().partition("NSpid:")[2].splitlines()[0].split()[-1] == "1"


def test_an_evaluation_runs_and_leaves_no_zombies(server, client, account, dataset, service):
    """All roles, pods and their programs work; whatever ended, was waited for."""
    session = requests.EvaluationInferenceSessionRequest(inferenceService=service.id)
    created = client.evaluations.create(requests.EvaluationCreateRequest(account=account, dataset=dataset.id, inferenceSession=session))
    eventually(lambda: client.evaluations.get(created.id), "Complete")
    end = time.monotonic() + 30
    while "Z" in server.descendants().values() and time.monotonic() < end:
        waiting.a_blocking_moment(0.1)
    assert "Z" not in server.descendants().values()


def test_the_printed_command_works_with_this_path(server):
    """The data directory has a space in it; what the server printed can be pasted into a shell."""
    printed = server.directory.with_suffix(".out").read_text().splitlines()[-1].strip()
    environment = {**os.environ, "PATH": f"{Path(server.program).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", printed], capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert (done.returncode, done.stdout.count(".")) == (0, 2), done.stderr


def test_programs_of_accounts_are_as_isolated_as_elsewhere(server):
    """A missing /tmp is no reason to refuse them: the probe found a place for its targets."""
    assert "temporary directory" not in server.directory.with_suffix(".out").read_text() + server.log.read_text()


def test_process_one_stops_in_an_orderly_way(server):
    """SIGTERM reaches the server, and its exit code is that of the container."""
    assert server.stop() == 0
