"""A pod's directory: the promised run (intent), what happened (record), the request to stop it, and the lock.

<pods>/server.lock         held by the server
<pods>/<uid>/lock          held by the shim while it lives
             intent.json   committed before anything is started; one per run, the last one counts
             record.json   written by the shim: which containers run, and how the others ended
             stop.json     the server's request to end a run
             <container>.log, shim.log
             port.sock     hands out sockets of the pod's own network, if it has one
             work/ work-of-steps/ tmp/ shm/ volumes/<name>/
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import structlog

from dyff.cluster.pods import environment, probes, removal
from dyff.cluster.pods.shim import files, rlimits

log = structlog.get_logger()

LOST = "Lost"
REBOOTED = "Rebooted"
SHUTDOWN = "Shutdown"
DELETED = "Deleted"
SERVER_GONE = "ServerGone"
MOVED = "Moved"
DEADLINE = "DeadlineExceeded"
INTERRUPTIONS = frozenset({REBOOTED, SHUTDOWN, SERVER_GONE, MOVED})
"""Causes that are not the pod's fault: an interrupted run can be repeated without being counted."""
LOST_CODE = 137
_FILES = ("intent.json", "record.json")
_ENDS = {
    MOVED: "the data directory was moved while it ran",
    REBOOTED: "the machine was restarted",
    LOST: "its supervisor was killed, so how it ended is not known",
}


class Outcome(msgspec.Struct, frozen=True, rename="camel"):
    """State of a container. `finished_at`: empty while it runs. `ticks`: start time of `pid`; both together identify the process."""

    pid: int = 0
    ticks: int | None = None
    started_at: str = ""
    finished_at: str = ""
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    message: str = ""


class Shim(msgspec.Struct, frozen=True):
    """The identity of a shim."""

    pid: int
    ticks: int | None


class Record(msgspec.Struct, frozen=True):
    """The shim's record of a run. `cause`: why it was terminated; None if it was not. `boot`: the boot ID of the machine. `groups`: the
    control groups of the last container.
    """

    run: int
    boot: str
    shim: Shim
    containers: dict[str, Outcome]
    finished: bool
    cause: str | None = None
    groups: list[str] = []


class Intent(msgspec.Struct, frozen=True):
    """The description of a run.

    `restarts`: as in the status; interrupted runs do not count. `failures`: consecutive runs that ended too soon, for the
    back-off. `done`: init containers that have completed in earlier runs. `last`: how the main container's previous run
    ended. `since`: when the pod was first started (RFC 3339). `server_lock`, `orphan_grace_s`: the shim ends the pod when
    no server has held that lock for this time. `probe`: None if the pod is ready as soon as it runs. `uid`: the user of its confined
    programs; None if the server is not root. `mark`: see `Directory`.
    """

    run: int
    pod: str
    since: str
    containers: list[environment.Process]
    server_lock: str
    orphan_grace_s: float
    log_max_bytes: int
    grace_s: float
    deadline_s: float | None = None
    port: int | None = None
    restarts: int = 0
    failures: int = 0
    done: dict[str, Outcome] = {}
    last: Outcome | None = None
    probe: probes.Probe | None = None
    uid: int | None = None
    mark: int = 0


class Facts(msgspec.Struct, frozen=True):
    """A consistent view of a directory. `record`: of the intent's run; None if it was not started. `held`: whether the shim lives.
    `damaged`: its files could not be read and were put aside, so what was started is not known.
    """

    intent: Intent | None = None
    record: Record | None = None
    held: bool = False
    damaged: bool = False


