"""Attacks on the kernel: namespaces, mounts, and parts that a program does not need."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress

from dyff.cluster.pods.shim import syscalls

TYPE_CHECKING = False  # see `shim.files`
if TYPE_CHECKING:
    from typing import Any

    Targets = dict[str, Any]

_NAMESPACES = {"user": 0x10000000, "mount": 0x20000, "network": 0x40000000, "process": 0x20000000, "cgroup": 0x02000000}


def make_namespaces(at: Targets) -> str | None:
    """In a user namespace of its own, a program has all rights, and far more of the kernel is open to it."""
    for name, flag in _NAMESPACES.items():
        with suppress(OSError):
            syscalls.call("unshare", flag)
            return f"a {name} namespace can be made with unshare"
        with suppress(OSError):
            child = syscalls.call("clone", flag | signal.SIGCHLD, 0, 0, 0, 0)
            if child == 0:
                os._exit(0)
            return f"a {name} namespace can be made with clone"
        with suppress(OSError):
            arguments = (ctypes.c_uint64 * 11)(flag, 0, 0, 0, signal.SIGCHLD)
            child = syscalls.call("clone3", arguments, ctypes.sizeof(arguments))
            if child == 0:
                os._exit(0)
            return f"a {name} namespace can be made with clone3"
    return None


def enter_namespaces(at: Targets) -> str | None:
    """Those of another process."""
    for pid in (1, at["pid"], os.getppid()):
        for name in ("user", "mnt", "net", "pid"):
            with suppress(OSError):
                syscalls.call("setns", os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), 0)
                return f"the {name} namespace of process {pid} can be entered"
    return None


def mount_something(at: Targets) -> str | None:
    """The old and the new calls, and another root."""
    os.makedirs("mounted", exist_ok=True)
    for words, name, arguments in (
        ("a temporary file system", "mount", (b"none", b"mounted", b"tmpfs", 0, None)),
        ("the root", "mount", (b"/", b"mounted", None, 4096, None)),
        ("the root, writable", "mount", (None, b"/", None, 32 | 4096, None)),
        ("nothing over /proc", "umount2", (b"/proc", 2)),
        ("another root", "pivot_root", (b".", b".")),
        ("another root", "chroot", (b".",)),
        ("a new file system", "fsopen", (b"tmpfs", 0)),
        ("a copy of the root", "open_tree", (-100, b"/", 1)),
        ("other attributes", "mount_setattr", (-100, b"/", 0, bytes(32), 32)),
    ):
        with suppress(OSError):
            syscalls.call(name, *arguments)
            return f"{words} can be mounted with {name}"
    return None


def use_risky_calls(at: Targets) -> str | None:
    """Calls in which many faults of the kernel were found, or that need rights."""
    for name, arguments in (
        ("io_uring_setup", (8, bytes(120))),
        ("bpf", (0, bytes(128), 128)),
        ("userfaultfd", (0x80000,)),
        ("userfaultfd", (1,)),
        ("perf_event_open", (bytes(128), 0, -1, -1, 0)),
        ("add_key", (b"user", b"planted", b"x", 1, -3)),
        ("keyctl", (0, -3, 1)),
        ("request_key", (b"user", b"planted", None, -3)),
        ("open_by_handle_at", (-100, bytes(64), 0)),
        ("name_to_handle_at", (-100, b"/", bytes(8) + bytes(128), bytes(8), 0)),
        ("kexec_load", (0, 0, None, 0)),
        ("init_module", (bytes(8), 8, b"")),
        ("fanotify_init", (0, 0)),
        ("personality", (0x0400000,)),
        ("syslog", (3, bytes(64), 64)),
        ("sethostname", (b"planted", 7)),
        ("swapoff", (b"/swap",)),
        ("quotactl", (0, None, 0, None)),
        ("kcmp", (os.getpid(), os.getppid(), 1, 0, 0)),
        ("memfd_secret", (0,)),
    ):
        try:
            syscalls.call(name, *arguments)
        except OSError as error:
            # Other errors mean that the kernel has looked at the arguments, so the call was let through.
            if error.errno in (1, 38) or (name in _NEEDS_RIGHTS and error.errno in (13, 95)):
                continue
        return f"{name} is let through"
    return None


_NEEDS_RIGHTS = frozenset({"bpf", "perf_event_open", "init_module"})


def use_foreign_calls(at: Targets) -> str | None:
    """The calls of 32-bit programs and of x32 have other numbers, which a filter could overlook. The kernel must end such a program."""
    if syscalls.machine() != "x86_64":
        return None
    code = bytes.fromhex("b814000000cd80c3")  # mov eax, 20 (getpid); int 0x80; ret
    import mmap

    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(code)
        where = ctypes.addressof(ctypes.c_char.from_buffer(page))
        if ctypes.CFUNCTYPE(ctypes.c_int)(where)() == os.getpid():
            return "calls of 32-bit programs are let through"
        if syscalls.library().syscall(0x40000000 + 39) == os.getpid():
            return "calls of x32 are let through"
        return "calls of another architecture do not end the program"


def type_into_a_terminal(at: Targets) -> str | None:
    """Put a command into the input of the terminal from which the server was started."""
    import fcntl

    for descriptor in (0, 1, 2):
        with suppress(OSError):
            fcntl.ioctl(descriptor, 0x5412, b"x")
            return "text can be typed into a terminal"
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR))
        return "the terminal can be opened"
    return None
