"""Conditions under which a container must be terminated: a limit that it exceeds, or a server that does not return."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from dyff.cluster.pods.shim import cgroups, files, listening, processes, shared, usage

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    Measured = list["Memory | Processes | Disk | Listening"]

OOM_KILLED, EVICTED = "OOMKilled", "Evicted"
MEMORY_EVERY_S = 0.25
MEASURE_EVERY_S = 1.0
TREE_EVERY_S = 1.0
SERVER_EVERY_S = 5.0
UNSEEN_TIMES = 3


class Breach:
    """A limit that was exceeded. `reason`: as Kubernetes names it. `message`: which limit, its value, and how to change it."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason, self.message = reason, message


def out_of_memory(limit_bytes: int) -> Breach:
    """The breach of a memory limit."""
    return Breach(
        OOM_KILLED, f"it held more than its memory limit of {limit_bytes} bytes (resources.limits.memory, or pods.limits.memory_bytes)"
    )


class Tree:
    """The processes of a container: those that descend from the supervisor, since they become its children when their parent ends."""

    def __init__(self, group: cgroups.Group, guard: int, *, bubble: bool = False) -> None:
        """`guard`: a child of the supervisor that is not part of the container. `bubble`: whether the tier is bubblewrap."""
        self._group, self._guard, self._bubble = group, guard, bubble
        self._known: list[int] = []
        self._due = 0.0

    def pids(self, now: float) -> list[int]:
        """The processes, at most `TREE_EVERY_S` old, since listing all processes of the machine is expensive."""
        if now >= self._due:
            self._due = now + TREE_EVERY_S
            listed = self._group.pids()
            self._known = listed if listed is not None else [pid for pid in processes.descendants(os.getpid()) if pid != self._guard]
        return self._known

    def ours(self) -> set[int]:
        """Processes of the supervisor and of Bubblewrap, if the tier is bubblewrap: the first two levels, where no program can be."""
        if not self._bubble:
            return set()
        near = processes.children(os.getpid())
        return {*near, *(each for pid in near for each in processes.children(pid))}


class Memory:
    """The memory limit of a container. `due`: when to call `check` next (in monotonic seconds)."""

    def __init__(self, tree: Tree, limit_bytes: int, group: cgroups.Group, *, confined: bool = True) -> None:
        """`confined`: whether it runs a program of an account."""
        self._tree, self._limit, self._group, self._confined = tree, limit_bytes, group, confined
        self._shared_before = shared.used_bytes()
        self.due = 0.0

    def check(self, now: float) -> Breach | None:
        """Whether all processes together use more than the limit. If the kernel counts, this only asks whether it had to act."""
        self.due = now + (MEASURE_EVERY_S if self._group.memory else MEMORY_EVERY_S)
        return out_of_memory(self._limit) if self._exceeded(now) else None

    def _exceeded(self, now: float) -> bool:
        if self._group.memory:
            return self._group.out_of_memory()
        pids = self._tree.pids(now)
        # Memory that forked processes share is counted for each of them, so a breach is confirmed by the exact, slow count.
        held = processes.memory(pids)
        if held > self._limit and (processes.exact_memory(pids) or held) > self._limit:
            return True
        # Memory that nothing maps at the moment is in neither count.
        grown = self._confined and shared.used_bytes() - self._shared_before > self._limit
        return grown and shared.held_bytes(pids, self._tree.ours()) > self._limit


class Processes:
    """The number of processes and threads of a container. `due`: as for `Memory`."""

    def __init__(self, tree: Tree, limit: int) -> None:
        self._tree, self._limit = tree, limit
        self.due = 0.0

    def check(self, now: float) -> Breach | None:
        """Whether there are more than allowed."""
        self.due = now + MEASURE_EVERY_S
        found = processes.tasks(self._tree.pids(now))
        if found <= self._limit:
            return None
        return Breach(EVICTED, f"it had {found} processes and threads, and pods.limits.processes allows {self._limit}")


