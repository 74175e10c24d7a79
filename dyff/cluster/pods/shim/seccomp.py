"""The system calls that a confined program may not make, as a seccomp filter.

The filter is a program of classic BPF that the kernel runs before every system call. The rules are below, as tables and small
functions. `bwrap --seccomp FD` reads the same bytes that `install` gives to the kernel.

There are two tiers. In the tier `bubblewrap`, namespaces hide everything else from the program, so the filter only removes the
ways out of a namespace and the parts of the kernel where most faults were found. In the tier `landlock` there are no namespaces, so
the filter also removes what Landlock does not control: datagrams, Unix sockets, TCP Fast Open, the attributes of files, and the
priorities and limits of other processes.
"""

from __future__ import annotations

import struct

from dyff.cluster.pods.shim import syscalls

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    Line = str | tuple[int, int, int | str, int | str]  # a label, or an instruction: code, constant, jump if true, jump if false

BUBBLEWRAP, LANDLOCK = "bubblewrap", "landlock"

DENIED = (
    # namespaces and mounts, also by the newer calls
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig"),
    *("fsmount", "fspick", "mount_setattr", "statmount", "listmount"),
    # other processes
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_getfd"),
    *("move_pages", "migrate_pages"),
    # files without a path
    *("open_by_handle_at", "name_to_handle_at", "fanotify_init", "fanotify_mark"),
    # parts of the kernel in which many faults were found, and which these programs do not need
    *("bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl", "io_uring_setup", "io_uring_enter"),
    *("io_uring_register", "modify_ldt", "memfd_secret", "lookup_dcookie"),
    # the machine
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module", "get_kernel_syms"),
    *("query_module", "reboot", "swapon", "swapoff", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex"),
    *("sethostname", "setdomainname", "syslog", "quotactl", "quotactl_fd", "nfsservctl", "vhangup", "iopl", "ioperm", "uselib", "ustat"),
    *("sysfs", "_sysctl"),
    # memory and messages that outlive the program and that no limit counts
    *("shmget", "semget", "msgget", "mq_open"),
)
"""Refused in both tiers."""
DENIED_LANDLOCK = ("inotify_add_watch",)
"""Refused in the tier `landlock`: it would show the names of new files in folders that the program cannot read."""
DENIED_SHARED_USER = (
    # Landlock does not control the attributes of files, and the server's files have the same owner.
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "file_setattr"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat"),
    *("utime", "utimes", "utimensat", "futimesat"),
    # All processes stay in one process group, so that one signal reaches all of them.
    *("setsid", "setpgid"),
)
"""Refused in the tier `landlock` if the program has the server's user ID."""
MARK_LIMIT = 15
"""The limit of processor time of real-time processes, which no confined program can be, marks the processes of a pod (`marks`)."""

_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020080
"""CLONE_NEW* for time, mounts, cgroups, UTS, IPC, users, process IDs and networks."""
_CLONE_SIGNAL = 0xFF
_UNIX, _INET, _INET6 = 1, 2, 10
_STREAM, _DATAGRAM, _SEQPACKET, _KIND = 1, 2, 5, 0xF
_TCP, _UDP = 6, 17
_MSG_FASTOPEN = 0x20000000
_TCP_FASTOPEN_CONNECT, _TCP_ULP, _TCP_REPAIR = 30, 31, 19
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PERSONALITIES = (0, 0xFFFFFFFF)

_LOAD, _EQUAL, _ABOVE, _NOT_BELOW, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x54, 0x06
_KILL, _ALLOW, _ERROR = 0x80000000, 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16


def program(tier: str, *, network: bool = True, own_user: bool = True, machine: str | None = None) -> bytes:
    """The filter as an array of `struct sock_filter`, 8 bytes for each instruction.

    Args:
        tier: `bubblewrap` or `landlock`.
        network: whether the program may have internet sockets.
        own_user: whether the program runs under a user ID that no other pod and not the server has.
        machine: the architecture; None for this machine.

    Raises:
        OSError: the architecture is not known.
        ValueError: there is no such tier.
    """
    if tier not in (BUBBLEWRAP, LANDLOCK):
        raise ValueError(f"there is no tier {tier!r}; it is {BUBBLEWRAP} or {LANDLOCK}")
    on = machine or syscalls.machine()
    syscalls.number("clone", on)  # refuses an unknown architecture
    denied: tuple[str, ...] = DENIED
    if tier == LANDLOCK:
        denied += DENIED_LANDLOCK if own_user else DENIED_LANDLOCK + DENIED_SHARED_USER
    lines: list[Line] = [*_entry(on), *_refused(denied, on)]
    rules = {**_common(), **(_landlocked(network) if tier == LANDLOCK else {"socket": _sockets(network, datagrams=True, local=True)})}
    for name, body in rules.items():
        number = syscalls.number(name, on)
        if number is not None:
            lines += [(_EQUAL, number, 0, f"after {name}"), *_renamed(body, name), f"after {name}"]
    return _assembled([*lines, _leave(_ALLOW)])


def install(code: bytes) -> None:
    """Apply a filter to this process for good. It holds for all threads that start later and over exec.

    Raises:
        OSError: the kernel refuses; the process has neither no_new_privs nor the privilege, or the kernel has no seccomp.
    """
    import ctypes

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    held = ctypes.create_string_buffer(code, len(code))
    given = Filter(len(code) // 8, ctypes.addressof(held))
    syscalls.prctl(22, 2, ctypes.byref(given))


def _leave(action: int) -> Line:
    return (_RETURN, action, 0, 0)


def _refuse(error: int = _EPERM) -> Line:
    return _leave(_ERROR | error)


def _argument(index: int, *, high: bool = False) -> Line:
    """Load 32 bits of an argument. The kernel reads the arguments that are compared here as 32-bit numbers, except pointers."""
    return (_LOAD, _ARGUMENTS_AT + 8 * index + (4 if high else 0), 0, 0)


def _entry(on: str) -> list[Line]:
    """Kill a program that uses another architecture's calls, whose numbers mean other things; refuse calls that are not known yet."""
    foreign: list[Line] = [(_NOT_BELOW, _X32, 0, "native"), _leave(_KILL), "native"] if on == "x86_64" else []
    return [
        (_LOAD, _ARCHITECTURE_AT, 0, 0),
        (_EQUAL, _AUDIT[on], "own", 0),
        _leave(_KILL),
        "own",
        (_LOAD, _NUMBER_AT, 0, 0),
        *foreign,
        (_ABOVE, syscalls.NEWEST, 0, "known"),
        _refuse(_ENOSYS),
        "known",
    ]


def _refused(names: tuple[str, ...], on: str) -> list[Line]:
    numbers = [number for number in (syscalls.number(name, on) for name in names) if number is not None]
    return [each for number in numbers for each in ((_EQUAL, number, 0, 1), _refuse())]


def _common() -> dict[str, list[Line]]:
    """Rules about arguments in both tiers. Each ends with a verdict on every path."""
    return {
        # clone3 has its flags in memory, which a filter cannot read. Libraries fall back to clone.
        "clone3": [_refuse(_ENOSYS)],
        "clone": [_argument(0), (_ANY_BIT, _NEW_NAMESPACES & ~_CLONE_SIGNAL, 0, 1), _refuse(), _leave(_ALLOW)],
        "personality": _only(0, _PERSONALITIES),
        "ioctl": [_argument(1), (_EQUAL, _TIOCSTI, "no", 0), (_EQUAL, _TIOCLINUX, "no", 0), _leave(_ALLOW), "no", _refuse()],
        "setrlimit": [_argument(0), (_EQUAL, MARK_LIMIT, 0, 1), _refuse(), _leave(_ALLOW)],
        "prlimit64": _own_limits(others=True),
        "socketpair": _pairs((_STREAM, _SEQPACKET, _DATAGRAM)),
    }


def _landlocked(network: bool) -> dict[str, list[Line]]:
    """Rules of the tier `landlock`, which replace or extend the common ones."""
    mine = [_argument(0), (_EQUAL, 0, 1, 0), _refuse(), _leave(_ALLOW)]
    priority = {"setpriority": 0, "ioprio_set": 1}
    return {
        "socket": _sockets(network, datagrams=False, local=False),
        # A pair of datagram sockets could be connected to any Unix socket of the machine later.
        "socketpair": _pairs((_STREAM, _SEQPACKET)),
        "sendto": _without(3, _MSG_FASTOPEN),
        "sendmsg": _without(2, _MSG_FASTOPEN),
        "sendmmsg": _without(3, _MSG_FASTOPEN),
        "setsockopt": _options(),
        "prlimit64": _own_limits(others=False),
        **dict.fromkeys(("sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"), mine),
        **{
            name: [_argument(0), (_EQUAL, which, 0, 2), _argument(1), (_EQUAL, 0, 1, 0), _refuse(), _leave(_ALLOW)]
            for name, which in priority.items()
        },
    }


def _only(argument: int, values: tuple[int, ...]) -> list[Line]:
    return [_argument(argument), *((_EQUAL, value, "yes", 0) for value in values), _refuse(), "yes", _leave(_ALLOW)]


def _without(argument: int, bits: int) -> list[Line]:
    return [_argument(argument), (_ANY_BIT, bits, 0, 1), _refuse(), _leave(_ALLOW)]


def _own_limits(*, others: bool) -> list[Line]:
    """Limits can be changed, except the one that marks the pod's processes. `others`: also those of other processes."""
    alone: list[Line] = [] if others else [_argument(0), (_EQUAL, 0, 1, 0), _refuse()]
    unchanged: list[Line] = [_argument(2), (_EQUAL, 0, 0, "no"), _argument(2, high=True), (_EQUAL, 0, "yes", 0)]
    return [*alone, _argument(1), (_EQUAL, MARK_LIMIT, 0, "yes"), *unchanged, "no", _refuse(), "yes", _leave(_ALLOW)]


def _options() -> list[Line]:
    """Options of TCP that connect past Landlock, or that change the protocol of a socket."""
    bad: list[Line] = [(_EQUAL, option, "no", 0) for option in (_TCP_FASTOPEN_CONNECT, _TCP_ULP, _TCP_REPAIR)]
    return [_argument(1), (_EQUAL, _TCP, 0, "yes"), _argument(2), *bad, "yes", _leave(_ALLOW), "no", _refuse()]


def _sockets(network: bool, *, datagrams: bool, local: bool) -> list[Line]:
    """Unix sockets if `local`; TCP, and UDP if `datagrams`, over IPv4 and IPv6. Never raw sockets, Netlink, vsock or others."""
    families: list[Line] = [(_EQUAL, _UNIX, "yes", 0)] if local else []
    if not network:
        return [_argument(0), *families, _refuse(_EAFNOSUPPORT), "yes", _leave(_ALLOW)]
    families += [(_EQUAL, _INET, "inet", 0), (_EQUAL, _INET6, "inet", 0)]
    lines = [_argument(0), *families, _refuse(_EAFNOSUPPORT), "inet", _argument(1), (_AND, _KIND, 0, 0)]
    kinds = {"stream": (_STREAM, _TCP), **({"datagram": (_DATAGRAM, _UDP)} if datagrams else {})}
    lines += [(_EQUAL, kind, name, 0) for name, (kind, _) in kinds.items()]
    lines.append(_refuse())
    for name, (_, protocol) in kinds.items():
        lines += [name, _argument(2), (_EQUAL, 0, "yes", 0), (_EQUAL, protocol, "yes", "no")]
    return [*lines, "no", _refuse(), "yes", _leave(_ALLOW)]


def _pairs(kinds: tuple[int, ...]) -> list[Line]:
    """Pairs of connected Unix sockets of these kinds."""
    family: list[Line] = [_argument(0), (_EQUAL, _UNIX, 1, 0), _refuse(_EAFNOSUPPORT)]
    wanted: list[Line] = [(_EQUAL, kind, "yes", 0) for kind in kinds]
    return [*family, _argument(1), (_AND, _KIND, 0, 0), *wanted, _refuse(), "yes", _leave(_ALLOW)]


def _renamed(body: list[Line], prefix: str) -> list[Line]:
    """Make the labels of a rule unique."""

    def name(jump: int | str) -> int | str:
        return f"{prefix} {jump}" if isinstance(jump, str) else jump

    return [f"{prefix} {line}" if isinstance(line, str) else (line[0], line[1], name(line[2]), name(line[3])) for line in body]


def _assembled(lines: list[Line]) -> bytes:
    """Resolve the labels. A jump counts the instructions that it skips, at most 255."""
    places: dict[str, int] = {}
    instructions: list[tuple[int, int, int | str, int | str]] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(instructions)
        else:
            instructions.append(line)

    def skipped(jump: int | str, at: int) -> int:
        return places[jump] - at - 1 if isinstance(jump, str) else jump

    return b"".join(
        struct.pack("=HBBI", code, skipped(then, at), skipped(otherwise, at), constant)
        for at, (code, constant, then, otherwise) in enumerate(instructions)
    )
