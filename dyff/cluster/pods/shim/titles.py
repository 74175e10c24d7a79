"""What `/proc` shows about a process that was forked and executes no new program: its command line and its environment.

A forked process shows those of the process that it was forked from. Here it overwrites them, in the memory where the kernel left them
at the start, so that it is recognized like a process of its own (`stopping.kill_orphans`) and shows up as what it is in `ps`. The
memory must be large enough, so the template starts with padding in both.
"""

from __future__ import annotations

import ctypes

PADDING = "DYFF_PADDING"
"""The variable whose value is only there to be overwritten."""
COMMAND_BYTES = 1024
ENVIRONMENT_BYTES = 3 * 4096
"""The sizes of the padding. Two paths of the longest length fit into the environment."""
_ARGUMENTS, _VARIABLES = 45, 47
"""Places of the addresses in `/proc/self/stat`, after the command name."""


def room() -> tuple[int, int]:
    """How many bytes the command line and the environment can have; (0, 0) if the system does not say where they are."""
    (first, last), (begin, end) = _area(_ARGUMENTS), _area(_VARIABLES)
    return last - first, end - begin


def show(argv: list[str], env: dict[str, str]) -> None:
    """Show this command line, shortened if it is too long, and this environment.

    The C library's own environment must not be in use: `forked.replace_environment` must have been called before.

    Raises:
        OSError: there is no room for the environment.
    """
    variables = b"".join(f"{name}={value}".encode(errors="surrogateescape") + b"\0" for name, value in env.items())
    begin, end = _area(_VARIABLES)
    if len(variables) > end - begin:
        raise OSError(f"there is no room for {len(variables)} bytes of environment")
    _write(begin, end, variables)
    first, last = _area(_ARGUMENTS)
    if last - first > 1:
        command = b"".join(word.encode(errors="surrogateescape") + b"\0" for word in argv)
        _write(first, last, command[: last - first - 1])


def _area(place: int) -> tuple[int, int]:
    """The beginning and the end of an area of this process's memory; equal if they are not known."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[place]), int(fields[place + 1])
    except (OSError, IndexError):
        return 0, 0


def _write(begin: int, end: int, data: bytes) -> None:
    ctypes.memmove(begin, data, len(data))
    ctypes.memset(begin + len(data), 0, end - begin - len(data))
