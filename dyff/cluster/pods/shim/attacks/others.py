"""Attacks on other processes: the server, its supervisor, and those of other pods."""

from __future__ import annotations

import os
from contextlib import suppress

TYPE_CHECKING = False  # see `shim.files`
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Targets = dict[str, Any]


_SEIZE = 0x4206
"""PTRACE_SEIZE, which unlike PTRACE_ATTACH does not stop the process: an attack that succeeds must not harm the server."""


def _foreign(at: Targets) -> Iterator[int]:
    """Processes that are not ours: the target and our supervisor."""
    for pid in sorted({at["pid"], at["shim"]} - {0}):
        # In a numbering of our own the same number is another process, or none.
        if _same(pid, at):
            yield pid


def _same(pid: int, at: Targets) -> bool:
    """Whether this number is the target's here, too. Without /proc it is assumed."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[19] == str(at["ticks"]) if pid == at["pid"] else True
    except PermissionError:
        return True
    except OSError:
        return not os.path.isdir("/proc/self")


def see_other_processes(at: Targets) -> str | None:
    """Find the target in the list of processes and learn its command."""
    for pid in _foreign(at):
        with suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
            if file.read():
                return f"read the command of process {pid}"
    return None


def signal_other_processes(at: Targets) -> str | None:
    """Signal 0 asks only whether a real one would be delivered."""
    import signal

    for pid in _foreign(at):
        attempts: tuple[tuple[str, Callable[[int], object]], ...] = (
            ("kill", lambda each: os.kill(each, 0)),
            ("pidfd_send_signal", lambda each: signal.pidfd_send_signal(os.pidfd_open(each), 0)),
            ("killpg", lambda each: os.killpg(os.getpgid(each), 0)),
        )
        for words, attempt in attempts:
            with suppress(OSError):
                attempt(pid)
                return f"process {pid} can be signalled with {words}"
    return None


def trace_other_processes(at: Targets) -> str | None:
    """Read the memory of another process, or take its descriptors."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    for pid in _foreign(at):
        if library.ptrace(_SEIZE, pid, None, None) == 0:
            return f"process {pid} can be traced"
        buffer = ctypes.create_string_buffer(8)
        vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
        if library.process_vm_readv(pid, vector, 1, vector, 1, 0) > 0:
            return f"the memory of process {pid} can be read"
        with suppress(OSError):
            os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))
            return f"/proc/{pid}/mem can be opened"
        with suppress(OSError):
            pinned = os.pidfd_open(pid)
            if library.syscall(438, pinned, 1, 0) >= 0:
                return f"a descriptor of process {pid} can be taken"
    return None


def change_limits_of_others(at: Targets) -> str | None:
    """Slow another process down, or take its limits away."""
    import resource

    for pid in _foreign(at):
        attempts: tuple[tuple[str, Callable[[int], object]], ...] = (
            ("limits", lambda each: resource.prlimit(each, resource.RLIMIT_CORE, resource.prlimit(each, resource.RLIMIT_CORE))),
            ("priority", lambda each: os.setpriority(os.PRIO_PROCESS, each, os.getpriority(os.PRIO_PROCESS, each))),
            ("processors", lambda each: os.sched_setaffinity(each, os.sched_getaffinity(each))),
            ("scheduling", lambda each: os.sched_setscheduler(each, os.SCHED_BATCH, os.sched_param(0))),
        )
        for words, attempt in attempts:
            with suppress(OSError):
                attempt(pid)
                return f"the {words} of process {pid} can be changed"
    return None


def share_memory_with_others(at: Targets) -> str | None:
    """Shared memory and message queues by which pods could talk, and which would outlive them."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    segment = library.shmget(at["key"], 4096, 0o1666)
    if segment >= 0 and os.stat("/proc/self/ns/ipc").st_ino == at["ipc"]:
        library.shmctl(segment, 0, None)
        return "a segment of shared memory of the machine can be made"
    os.close(os.open(os.path.join("/dev/shm", at["shm_name"]), os.O_RDONLY))
    return "a file in the machine's /dev/shm can be read"


def become_root(at: Targets) -> str | None:
    """Another user, more rights, or a group of the server."""
    attempts: tuple[tuple[str, Callable[[], object]], ...] = (
        ("user", lambda: os.setuid(0) if os.getuid() else os.setgroups([1])),
        ("effective user", lambda: os.setresuid(-1, 0, -1) if os.getuid() else os.setgroups([1])),
        ("group", lambda: os.setgid(0) if os.getgid() else os.setgroups([1])),
        ("groups", lambda: os.setgroups([0, 4, 6, 27])),
        ("rank for the kernel's memory killer", lambda: _write("/proc/self/oom_score_adj", "-1000")),
    )
    for words, attempt in attempts:
        with suppress(OSError):
            attempt()
            return f"the {words} can be changed"
    with suppress(OSError), open("/proc/self/status") as file:
        fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
        held = [name for name in ("CapEff", "CapPrm", "CapInh", "CapAmb") if int(fields[name], 16)]
        if held or fields["NoNewPrivs"].strip() != "1" or fields["Seccomp"].strip() != "2":
            return f"rights are left: {held or 'no_new_privs or the filter is missing'}"
    return None


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
