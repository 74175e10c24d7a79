"""The limits that the process of the code puts on itself before it loads any of it. It cannot remove them again."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct

from . import memory

_ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""How the kernel names the architecture in its audit records, and the number of `socket` there."""
_X32 = 0x40000000
_LOAD, _EQUAL, _NOT_BELOW, _RETURN = 0x20, 0x15, 0x35, 0x06
_KILL, _ALLOW, _ERROR = 0x80000000, 0x7FFF0000, 0x00050000
_AF_UNIX, _EAFNOSUPPORT, _ENOSYS = 1, 97, 38
_IO_URING_SETUP = 425
"""The same number on both. A ring could make sockets without the call."""
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT, _SCOPE_SIGNALS = 444, 446, 2
"""The numbers of the calls are the same on both."""
_NO_NEW_PRIVILEGES, _SECCOMP, _MODE_FILTER = 38, 22, 2


def limit(memory_bytes: int | None, file_bytes: int) -> None:
    """Bound the memory of this process and of each that it starts, and the size of a file. `memory_bytes`: of all together.

    `RLIMIT_DATA` counts the memory that can be written. The address space would be the wrong measure: libraries reserve much more of
    it than they use.
    """
    own_bytes = None if memory_bytes is None else memory.of_one_process(memory_bytes)
    for kind, wanted in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, file_bytes), (resource.RLIMIT_DATA, own_bytes)):
        if wanted is None:
            continue
        _, hard = resource.getrlimit(kind)
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (allowed, allowed))


def without_sockets() -> None:
    """Refuse every socket that is not local, also to all processes that this one starts.

    Raises:
        OSError: the kernel has no such filters, or the architecture is not known.
    """
    code = no_sockets(platform.machine())

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    held = ctypes.create_string_buffer(code, len(code))
    given = Filter(len(code) // 8, ctypes.addressof(held))
    _prctl(_NO_NEW_PRIVILEGES, 1, 0)
    _prctl(_SECCOMP, _MODE_FILTER, ctypes.addressof(given))


def no_sockets(machine: str) -> bytes:
    """Return the filter for an architecture, as an array of `struct sock_filter`.

    Raises:
        OSError: the architecture is not known.
    """
    if machine not in _ARCHITECTURES:
        raise OSError(f"sockets cannot be refused on the architecture {machine}")
    architecture, socket = _ARCHITECTURES[machine]
    refused = [(_RETURN, _ERROR | _EAFNOSUPPORT, 0, 0), (_RETURN, _ALLOW, 0, 0), (_RETURN, _ERROR | _ENOSYS, 0, 0), (_RETURN, _KILL, 0, 0)]
    # Each jump counts the instructions that it skips. The verdicts are at the end: refused, allowed, no such call, killed.
    checks = [
        (_LOAD, 4, 0, 0),
        (_EQUAL, architecture, 0, 9),
        (_LOAD, 0, 0, 0),
        (_NOT_BELOW, _X32, 7, 0),
        (_EQUAL, _IO_URING_SETUP, 5, 0),
        (_EQUAL, socket, 0, 3),
        (_LOAD, 16, 0, 0),
        (_EQUAL, _AF_UNIX, 1, 0),
    ]
    return b"".join(struct.pack("=HBBI", code, then, otherwise, constant) for code, constant, then, otherwise in [*checks, *refused])


def without_signals() -> bool:
    """Refuse signals to all processes but this one and those that it starts: the code cannot end or stop the one that watches it.

    Returns:
        Whether the kernel can do that (Linux 6.12, with Landlock) and the sandbox lets it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = struct.pack("=QQQ", 0, 0, _SCOPE_SIGNALS)
    rules = libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
    if rules < 0:
        return False
    try:
        _prctl(_NO_NEW_PRIVILEGES, 1, 0)
        return bool(libc.syscall(ctypes.c_long(_LANDLOCK_RESTRICT), ctypes.c_int(rules), ctypes.c_uint(0)) == 0)
    finally:
        os.close(rules)


def adopt_orphans() -> None:
    """Become the parent of the processes whose parents end, so that none is left behind."""
    _prctl(36, 1, 0)


def _prctl(option: int, first: int, second: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    wide = ctypes.c_ulong
    if libc.prctl(ctypes.c_int(option), wide(first), wide(second), wide(0), wide(0)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
