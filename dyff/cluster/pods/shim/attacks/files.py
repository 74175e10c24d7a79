"""Attacks on files: of the server, of another pod, and of the machine."""

from __future__ import annotations

import os
from contextlib import suppress

TYPE_CHECKING = False  # see `shim.files`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Targets = dict[str, Any]

_READ = 1 << 16


def _word(at: Targets) -> bytes:
    """The secret word. The attacks get it backwards, so that they do not find it in their own command line."""
    return str(at["word_backwards"])[::-1].encode()


def _content(path: str, word: bytes) -> str | None:
    """Read a file or what is in a folder, and look for the word."""
    with open(path, "rb") as file:
        return f"read {path}" if word in file.read(_READ) else None


def read_a_secret_file(at: Targets) -> str | None:
    """The server's key, by its path."""
    return _content(at["secret"], _word(at))


def list_a_foreign_folder(at: Targets) -> str | None:
    """The folder of another pod."""
    return f"listed {at['folder']}: {os.listdir(at['folder'])[:3]}"


def read_through_a_link(at: Targets) -> str | None:
    """A symbolic link in our own folder."""
    os.symlink(at["secret"], "link")
    return _content("link", _word(at))


def link_a_secret_file(at: Targets) -> str | None:
    """A second name in our own folder."""
    os.link(at["secret"], "hard")
    return "made a hard link to the secret file"


def read_through_proc(at: Targets) -> str | None:
    """The roots, working directories and open files of all processes lead to files, too."""
    for pid in [name for name in os.listdir("/proc") if name.isdigit()] + ["self", "thread-self", str(at["pid"])]:
        for way in (f"/proc/{pid}/root{at['secret']}", f"/proc/{pid}/cwd/{at['secret_name']}"):
            with suppress(OSError):
                found = _content(way, _word(at))
                if found:
                    return found
        with suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    path = f"/proc/{pid}/fd/{name}"
                    if os.path.isfile(path) and _content(path, _word(at)):
                        return f"read the secret through {path}"
    return None


def read_environments(at: Targets) -> str | None:
    """The environments, command lines and memory maps of all processes."""
    for pid in [name for name in os.listdir("/proc") if name.isdigit()] + [str(at["pid"]), str(os.getppid())]:
        for name in ("environ", "cmdline", "maps", "auxv", "stack", "task/" + pid + "/environ"):
            with suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
                if _word(at) in file.read(_READ) and pid != str(os.getpid()):
                    return f"read the secret in /proc/{pid}/{name}"
    return None


def inherit_a_secret(at: Targets) -> str | None:
    """Our own environment, and descriptors that were left open."""
    if any(at["variable"] in (name, value) for name, value in os.environ.items()):
        return f"the environment has {at['variable']}"
    for descriptor in range(3, 256):
        with suppress(OSError):
            kind = os.readlink(f"/proc/self/fd/{descriptor}") if os.path.exists("/proc/self/fd") else str(os.fstat(descriptor))
            if at["secret_name"] in kind or "server.lock" in kind:
                return f"descriptor {descriptor} is {kind}"
    return None


def write_into_a_foreign_folder(at: Targets) -> str | None:
    """A new file in the folder of another pod."""
    with open(os.path.join(at["folder"], "planted"), "w") as file:
        file.write("x")
    return f"wrote into {at['folder']}"


def change_a_foreign_file(at: Targets) -> str | None:
    """Append to, shorten, rename and remove a file of the server."""
    path = at["secret"]
    changes: tuple[tuple[str, Callable[[], object]], ...] = (
        ("opened for writing", lambda: os.close(os.open(path, os.O_WRONLY))),
        ("truncated", lambda: os.truncate(path, 1 << 20)),
        ("renamed", lambda: os.rename(path, path + ".moved")),
        ("moved to our folder", lambda: os.rename(path, "stolen")),
    )
    for words, change in changes:
        with suppress(OSError):
            change()
            return f"the secret file was {words}"
    return None


def change_foreign_attributes(at: Targets) -> str | None:
    """Permissions, times, owner and extended attributes of a file of the server."""
    path = at["secret"]
    changes: tuple[tuple[str, Callable[[], object]], ...] = (
        ("permissions", lambda: os.chmod(path, 0o666)),
        ("times", lambda: os.utime(path, (0, 0))),
        ("owner", lambda: os.chown(path, os.getuid(), os.getgid())),
        ("extended attributes", lambda: os.setxattr(path, "user.planted", b"1")),
    )
    for words, change in changes:
        with suppress(OSError):
            change()
            return f"the {words} of the secret file were changed"
    return None


def watch_a_foreign_folder(at: Targets) -> str | None:
    """Learn the names of new files."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    watcher = library.inotify_init1(0)
    if watcher >= 0 and library.inotify_add_watch(watcher, at["folder"].encode(), 0xFFF) >= 0:
        return f"{at['folder']} can be watched"
    return None


def write_to_the_system(at: Targets) -> str | None:
    """The machine's programs, settings and devices."""
    for folder in (
        "/",
        "/usr",
        "/usr/bin",
        "/usr/local/lib",
        "/etc",
        "/opt",
        "/opt/dyff/code",
        "/var/tmp",
        "/run",
        "/sys/fs/cgroup",
        "/dev",
    ):
        with suppress(OSError):
            path = os.path.join(folder, f"planted-{os.getpid()}")
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            os.unlink(path)
            return f"wrote into {folder}"
    for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/sys/kernel/uevent_helper"):
        with suppress(OSError):
            os.close(os.open(path, os.O_WRONLY))
            return f"opened {path} for writing"
    return None


def read_devices(at: Targets) -> str | None:
    """Disks, memory and the kernel's log."""
    for name in ("mem", "kmsg", "port", "sda", "vda", "nvme0n1", "fuse", "kvm", "net/tun", "input/event0"):
        with suppress(OSError):
            os.close(os.open(f"/dev/{name}", os.O_RDONLY | os.O_NONBLOCK))
            return f"opened /dev/{name}"
    with suppress(OSError):
        os.mknod("device", 0o020600, os.makedev(1, 1))
        return "made a device file"
    for path in ("/etc/shadow", "/proc/kcore", "/proc/kallsyms" if os.getuid() == 0 else "/proc/kcore", "/proc/1/mem"):
        with suppress(OSError), open(path, "rb") as file:
            if path != "/proc/1/mem" and file.read(1):
                return f"read {path}"
    return None
