"""The last step before a confined program: what the program still has."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dyff.cluster.pods.shim import launcher, rlimits
from tests.narrowing import sure

CHECKOUT = Path(__file__).parents[2]
ROOT = os.getuid() == 0
USER = 1_940_000_000 + os.getpid()
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
ASK = """
import json, os, resource, signal
status = {line.partition(":")[0]: line.partition(":")[2].strip() for line in open("/proc/self/status")}
fds = []
for fd in range(4096):
    try:
        os.fstat(fd)
        fds.append(fd)
    except OSError:
        pass
print(json.dumps({
    "status": status, "fds": fds, "groups": os.getgroups(), "cwd": os.getcwd(), "env": dict(os.environ), "umask": os.umask(0),
    "limits": {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in ("CORE", "NOFILE", "FSIZE", "NPROC", "DATA")},
}))
"""


def launched(plan: object, **how: object) -> tuple[int, str, str]:
    """Start the launcher as bubblewrap does. Returns the exit code, the output and the report."""
    given, give = os.pipe()
    reports, report = os.pipe()
    extra = os.open("/dev/null", os.O_RDONLY)
    text = plan if isinstance(plan, bytes) else json.dumps(plan).encode()
    command = [sys.executable, "-I", "-S", "-c", launcher.BOOT, str(CHECKOUT), str(given), str(report)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=(given, report, extra), **how)  # type: ignore[call-overload]
    for descriptor in (given, report, extra):
        os.close(descriptor)
    with os.fdopen(give, "wb") as file:
        file.write(text)
    with os.fdopen(reports) as file, child:
        words = file.read()
        output = child.stdout.read()
    return child.returncode, output, words


def plan(tmp_path: Path, **more: object) -> dict[str, object]:
    return {"argv": [PYTHON, "-I", "-S", "-c", ASK], "env": {"A": "b"}, "cwd": "/", **more}


def ask(tmp_path: Path, **more: object) -> dict[str, Any]:
    code, output, words = launched(plan(tmp_path, **more))
    assert (code, words) == (0, ""), words
    answer: dict[str, object] = json.loads(output)
    return answer


def test_nothing_is_inherited(tmp_path):
    """The program has the standard streams, no other descriptor, its own environment, and a private umask."""
    found = ask(tmp_path)
    assert found["fds"] == [0, 1, 2]
    assert found["env"] | {"LC_CTYPE": ""} == {"A": "b", "LC_CTYPE": ""}  # Python itself adds this one
    assert found["umask"] == 0o077


def test_all_rights_are_gone(tmp_path):
    """The program has no capability in any set that it could use, and can gain none."""
    found = ask(tmp_path)
    status = found["status"]
    assert {status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    if ROOT:
        assert status["CapBnd"] == "0" * 16


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
def test_the_user_is_changed_for_good(tmp_path):
    """The program has the user and group of the plan, in all their forms, and no other group."""
    found = ask(tmp_path, uid=USER)
    assert found["status"]["Uid"].split() == found["status"]["Gid"].split() == [str(USER)] * 4
    assert found["groups"] == []


def test_signals_are_as_at_the_start_of_a_program(tmp_path):
    """Signals that our caller ignores or blocks are neither for the program."""
    script = f"trap '' TERM HUP INT USR1 PIPE; exec {sys.executable} \"$@\""
    given, give = os.pipe()
    reports, report = os.pipe()
    command = ["/bin/sh", "-c", script, "sh", "-I", "-S", "-c", launcher.BOOT, str(CHECKOUT), str(given), str(report)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=(given, report))
    for descriptor in (given, report):
        os.close(descriptor)
    # Python itself would ignore SIGPIPE and SIGXFSZ.
    with os.fdopen(give, "wb") as file:
        file.write(json.dumps(plan(tmp_path, argv=["/bin/grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"])).encode())
    with os.fdopen(reports) as file, child:
        assert file.read() == ""
        lines = sure(child.stdout).read().split()
    # Signals 32 and 33 belong to the C library. It sets them itself, and lets no program change them: some callers leave them ignored.
    of_the_library = 1 << 31 | 1 << 32
    assert [int(mask, 16) & ~of_the_library for mask in lines[1::2]] == [0, 0]


def test_limits_are_set(tmp_path):
    """The limits of the plan hold, as soft and hard limits, and there are no core dumps."""
    limits = {"processes": 5000, "open_files": 99, "disk_bytes": 12345678, "memory_bytes": 10**8}
    found = ask(tmp_path, limits=limits)["limits"]
    assert found["CORE"] == [0, 0]
    assert found["NOFILE"] == [99, 99]
    assert found["FSIZE"] == [12345678] * 2
    assert found["DATA"] == [2 * 10**8 + (1 << 30)] * 2
    assert 5000 < found["NPROC"][0] < 5000 + 100_000  # other processes of this user are added


def test_limits_above_those_of_a_root_without_capabilities_are_lowered(monkeypatch):
    """User 0 of a container or of a namespace may not raise a hard limit either. A limit that can be set is as the plan has it."""
    hard = {resource.RLIMIT_NOFILE: 50}
    found = {}

    def without_the_capability(which, limits):
        if max(limits) > hard.get(which, 2**40):
            raise ValueError("not allowed to raise maximum limit")
        found[which] = limits

    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(resource, "setrlimit", without_the_capability)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (hard.get(which, 2**40),) * 2)
    rlimits.apply({"open_files": 99, "disk_bytes": 1000})
    assert found == {resource.RLIMIT_CORE: (0, 0), resource.RLIMIT_NOFILE: (50, 50), resource.RLIMIT_FSIZE: (1000, 1000)}


def test_limits_above_those_of_a_regular_user_are_lowered():
    """A limit that this user cannot set is replaced by the highest that it can."""
    script = (
        f"import sys, resource; sys.path.append({str(CHECKOUT)!r}); from dyff.cluster.pods.shim import rlimits; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50)); import os; ROOT = os.getuid() == 0; "
        "ROOT and os.setuid(61234); rlimits.apply({'open_files': 99}); print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "(50, 50)\n"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"argv": ["/no/such/program"]}, "'/no/such/program' cannot be started: No such file or directory"),
        ({"argv": ["absent"], "env": {"PATH": "/usr/bin"}}, "'absent' cannot be started: No such file or directory"),
        ({"cwd": "/no/such/folder"}, "No such file or directory (its working directory /no/such/folder)"),
        ({"uid": 0}, "a confined program cannot run as user 0"),
        ({"uid": 5, "gid": 0}, "a confined program cannot run as user 5 and group 0"),
        ({"seccomp": {"tier": "none"}}, "there is no tier 'none'"),
        ({"landlock": {"write": ["/no/such/folder"]}}, "No such file or directory"),
    ],
)
def test_what_cannot_be_started_is_reported(tmp_path, more, words):
    """If a step fails, the program does not run, and one sentence says why."""
    code, output, report = launched(plan(tmp_path, **more))
    assert (code, output) == (launcher.START_ERROR_CODE, "")
    assert words in report


def test_a_plan_that_cannot_be_read_is_reported(tmp_path):
    """A plan that is not JSON, or is too long, starts nothing."""
    assert launched(b"{")[::2] == (128, launched(b"{")[2])
    assert "cannot be started: " in launched(b"{")[2]
    assert f"its plan has more than {launcher.MAX_PLAN_BYTES} bytes" in launched(b" " * (launcher.MAX_PLAN_BYTES + 1))[2]


@pytest.mark.skipif(ROOT, reason="root can become every user")
def test_a_regular_user_cannot_become_another_one(tmp_path):
    """Without the right to change the user, nothing starts as the wrong one."""
    code, _, report = launched(plan(tmp_path, uid=USER))
    assert code == launcher.START_ERROR_CODE
    assert "Operation not permitted" in report


def test_a_mark_is_inherited_and_found():
    """All processes of a marked one have its mark, and are found by it; others are not."""
    mark = rlimits.MARK_FROM + int.from_bytes(os.urandom(7)) + 1
    script = (
        f"import sys; sys.path.append({str(CHECKOUT)!r}); from dyff.cluster.pods.shim import rlimits; rlimits.set_mark({mark}); "
        "import os; os.fork(); print(flush=True); sys.stdin.read()"
    )
    assert rlimits.marked(mark) == []
    command = [sys.executable, "-I", "-S", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        sure(child.stdout).readline()
        sure(child.stdout).readline()
        found = rlimits.marked(mark)
        sure(child.stdin).close()
    assert child.pid in found
    assert len(found) == 2
    assert rlimits.mark_of(os.getpid()) is None
