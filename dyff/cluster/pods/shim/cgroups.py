"""A control group for the processes of one container: the kernel itself bounds their memory, their number and their share of the CPU.

Whether that is possible depends on the machine: version 1 or 2, which controllers, and what was delegated to this user. It is found out
by trying. What is not possible is left to the measurements of the supervisor.
"""

from __future__ import annotations

import os
import time

_PROCS = "cgroup.procs"
_REMOVE_TRIES, _REMOVE_PAUSE_S = 50, 0.02
_V2 = ""
_NEEDED = ("memory", "pids", "cpu")


class Group:
    """A container's groups. `memory`, `processes`: whether the kernel bounds these. `paths`: the folders, to be removed at the end."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.memory = self.processes = False

    @classmethod
    def make(cls, name: str, memory_bytes: int | None, processes: int | None) -> Group:
        """Make what this machine allows, which can be nothing. `name`: unique on the machine."""
        found = cls()
        mounts = _mounts()
        for controllers, place in _places():
            wanted = [each for each in _NEEDED if each in controllers]
            at = mounts.get(wanted[0] if wanted else _V2 if controllers == {_V2} else "-")
            if at is None:
                continue
            if controllers == {_V2}:
                found._make_v2(at, place, name, memory_bytes, processes)
            else:
                found._make_v1(wanted, os.path.join(at, place.lstrip("/"), name), memory_bytes, processes)
        return found

    def add(self, pid: int) -> None:
        """Move a process into the groups; its future children are born there. If the machine does not allow that, there is no group."""
        if not all(_set(os.path.join(path, _PROCS), pid) for path in self.paths):
            self.memory = self.processes = False
            self.remove()

    def pids(self) -> list[int] | None:
        """The processes in the groups. Returns None if there is no group."""
        return [int(line) for line in _lines(os.path.join(self.paths[0], _PROCS))] if self.paths else None

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process because of the memory limit."""
        for path in self.paths:
            for name in ("memory.events", "memory.oom_control"):
                for line in _lines(os.path.join(path, name)):
                    if line.startswith("oom_kill ") and int(line.split()[1]) > 0:
                        return True
        return False

    def kill(self) -> None:
        """Kill everything in the groups at once, where the kernel offers that."""
        kill(self.paths)

    def remove(self) -> None:
        """Remove the groups, whose processes have ended."""
        remove(self.paths)
        self.paths = []

    def _make_v1(self, wanted: list[str], path: str, memory_bytes: int | None, processes: int | None) -> None:
        if not _made(path):
            return
        self.paths.append(path)
        if "memory" in wanted and memory_bytes is not None:
            self.memory = _set(os.path.join(path, "memory.limit_in_bytes"), memory_bytes)
            _set(os.path.join(path, "memory.memsw.limit_in_bytes"), memory_bytes)
        if "pids" in wanted and processes is not None:
            self.processes = _set(os.path.join(path, "pids.max"), processes)

    def _make_v2(self, at: str, place: str, name: str, memory_bytes: int | None, processes: int | None) -> None:
        """Inside our own group or next to it: a group with processes cannot hand controllers to groups inside it, except the root.

        A group without controllers is still good for killing all its processes at once.
        """
        own = os.path.join(at, place.strip("/")).rstrip("/")
        above = [own] if place == "/" else [own, os.path.dirname(own)]
        for bounds, folder in [(True, each) for each in above] + [(False, each) for each in above]:
            path = os.path.join(folder, name)
            if not _made(path):
                continue
            memory = memory_bytes is not None and _set(os.path.join(path, "memory.max"), memory_bytes)
            count = processes is not None and _set(os.path.join(path, "pids.max"), processes)
            if memory or count if bounds else os.path.exists(os.path.join(path, "cgroup.kill")):
                _set(os.path.join(path, "memory.swap.max"), 0)
                _set(os.path.join(path, "memory.oom.group"), 1)
                self.paths.append(path)
                self.memory, self.processes = self.memory or memory, self.processes or count
                return
            remove([path])


def kill(paths: list[str]) -> None:
    """Kill all processes of groups at once, where the kernel offers that (version 2, Linux 5.14)."""
    for path in paths:
        _set(os.path.join(path, "cgroup.kill"), 1)


def remove(paths: list[str]) -> None:
    """Remove groups. A process that has just ended keeps its group for a moment."""
    for path in paths:
        for _ in range(_REMOVE_TRIES):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(_REMOVE_PAUSE_S)
            else:
                break


def _places() -> list[tuple[set[str], str]]:
    """By hierarchy: its controllers (version 2: one empty name) and the group of this process."""
    found = []
    for line in _lines("/proc/self/cgroup"):
        _, controllers, place = line.rstrip("\n").split(":", 2)
        found.append(({*controllers.split(",")}, place))
    return found


def _mounts() -> dict[str, str]:
    """Where the hierarchy of a controller is mounted. The empty name is version 2."""
    found: dict[str, str] = {}
    for line in _lines("/proc/self/mounts"):
        _, path, kind, options, *_ = line.split(" ")
        path = path.encode().decode("unicode_escape")
        if kind == "cgroup2":
            found.setdefault(_V2, path)
        elif kind == "cgroup":
            for option in options.split(","):
                found.setdefault(option, path)
    return found


def _made(path: str) -> bool:
    """Make a group. One that is left of an earlier run is used again, without its processes."""
    try:
        os.mkdir(path)
    except FileExistsError:
        return os.access(os.path.join(path, _PROCS), os.W_OK)
    except OSError:
        return False
    return True


def _set(path: str, value: int) -> bool:
    try:
        _write(path, value)
    except OSError:
        return False
    return True


def _write(path: str, value: int) -> None:
    # Without O_CREAT: a file that is not there must not become an ordinary file.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, b"%d" % value)
    finally:
        os.close(descriptor)


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return list(file)
    except OSError:
        return []
