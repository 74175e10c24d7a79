"""The last step before a confined program: gives up every privilege, then executes the program in the same process.

It is used in two ways. In the tier `landlock`, the shim's child calls `become`. In the tier `bubblewrap`, bubblewrap executes
`python -I -S -c BOOT <folder> <plan descriptor> <report descriptor>` inside, and this calls `main`: bubblewrap mounts as root, and only
here does the program get a user ID of its own.

The plan is JSON. All entries but the first three are optional:

    argv, env, cwd   the program. It is searched in the PATH of `env`.
    uid, gid         to which to change (as root only); None: stay the same user
    limits           see `rlimits.apply`
    filter           the result of `seccomp.program`, hexadecimal; None: no filter
    seccomp          the arguments of `seccomp.program`; None: no filter (bubblewrap has installed one)
    landlock         see `landlock.prepare`; None: not used
    parent           process ID of the parent: end when it ends; None: the PID namespace does that
"""

from __future__ import annotations

import os
import signal

from dyff.cluster.pods.shim import landlock, rlimits, seccomp, syscalls

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from typing import NoReturn

    from dyff.cluster.pods.shim.files import Json

BOOT = (
    "import sys; sys.path.append(sys.argv[1]); from dyff.cluster.pods.shim import launcher; "
    "launcher.main(int(sys.argv[2]), int(sys.argv[3]))"
)
"""The program for `python -I -S -c`. The folder contains the folder `dyff`."""
START_ERROR_CODE = 128
"""Exit code if the program could not be executed, as in Kubernetes."""
MAX_PLAN_BYTES = 8 << 20

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_SET_NO_NEW_PRIVS = 1, 24, 47, 38
_AMBIENT_CLEAR_ALL = 4
_LAST_CAPABILITY, _SETPCAP = 63, 8
_CAPABILITY_VERSION = 0x20080522
_EINVAL = 22
_FIRST, _HIGHEST = 3, 0x7FFFFFFF


def main(plan: int, report: int) -> NoReturn:
    """Read the plan from a descriptor until its end, and become the program. `report`: see `become`."""
    import json

    try:
        with open(plan, "rb") as file:
            text = file.read(MAX_PLAN_BYTES + 1)
        if len(text) > MAX_PLAN_BYTES:
            raise ValueError(f"its plan has more than {MAX_PLAN_BYTES} bytes")
        chosen: Json = json.loads(text)
    except BaseException as error:
        os.write(report, f"the program cannot be started: {error}".encode())
        os._exit(START_ERROR_CODE)
    become(chosen, report)


def become(plan: Json, report: int) -> NoReturn:
    """Confine this process and execute the program. The process must have a single thread.

    `report`: a descriptor that gets one sentence if the program cannot be started. It is closed when the program starts, so its reader
    gets the end of file. Descriptors 0, 1 and 2 are kept, all others are closed.
    """
    try:
        os.set_inheritable(report, False)
        confine(plan, report)
        os.chdir(plan["cwd"])
        if plan.get("filter") is not None:
            seccomp.install(bytes.fromhex(plan["filter"]))
        if plan.get("seccomp") is not None:
            seccomp.install(seccomp.program(**plan["seccomp"]))
        os.execvpe(plan["argv"][0], plan["argv"], plan["env"])
    except BaseException as error:
        os.write(report, _words(plan, error).encode(errors="replace"))
    os._exit(START_ERROR_CODE)


def _words(plan: Json, error: BaseException) -> str:
    where = f" (its working directory {plan['cwd']})" if getattr(error, "filename", None) == plan["cwd"] else ""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{plan['argv'][0]!r} cannot be started: {reason}{where}"


def confine(plan: Json, kept: int) -> None:
    """Do everything except the system-call filter: limits, user, capabilities, Landlock, descriptors, signals.

    `kept`: a descriptor that stays open.

    Raises:
        OSError: a step failed. The process must not continue as if it were confined.
    """
    uid, gid = plan.get("uid"), plan.get("gid")
    rules = plan.get("landlock")
    ruleset = None
    if rules is not None:
        ruleset = landlock.prepare(rules, minimum=landlock.ABI_SCOPE if uid is None else landlock.ABI_TCP)
    rlimits.apply({**plan.get("limits", {}), **({} if uid is None else {"uid": uid})})
    _drop_bounds()
    if uid is not None:
        _change_user(uid, uid if gid is None else gid)
    _drop_capabilities()
    syscalls.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if plan.get("parent") is not None:
        _end_with(plan["parent"])
    if ruleset is not None:
        landlock.enter(ruleset)
    _close_others(kept)
    default_signals()
    os.umask(0o077)


def _drop_bounds() -> None:
    """Empty the bounding and ambient sets, so that no program can get a capability back. A process without privileges has nothing there."""
    syscalls.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    for capability in range(_LAST_CAPABILITY + 1):
        try:
            syscalls.prctl(_PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == _EINVAL:  # beyond the last one that this kernel has
                return
            if _capabilities()[0] >> _SETPCAP & 1:
                raise
            return  # not allowed: no_new_privs and an empty permitted set hold as well


def _change_user(uid: int, gid: int) -> None:
    """Become another user for good.

    Raises:
        OSError: this process is not root, or the user is root.
    """
    if uid <= 0 or gid <= 0:
        raise OSError(1, f"a confined program cannot run as user {uid} and group {gid}")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid) or os.getgroups():
        raise OSError(1, f"the change to user {uid} had no effect")


def _drop_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets.

    Raises:
        OSError: some are left.
    """
    import struct

    library = syscalls.library()
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    syscalls.checked(library.capset(header, bytes(24)), "capset")
    if any(_capabilities()):
        raise OSError(1, "some capabilities cannot be dropped")


def _capabilities() -> tuple[int, int, int]:
    """The effective, permitted and inheritable sets."""
    import ctypes
    import struct

    sets = ctypes.create_string_buffer(24)
    syscalls.checked(syscalls.library().capget(struct.pack("=Ii", _CAPABILITY_VERSION, 0), sets), "capget")
    low, high = struct.unpack("=3I", sets.raw[:12]), struct.unpack("=3I", sets.raw[12:])
    return (low[0] | high[0] << 32, low[1] | high[1] << 32, low[2] | high[2] << 32)


def _end_with(parent: int) -> None:
    """Be killed when `parent` ends. A change of the user clears this, so it comes after it."""
    syscalls.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def _close_others(kept: int) -> None:
    if kept < _FIRST:
        raise ValueError(f"descriptor {kept} cannot carry the report, because it is a standard stream")
    for low, high in ((_FIRST, kept - 1), (kept + 1, _HIGHEST)):
        if low <= high:
            syscalls.call("close_range", low, high, 0)


def default_signals() -> None:
    """Reset the signal handling: ignored and blocked signals would survive exec."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except OSError:
                continue  # of the C library itself
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