class Directory:
    """The directory of the pod `uid`. All methods block on the disk; call them in a thread.

    `mark`: of all processes of the pod, which they cannot change (`rlimits`).
    """

    def __init__(self, root: Path, uid: str) -> None:
        self.uid = uid
        self.path = root / uid
        self.place = environment.Place(self.path / "work", self.path / "tmp", self.path / "volumes")
        self.lock = str(self.path / "lock")
        self.mark = _mark(uid)

    def facts(self) -> Facts:
        """Read the directory. The lock is checked first, since a shim writes its record before it releases the lock."""
        if not self.path.exists():
            return Facts()
        held = not files.is_free(self.lock)
        return self._facts(held)

    def facts_under_lock(self) -> Facts:
        """Read the directory, for a caller that holds the lock itself."""
        return self._facts(held=False)

    def _facts(self, held: bool) -> Facts:
        try:
            intent = self._read("intent.json", Intent)
            record = self._read("record.json", Record)
        except ValueError as error:
            return self._without_damaged(held, error)
        damaged = intent is None and any((self.path / f"{name}.damaged").exists() for name in _FILES)
        return Facts(intent, record if intent and record and record.run == intent.run else None, held, damaged)

    def _without_damaged(self, held: bool, error: ValueError) -> Facts:
        """The facts of a pod whose files cannot be read. Once its shim is gone they are put aside, and it counts as lost."""
        if not held:
            log.error("pod-files-damaged", pod=self.uid, directory=str(self.path), reason=str(error), note="kept as *.damaged")
            for name in _FILES:
                if (self.path / name).exists():
                    os.replace(self.path / name, self.path / f"{name}.damaged")
        return Facts(held=held, damaged=True)

    def is_moved(self, intent: Intent) -> bool:
        """Whether the data directory was at another path when a run was promised, so that the paths in it are wrong now."""
        return intent.server_lock != str(self.path.parent / "server.lock")

    def prepare(self) -> None:
        """Create the directories that a pod has from its start."""
        for path in (self.place.work, self.place.steps, self.place.tmp, self.place.volumes):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.sync_directory(str(self.path.parent))

    def commit(self, intent: Intent) -> None:
        """Promise a run. After this returns, exactly this run is started exactly once, by this server or a later one."""
        self._write("intent.json", intent)

    def request_stop(self, run: int, cause: str, grace_s: float) -> None:
        """Write the cause and the grace period for ending run `run`, which the shim reads when it gets SIGTERM."""
        files.write(str(self.path / "stop.json"), {"run": run, "cause": cause, "grace_s": grace_s}, durable=False)

    def conclude(self, intent: Intent, record: Record | None, boot: str) -> None:
        """Durably record the end of a run whose shim is gone without having done so. The caller must hold the lock."""
        rebooted = record is not None and record.boot != boot
        moved = self.is_moved(intent)
        reason = MOVED if moved else REBOOTED if rebooted else LOST
        message = _ENDS[reason]
        containers = dict(record.containers) if record else dict(intent.done)
        for name, outcome in containers.items():
            if not outcome.finished_at:
                ended = {"finished_at": outcome.started_at, "exit_code": LOST_CODE, "reason": reason, "message": message}
                containers[name] = msgspec.structs.replace(outcome, **ended)
        shim = record.shim if record else Shim(0, None)
        self._write("record.json", Record(intent.run, boot, shim, containers, finished=True, cause=(record and record.cause) or reason))

    def tidy(self) -> None:
        """Free the disk space of a pod that has ended; its logs are kept."""
        for path in (self.place.work, self.place.steps, self.place.tmp, self.place.volumes, self.path / "shm"):
            try:
                removal.remove(str(path))
            except OSError as error:
                log.warning("folders of a pod that has ended cannot be removed yet", pod=self.uid, reason=str(error))

    def remove(self) -> bool:
        """Remove the directory; False if a shim holds the lock. Removed under the lock, so that a late shim finds no intent."""
        if not self.path.exists():
            return True
        with files.taken(self.lock) as free:
            if free:
                (self.path / "intent.json").unlink(missing_ok=True)
                removal.remove(str(self.path))
        return free

    def _read(self, name: str, form: type[Any]) -> Any:
        value = files.read(str(self.path / name))
        return None if value is None else msgspec.convert(value, form)

    def _write(self, name: str, value: msgspec.Struct) -> None:
        files.write(str(self.path / name), msgspec.to_builtins(value))


def _mark(uid: str) -> int:
    return rlimits.MARK_FROM + (int.from_bytes(hashlib.blake2b(uid.encode(), digest_size=8).digest()) >> (64 - rlimits.MARK_BITS))


def uids(root: Path) -> list[str]:
    """The UIDs of the pods that have a directory."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir()) if root.exists() else []
