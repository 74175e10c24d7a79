"""Forked commands, with which most tests of this folder work, are as good as those of the installed program."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.acceptance import forks
from tests.acceptance.conftest import DYFF, plain_environment

pytestmark = pytest.mark.acceptance

COMMANDS = [["--version"], ["serve", "--help"], ["config"], ["account", "create"], ["verify", "--data-dir", "absent"]]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_fork_prints_what_the_program_prints(arguments, tmp_path, monkeypatch):
    """With the same exit code, from the same environment and directory."""
    monkeypatch.chdir(tmp_path)
    environment = plain_environment() | {"DYFF_API__PORT": "8123"}
    installed = subprocess.run([DYFF, *arguments], env=environment, capture_output=True, text=True, check=False)
    forked = forks.run([DYFF, *arguments], environment)
    assert (forked.returncode, forked.stdout, forked.stderr) == (installed.returncode, installed.stdout, installed.stderr)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_signal_ends_a_fork_as_it_ends_the_program(fresh, number, code):
    """The server stops, or is gone; the exit code is that of `subprocess`, and `/proc` shows the command."""
    fresh.start()
    process = fresh._process
    assert isinstance(process, forks.Process)
    assert str(fresh.directory) in " ".join(fresh.processes())
    process.send_signal(number)
    assert process.wait(30) == code
    assert process.poll() == code
    assert not os.path.exists(f"/proc/{process.pid}")


def test_a_fork_that_does_not_end_is_reported(fresh):
    """Waiting has a bound, as that of `subprocess`; it runs on until it is ended."""
    fresh.start()
    with pytest.raises(subprocess.TimeoutExpired):
        fresh._process.wait(0)
    assert fresh.is_running
    assert fresh.stop() == 0
