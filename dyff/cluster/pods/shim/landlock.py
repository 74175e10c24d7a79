"""Landlock: a process gives up access to all files, ports, signals and abstract sockets except those that it names.

The rules are plain JSON, so that the server can write them into the intent:

    {"system": [paths], "read": [paths], "write": [paths], "devices": [paths], "bind": [ports], "connect": [ports]}

`system`, `read`: files and folders that can be read and executed. `write`: folders in which everything is allowed except new
sockets and device files. `devices`: files that can be read and written, such as /dev/null. `bind`, `connect`: TCP ports. Each entry is
optional; without any, nothing is allowed. Only `system` and `devices` follow symbolic links. The others can be below a folder in which
a program has written, so a symbolic link anywhere in them is an error.

Landlock controls neither the attributes of files nor UDP, Unix sockets with a path, or TCP Fast Open: `seccomp` does.
"""

from __future__ import annotations

import os
import struct

from dyff.cluster.pods.shim import syscalls

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from dyff.cluster.pods.shim.files import Json

SYSTEM_FILES = (
    *("/proc/cpuinfo", "/proc/filesystems", "/proc/loadavg", "/proc/meminfo", "/proc/stat", "/proc/uptime", "/proc/version"),
    *("/proc/sys/kernel/ngroups_max", "/proc/sys/kernel/osrelease", "/proc/sys/kernel/pid_max", "/proc/sys/vm/overcommit_memory"),
    *("/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/kernel/mm/transparent_hugepage"),
)
"""What nearly every program reads of the kernel, without anything about other processes. Paths that do not exist are ignored."""
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt"),
    *("/etc/alternatives", "/etc/ca-certificates", "/etc/crypto-policies", "/etc/fonts", "/etc/group", "/etc/gai.conf", "/etc/host.conf"),
    *("/etc/hosts", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf"),
    *("/etc/os-release", "/etc/passwd", "/etc/pki", "/etc/protocols", "/etc/resolv.conf", "/etc/services", "/etc/ssl", "/etc/timezone"),
    *SYSTEM_FILES,
)
"""The read-only system: programs, libraries, and those files of /etc without which programs do not start."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

ABI_TCP, ABI_SCOPE = 4, 6
"""The versions with control of TCP ports (Linux 6.7), and of signals and abstract Unix sockets (Linux 6.12)."""

_FILES = ("execute", "write_file", "read_file", "read_dir", "remove_dir", "remove_file", "make_char", "make_dir", "make_reg", "make_sock")
_RIGHTS = {name: 1 << bit for bit, name in enumerate((*_FILES, "make_fifo", "make_block", "make_sym", "refer", "truncate", "ioctl_dev"))}
_OF_FILE = ("execute", "write_file", "read_file", "truncate", "ioctl_dev")
_READ = ("execute", "read_file", "read_dir")
_DEVICE = ("read_file", "write_file", "truncate", "ioctl_dev")
_NEVER = ("make_char", "make_block", "make_sock", "ioctl_dev")
_BIND, _CONNECT = 1, 2
_ALL_SCOPES = 3
_RULE_PATH, _RULE_PORT = 1, 2
_ASK_VERSION = 1
_NO_LINKS = 0x02 | 0x04
_AT_FDCWD = -100
_O_PATH = 0o10000000


class Unsupported(OSError):
    """This kernel has no Landlock, or a version that is too old for what is needed."""


def abi() -> int:
    """The version of Landlock that the kernel offers. Returns 0 if there is none, or if it is turned off or forbidden."""
    try:
        return syscalls.call("landlock_create_ruleset", None, 0, _ASK_VERSION)
    except OSError:
        return 0


def require(minimum: int) -> int:
    """Return the version of Landlock.

    Raises:
        Unsupported: it is below `minimum`.
    """
    found = abi()
    if found >= minimum:
        return found
    have = f"offers version {found} of Landlock" if found else "offers no Landlock"
    release = {ABI_TCP: "6.7", ABI_SCOPE: "6.12"}.get(minimum, "newer")
    need = f"version {minimum} is needed (Linux {release}, with landlock in its list of security modules)"
    raise Unsupported(95, f"the kernel {have}, and {need}")


def prepare(rules: Json, *, minimum: int = ABI_SCOPE) -> int:
    """Make a set of rules. Returns a descriptor for `enter`. Paths are opened now, with the privileges of now.

    `minimum`: the version that must be there: `ABI_TCP` is enough for a program under a user ID of its own.

    Raises:
        Unsupported: the version is below `minimum`.
        OSError: a path of `write` or `read` cannot be opened, or goes through a symbolic link.
        ValueError: a port is out of range.
    """
    version = require(minimum)
    rights = {name: bit for name, bit in _RIGHTS.items() if name != "ioctl_dev" or version >= 5}
    scopes = _ALL_SCOPES if version >= ABI_SCOPE else 0
    attributes = struct.pack("=QQQ", sum(rights.values()), _BIND | _CONNECT, scopes)
    size = len(attributes) if version >= ABI_SCOPE else 16
    ruleset = syscalls.call("landlock_create_ruleset", attributes, size, 0)
    try:
        everything = tuple(name for name in rights if name not in _NEVER)
        for key, allowed, trusted in (
            ("system", _READ, True),
            ("read", _READ, False),
            ("write", everything, False),
            ("devices", _DEVICE, True),
        ):
            for path in rules.get(key, ()):
                _allow(ruleset, path, {name: rights[name] for name in allowed if name in rights}, trusted=trusted)
        for key, right in (("bind", _BIND), ("connect", _CONNECT)):
            for port in rules.get(key, ()):
                if not 0 < port < 65536:
                    raise ValueError(f"landlock: {key}: {port} is not a port")
                syscalls.call("landlock_add_rule", ruleset, _RULE_PORT, struct.pack("=QQ", right, port), 0)
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def enter(ruleset: int) -> None:
    """Give up everything that the rules do not allow, for good and over exec, and close the descriptor.

    The process must have no_new_privs.

    Raises:
        OSError: the kernel refuses.
    """
    try:
        syscalls.call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: dict[str, int], *, trusted: bool) -> None:
    opened = _open(path, follow=trusted)
    if opened < 0:
        return
    try:
        folder = os.fstat(opened).st_mode & 0o170000 == 0o040000
        bits = sum(bit for name, bit in rights.items() if folder or name in _OF_FILE)
        syscalls.call("landlock_add_rule", ruleset, _RULE_PATH, struct.pack("=Qi", bits, opened), 0)
    finally:
        os.close(opened)


def _open(path: str, *, follow: bool) -> int:
    """Open a path without reading it. Returns -1 if a path of the system does not exist here."""
    if follow:
        try:
            return os.open(path, _O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return -1  # nothing is granted
    how = struct.pack("=QQQ", _O_PATH | os.O_CLOEXEC, 0, _NO_LINKS)
    try:
        return syscalls.call("openat2", _AT_FDCWD, os.fsencode(path), how, len(how))
    except OSError as error:
        hint = "a symbolic link is in its path" if error.errno == 40 else os.strerror(error.errno or 0)
        raise OSError(error.errno, f"landlock: {path} cannot be opened: {hint}") from error
