"""The parent that process 1 becomes: in a real namespace of processes, in which the program is process 1."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing

PROGRAM = """
import os, signal, subprocess, sys, time
from dyff.kernel import init
init.become_parent_if_first()
"""
ORPHAN = """
import time
from pathlib import Path
def states():
    found = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                fields = (each / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found[int(each.name)] = (fields[0], int(fields[1]))
    return found
ours = subprocess.Popen(["true"])
subprocess.run(["sh", "-c", "sleep 600 & exit 0"], check=True)
(orphan,) = [pid for pid, (state, parent) in states().items() if parent == 1 and pid != os.getpid()]
os.kill(orphan, signal.SIGKILL)
while orphan in states():
    time.sleep(0.01)
print("reaped", ours.wait(), os.getpid() != 1)
"""


def namespaced(program):
    """Run a program as process 1 of a namespace of its own; a skip where the machine forbids that."""
    unshare = shutil.which("unshare")
    flags = ["--pid", "--fork", "--mount-proc", "--kill-child", *([] if os.getuid() == 0 else ["--user", "--map-root-user"])]
    assert unshare is not None, "util-linux is part of every Linux"
    if subprocess.run([unshare, *flags, "true"], capture_output=True, check=False).returncode != 0:
        missing("this machine does not allow a namespace of processes (unshare --pid)")
    return subprocess.Popen([unshare, *flags, sys.executable, "-c", PROGRAM + program], stdout=subprocess.PIPE, text=True)


def test_orphans_are_reaped_and_own_children_are_not():
    """A process whose parent has ended leaves no zombie; the exit code of the server's own child reaches the server."""
    with namespaced(ORPHAN) as process:
        out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("reaped 0 True\n", 0)


@pytest.mark.parametrize(("ending", "want"), [("sys.exit(0)", 0), ("sys.exit(7)", 7), ("os.kill(os.getpid(), signal.SIGKILL)", 137)])
def test_the_exit_code_is_the_servers(ending, want):
    """A signal counts as shells count it."""
    with namespaced(ending) as process:
        process.communicate(timeout=60)
    assert process.returncode == want


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1], ids=str)
def test_signals_are_passed_on(number):
    """The server gets what process 1 gets, once."""
    program = f"""
def handle(number, frame):
    print(signal.Signals(number).name, flush=True)
    sys.exit(9)
signal.signal({int(number)}, handle)
print("up", flush=True)
while True:
    time.sleep(60)
"""
    with namespaced(program) as process:
        assert process.stdout.readline() == "up\n"
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), number)
        assert process.communicate(timeout=60)[0] == f"{number.name}\n"
    assert process.returncode == 9


def test_elsewhere_nothing_happens():
    """A process that is not the first stays what it is."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("init.become", "before = os.getpid(); init.become") + "assert os.getpid() == before"],
        check=False,
    )
    assert done.returncode == 0
