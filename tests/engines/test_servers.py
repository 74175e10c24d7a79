from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.engines.building import build
from tests.engines.fakes import FakeRecipe, is_there, visits, wait_until_gone
from tests.engines.recipes import EngineError
from tests.engines.server import running
from tests.narrowing import sure


def processes(server) -> list[int]:
    """The server and the process that it started."""
    return [server.pid, int((server.home / "child.pid").read_text())]


def test_every_run_has_fresh_data(recipe, tmp_path):
    """Nothing of one run is seen by the next."""
    for number in range(2):
        with running(recipe, build(recipe), tmp_path / f"run{number}") as server:
            assert visits(server.address) == 2  # the first was the check


def test_a_killed_server_starts_again_on_its_data(recipe, tmp_path):
    """A test of faults kills a server and starts it again, at the same address, with the same data."""
    with running(recipe, build(recipe), tmp_path / "run") as server:
        before = processes(server)
        server.kill()
        assert not server.is_running
        wait_until_gone(*before)
        server.start()
        assert visits(server.address) == 3  # a check before, a check after
        assert server.pid not in before


def test_stopping_ends_the_whole_group(recipe, tmp_path):
    """Also what the server itself has started is gone, at the end and after an error."""
    for number, error in enumerate((None, ZeroDivisionError)):
        with suppress(ZeroDivisionError), running(recipe, build(recipe), tmp_path / f"run{number}") as server:
            pids = processes(server)
            assert all(is_there(pid) for pid in pids)
            if error:
                raise error
        wait_until_gone(*pids)


def test_a_server_that_ends_is_reported_with_the_end_of_its_log(recipe, tmp_path):
    """The caller that waits learns immediately that it ended, with which code, and what it said."""
    broken = FakeRecipe(recipe.folder, "ends")
    with (
        pytest.raises(EngineError, match=r"Fake 1.0 ended instead of answering[\s\S]*a line of the log[\s\S]*ended with 3"),
        running(broken, build(broken), tmp_path / "run"),
    ):
        pytest.fail("it is not running")
    wait_until_gone(int((tmp_path / "run/child.pid").read_text()))


def test_a_server_that_never_answers_is_reported_with_the_end_of_its_log(recipe, tmp_path):
    """A port that is open is no answer; after the deadline the last reason is reported, and nothing is left running."""
    refusing = FakeRecipe(recipe.folder, "refuses")
    expected = r"Fake 1.0 did not answer within 1 s \(ValueError: it says no\)[\s\S]*a line of the log"
    with pytest.raises(EngineError, match=expected), running(refusing, build(refusing), tmp_path / "run", deadline_s=1):
        pytest.fail("it is not running")
    wait_until_gone(int((tmp_path / "run/server.pid").read_text()), int((tmp_path / "run/child.pid").read_text()))


RUNNER = """
import sys, time
from pathlib import Path
from tests.engines.building import build
from tests.engines.fakes import FakeRecipe
from tests.engines.server import running
recipe = FakeRecipe(Path(sys.argv[1]))
with running(recipe, build(recipe), Path(sys.argv[2])) as server:
    print("up", flush=True)
    time.sleep(1000)
"""


def test_a_killed_runner_leaves_no_server_behind(recipe, tmp_path):
    """SIGKILL of the process that started a server ends the server and all that it started."""
    home = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", RUNNER, str(recipe.folder), str(home)], stdout=subprocess.PIPE, text=True) as runner:
        assert sure(runner.stdout).readline() == "up\n"
        pids = [int((home / name).read_text()) for name in ("server.pid", "child.pid")]
        assert all(is_there(pid) for pid in pids)
        runner.kill()
    wait_until_gone(*pids)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_killed_supervisor_leaves_no_server_behind(recipe, tmp_path):
    """SIGKILL of the process between the two ends the server, too."""
    with running(recipe, build(recipe), tmp_path / "run") as server:
        pid = server.pid
        os.kill(os.getpgid(pid), signal.SIGKILL)
        wait_until_gone(pid)