class Disk:
    """The folders that a container can write to. `due`: as for `Memory`.

    The measurement is done in steps, and takes at most a tenth of the supervisor's time.

    Deleted files can be where the supervisor cannot look: on their way between sockets, mapped, or in a process that hides. That is
    refused only if the disk was filled meanwhile by more than the limit, for `UNSEEN_TIMES` measurements in a row.
    """

    def __init__(self, tree: Tree, folders: list[str], max_bytes: int, max_files: int) -> None:
        self._tree, self._folders, self._max_bytes, self._max_files = tree, folders, max_bytes, max_files
        self._walk: usage.Walk | None = None
        self._steps: Iterator[None] = iter(())
        self._spent_s = 0.0
        self._used_before = usage.used_bytes(folders[0])
        self._unseen = 0
        self.due = 0.0

    def check(self, now: float) -> Breach | None:
        """Take the next step of the measurement."""
        begun = time.monotonic()
        try:
            done = self._step(now)
        except usage.TooMuch as excess:
            self._walk = None
            return Breach(EVICTED, self._words(excess.what))
        finally:
            self._spent_s += time.monotonic() - begun
        if done:
            self.due = time.monotonic() + max(MEASURE_EVERY_S, 9 * self._spent_s)
            self._walk, self._spent_s = None, 0.0
        return None

    def _step(self, now: float) -> bool:
        if self._walk is None:
            self._walk = usage.Walk(self._folders, self._max_bytes, self._max_files)
            self._steps = self._walk.run()
        for _ in self._steps:
            return False
        self._walk.add_deleted(self._tree.pids(now), self._tree.ours())
        filled = self._walk.unseen and usage.used_bytes(self._folders[0]) - self._used_before > self._max_bytes
        self._unseen = self._unseen + 1 if filled else 0
        if self._unseen >= UNSEEN_TIMES:
            raise usage.TooMuch("unseen")
        return True

    def _words(self, what: str) -> str:
        texts = {
            "bytes": f"its files use more than the {self._max_bytes} bytes that pods.limits.disk_bytes allows",
            "files": f"it has more than the {self._max_files} files and folders that pods.limits.disk_files allows",
            "unseen": f"it keeps deleted files where they cannot be measured, while the disk was filled by more than the {self._max_bytes} "
            "bytes that pods.limits.disk_bytes allows",
            "depth": f"its folders are nested more than {usage.MAX_DEPTH} levels deep",
        }
        return texts[what]


class Listening:
    """Where a container of the tier landlock listens. `due`: as for `Memory`."""

    def __init__(self, tree: Tree, port: int | None, uid: int | None) -> None:
        self._tree, self._port, self._uid = tree, port, uid
        self.due = 0.0

    def check(self, now: float) -> Breach | None:
        """Whether it listens where others than the server could reach it, or where another pod's port is."""
        self.due = now + MEASURE_EVERY_S
        found = listening.forbidden(self._port, self._uid, self._tree.pids(now))
        if found is None:
            return None
        allowed = "nowhere" if self._port is None else f"only at 127.0.0.1, port {self._port}"
        return Breach(EVICTED, f"it listened at {found}, and with pods.isolation landlock it may listen {allowed}")


def of(spec: files.Json, folders: list[str], group: cgroups.Group, guard: int) -> Measured:
    """What is measured while a container runs. `folders`: those that it can write to. `group`, `guard`: see `Tree`."""
    tree = Tree(group, guard, bubble=bool(spec["confinement"]) and spec["confinement"]["tier"] == "bubblewrap")
    found: Measured = []
    bounds = (spec["confinement"] or {"limits": {}})["limits"]
    memory_bytes = memory_limit(spec)
    if memory_bytes is not None:
        found.append(Memory(tree, memory_bytes, group, confined=bool(bounds)))
    if not bounds:
        return found
    if not group.processes:
        found.append(Processes(tree, bounds["processes"]))
    if spec["confinement"]["tier"] == "landlock":
        found.append(Listening(tree, spec["confinement"]["port"], spec["confinement"]["uid"]))
    return [*found, Disk(tree, folders, bounds["disk_bytes"], bounds["disk_files"])]


def memory_limit(spec: files.Json) -> int | None:
    """The memory limit of a container in bytes. Returns None if it has none."""
    confinement = spec["confinement"]
    found: int | None = confinement["limits"]["memory_bytes"] if confinement else spec["memory_bytes"]
    return found


class Server:
    """Watches whether the server, which holds `lock` while it runs, has been gone for too long. `due`: time of the next check."""

    def __init__(self, lock: str, grace_s: float) -> None:
        self._lock, self._grace_s = lock, grace_s
        self._seen = time.monotonic()
        self.due = self._seen + self._every_s()

    def gone(self, now: float) -> bool:
        """Whether the lock has not been held for the whole grace period."""
        self.due = now + self._every_s()
        if not files.is_free(self._lock):
            self._seen = now
        return now - self._seen >= self._grace_s

    def _every_s(self) -> float:
        return min(SERVER_EVERY_S, max(self._grace_s / 4, 0.05))
