"""The arguments of Bubblewrap for a confined container. Pure.

Other users of the machine can read command lines, and a program can read the environment of process 1. So Bubblewrap has an empty one, and
gets its arguments through a descriptor.
"""

from __future__ import annotations

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dyff.cluster.pods.shim import files

HOME = "/home/pod"
INNER_ID = 65534
"""The user that a program sees itself as, if the server is not root."""
_NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
_LAUNCHER_NEEDS = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
"""Rights that root's launcher uses to become another user; it loses all of them by that."""


class Descriptors:
    """Descriptors that Bubblewrap reads or writes. `info`: the process ID inside; `block`: it waits for a byte here; `texts`: by path in
    the sandbox, files that are made from what can be read here.
    """

    def __init__(self, info: int, block: int, texts: dict[str, int]) -> None:
        self.info, self.block, self.texts = info, block, texts


def arguments(confinement: files.Json, folders: dict[str, str], hostname: str, at: Descriptors) -> list[str]:
    """All arguments before the program's own. `folders`: by path in the sandbox, the writable folders of the pod."""
    return [
        *_NAMESPACES,
        *_identity(confinement["uid"]),
        "--die-with-parent",
        "--new-session",
        *("--hostname", hostname),
        *("--info-fd", str(at.info), "--block-fd", str(at.block)),
        *_files(confinement, folders, at.texts),
        *("--chdir", "/"),  # the launcher changes it, when it is the user that may enter it
    ]


def _identity(uid: int | None) -> list[str]:
    """Root needs no namespace of users, in which it could not enter private folders: its launcher becomes another user inside."""
    if uid is not None:
        return ["--cap-drop", "ALL", *(word for name in _LAUNCHER_NEEDS for word in ("--cap-add", name))]
    inner = str(INNER_ID)
    return ["--unshare-user", "--disable-userns", "--uid", inner, "--gid", inner, "--cap-drop", "ALL"]


def _files(confinement: files.Json, folders: dict[str, str], texts: dict[str, int]) -> list[str]:
    """Later mounts hide earlier ones. So those of the account come last, but for what the program needs below one of them: a program
    that is installed below `/tmp`, for instance.
    """
    system = [(each["source"], each["target"]) for each in confinement["system"]]
    volumes = [(each["source"], each["target"], each["read_only"]) for each in confinement["volumes"]]
    writable = [(source, path, False) for path, source in folders.items()]
    outer = [path for _, path, _ in (*writable, *volumes)]
    words = _parents([path for _, path in system] + [*texts] + outer)
    for source, path in system:
        words += ["--ro-bind", source, path] if above(path, outer) is None else []
    for target, path in confinement["links"]:
        words += ["--symlink", target, path]
    for path, descriptor in texts.items():
        words += ["--perms", "0444", "--ro-bind-data", str(descriptor), path]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for source, path, read_only in (*writable, *volumes):
        words += ["--ro-bind" if read_only else "--bind", source, path]
    for source, path in system:
        words += ["--ro-bind", source, path] if above(path, outer) is not None else []
    # What Bubblewrap made itself is in memory, and could be filled.
    return [*words, "--remount-ro", "/dev", "--remount-ro", "/"]


def above(path: str, folders: Iterable[str]) -> str | None:
    """The innermost of these folders that is above the path; None if there is none."""
    return max((each for each in folders if path.startswith(each + "/")), key=len, default=None)


def _parents(paths: list[str]) -> list[str]:
    """Make the folders above these paths so that every user may enter them: Bubblewrap itself would make them for root only."""
    found: dict[str, None] = {}
    for path in paths:
        above = path.split("/")[1:-1]
        found.update(dict.fromkeys("/" + "/".join(above[: depth + 1]) for depth in range(len(above))))
    return [word for path in found for word in ("--perms", "0755", "--dir", path)]


def texts(uid: int | None) -> dict[str, str]:
    """Files of `/etc` that say who and where a program is, without anything of the machine."""
    user = INNER_ID if uid is None else uid
    return {
        "/etc/passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\npod:x:{user}:{user}:pod:{HOME}:/bin/sh\n",
        "/etc/group": f"root:x:0:\npod:x:{user}:\n",
        "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    }
