"""Numbers of system calls for x86_64 and aarch64, and a way to make a call that Python's library does not have."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    import ctypes
    from typing import Any

MACHINES = ("x86_64", "aarch64")
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chmod": (90, None),
    "chown": (92, None),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close_range": (436, 436),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "file_setattr": (469, 469),
    "finit_module": (313, 273),
    "fremovexattr": (199, 16),
    "fsconfig": (431, 431),
    "fsetxattr": (190, 7),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "futimesat": (261, None),
    "get_kernel_syms": (177, None),
    "init_module": (175, 105),
    "inotify_add_watch": (254, 27),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "ioperm": (173, None),
    "iopl": (172, None),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "landlock_add_rule": (445, 445),
    "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446),
    "lchown": (94, None),
    "listmount": (458, 458),
    "lookup_dcookie": (212, 18),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "openat2": (437, 437),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "prlimit64": (302, 261),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "request_key": (249, 218),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "semget": (64, 190),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "setpgid": (109, 154),
    "setpriority": (141, 140),
    "setrlimit": (160, 164),
    "setsid": (112, 157),
    "setsockopt": (54, 208),
    "settimeofday": (164, 170),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    "shmget": (29, 194),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "statmount": (457, 457),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "sysfs": (139, None),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "utime": (132, None),
    "utimensat": (280, 88),
    "utimes": (235, None),
    "vhangup": (153, 58),
}
"""By name: the number on x86_64 and on aarch64; None if that machine does not have the call."""
NEWEST = 469
"""The newest call that was considered when the rules in `seccomp` were written. Both machines number new calls alike."""


def machine() -> str:
    """The name of this machine's architecture, as in `MACHINES` if it is known."""
    return os.uname().machine


def number(name: str, on: str | None = None) -> int | None:
    """The number of a call on a machine (None: this one). Returns None if that machine does not have the call.

    Raises:
        OSError: the machine is not one of `MACHINES`.
    """
    on = on or machine()
    if on not in MACHINES:
        raise OSError(38, f"the system calls of {on} are not known; only {' and '.join(MACHINES)} are supported")
    return NUMBERS[name][MACHINES.index(on)]


def library() -> ctypes.CDLL:
    """The C library. ctypes is imported here, since most shims need it for little."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Return the result of a C function, or raise the error that it has set.

    Raises:
        OSError: the result is negative. `what` is part of the message.
    """
    if result < 0:
        import ctypes

        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def call(name: str, *arguments: Any) -> int:
    """Make a system call. `arguments`: int, bytes, None or ctypes pointers.

    Raises:
        OSError: the call failed, or this machine does not have it.
    """
    import ctypes

    found = number(name)
    if found is None:
        raise OSError(38, f"{name}: this machine does not have this system call")
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return checked(int(library().syscall(ctypes.c_long(found), *words)), name)


def prctl(option: int, value: int = 0, *more: Any) -> int:
    """Call prctl. `more`: further arguments, int or ctypes pointers.

    Raises:
        OSError: the call failed.
    """
    import ctypes

    words = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in (value, *more)]
    words += [ctypes.c_ulong(0)] * (4 - len(words))
    return checked(int(library().prctl(option, *words)), f"prctl({option})")
