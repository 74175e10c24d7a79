"""Process limits of a confined program, and the mark by which its processes are recognized."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from dyff.cluster.pods.shim.files import Json

_MARK_LIMIT = 15
"""RLIMIT_RTTIME, see `seccomp.MARK_LIMIT`. Python's module `resource` does not name it."""
_MARK_LINE = b"Max realtime timeout"
MARK_FROM, MARK_BITS = 1 << 60, 59
"""A mark is this number plus a random number of at most that many bits. Such a limit (36,000 years) never has an effect."""
_DATA_FACTOR, _DATA_EXTRA = 2, 1 << 30


def apply(limits: Json) -> None:
    """Set the limits of this process, as soft and hard limits. Each entry is optional or None for no limit.

    A lower hard limit that the process has already, and may not raise, stays.

    `processes`: processes and threads of the pod; if other processes of this user can be seen, they are added, since the kernel
    counts them, too. `open_files`: descriptors of one process. `disk_bytes`: the size of one file. `memory_bytes`: the memory limit of
    the pod; one process can reserve twice that and 1 GiB, because programs reserve more than they use. This bounds what a program can
    take between two measurements. Core dumps are always turned off.

    Raises:
        OSError, ValueError: a limit is no number that the system takes.
    """
    import resource

    chosen = {resource.RLIMIT_CORE: 0}
    if limits.get("processes") is not None:
        chosen[resource.RLIMIT_NPROC] = limits["processes"] + tasks_of(limits.get("uid", os.getuid()))
    if limits.get("open_files") is not None:
        chosen[resource.RLIMIT_NOFILE] = limits["open_files"]
    if limits.get("disk_bytes") is not None:
        chosen[resource.RLIMIT_FSIZE] = limits["disk_bytes"]
    if limits.get("memory_bytes") is not None:
        chosen[resource.RLIMIT_DATA] = limits["memory_bytes"] * _DATA_FACTOR + _DATA_EXTRA
    for which, value in chosen.items():
        try:
            resource.setrlimit(which, (value, value))
        except (ValueError, OSError):  # root without the capability to raise it, or another user: what is lower is stricter
            value = min(value, resource.getrlimit(which)[1])
            resource.setrlimit(which, (value, value))


def set_mark(mark: int) -> None:
    """Mark this process and everything that it starts. Does nothing where the limit does not exist (not Linux).

    Raises:
        OSError, ValueError: the process has a lower mark already.
    """
    if sys.platform == "linux":
        import resource

        resource.setrlimit(_MARK_LIMIT, (mark, mark))


def tasks_of(uid: int) -> int:
    """The number of threads of the processes of a user that are visible here, as the kernel counts them for RLIMIT_NPROC."""
    return sum(int(_status(pid).get(b"Threads", b"0")) for pid in processes_of(uid))


def processes_of(uid: int) -> list[int]:
    """The processes of a user that are visible here."""
    every = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in every if _status(pid).get(b"Uid", b"-1").split()[0] == b"%d" % uid]


def live_users() -> set[int]:
    """The users that have processes that are visible here. Takes some milliseconds."""
    every = (_status(int(name)).get(b"Uid", b"").split() for name in os.listdir("/proc") if name.isdigit())
    return {int(users[0]) for users in every if users}


def _status(pid: int) -> dict[bytes, bytes]:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return {name: value for name, _, value in (line.partition(b":") for line in file)}
    except OSError:
        return {}


def mark_of(pid: int) -> int | None:
    """The mark of a process. Returns None if it has none or is gone. Every user can read the limits of every process."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            for line in file:
                if line.startswith(_MARK_LINE):
                    value = line.split()[3]
                    return int(value) if value.isdigit() and int(value) >= MARK_FROM else None
    except OSError:
        return None
    return None


def marked(mark: int) -> list[int]:
    """The processes that have a mark: those of one run of a pod, whatever they did. Zombies are among them until they are reaped."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and mark_of(int(name)) == mark]
