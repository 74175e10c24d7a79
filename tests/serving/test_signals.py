"""Signals that end a server, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dyff.serve import signals
from tests.narrowing import sure

PROGRAM = """
import anyio
from dyff.kernel import logs
from dyff.serve import signals

async def main():
    stopped = anyio.Event()
    async with anyio.create_task_group() as group:
        await group.start(signals.stop_on_signal, stopped.set)
        print("up", flush=True)
        await stopped.wait()
        print("stopping", flush=True)
        await anyio.to_thread.run_sync(input)  # until the test closes our input
        group.cancel_scope.cancel()

logs.configure()
anyio.run(main)
"""


@pytest.fixture
def program(request):
    """The program, which serves."""
    before = [f"trap '' {name};" for name in getattr(request, "param", [])]
    command = " ".join([*before, 'exec "$0" -c "$1"'])
    process = subprocess.Popen(["sh", "-c", command, sys.executable, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert sure(process.stdout).readline() == "up\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=str)
def test_the_first_signal_asks_for_an_orderly_stop(program, number):
    """Also the one of a terminal that is closed."""
    program.send_signal(number)
    assert program.stdout.readline() == "stopping\n"
    program.communicate("\n", timeout=60)
    assert program.returncode == 0


def test_a_closed_terminal_never_ends_it_at_once(program):
    """A terminal sends SIGHUP, and the shell in it another one: the stop stays an orderly one."""
    for _ in range(3):
        program.send_signal(signal.SIGHUP)
    assert program.stdout.readline() == "stopping\n"
    program.send_signal(signal.SIGHUP)
    program.communicate("\n", timeout=60)
    assert program.returncode == 0


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGHUP], ids=str)
def test_who_asks_again_is_not_kept_waiting(program, first):
    """A second SIGTERM or Ctrl-C ends the process."""
    program.send_signal(first)
    assert program.stdout.readline() == "stopping\n"
    program.send_signal(signal.SIGTERM)
    assert program.wait(60) == signals.EXIT_FORCED


@pytest.mark.parametrize("program", [["HUP"]], indirect=True)
def test_nohup_holds(program):
    """A SIGHUP that is ignored already stays so: `nohup dyff serve &` serves on when the terminal is closed."""
    (ignored,) = re.findall(r"SigIgn:\s*(\S+)", Path(f"/proc/{program.pid}/status").read_text())
    assert int(ignored, 16) & 1 << (signal.SIGHUP - 1)
    program.send_signal(signal.SIGHUP)
    os.kill(program.pid, signal.SIGTERM)
    assert program.stdout.readline() == "stopping\n"
    program.communicate("\n", timeout=60)
    assert program.returncode == 0
