"""How much disk a pod uses: all files below its writable folders, and files that its processes keep open after their deletion.

The program changes these folders during the measurement, and on purpose. So every step goes through the descriptor of a folder and
follows no symbolic link, the depth is bounded, and the walk ends as soon as a limit is exceeded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterator

MAX_DEPTH = 200
"""Folders inside folders. Each level of the walk holds two descriptors."""
MAX_DESCRIPTORS = 20_000
"""Open files of a pod that are examined in one measurement."""
STEP_ENTRIES = 2_000
"""Entries that are examined before the caller gets control again, some milliseconds."""
_BLOCK = 512
_O_PATH = getattr(os, "O_PATH", 0)


class TooMuch(Exception):
    """The walk found more than allowed. `what` says what: bytes, files or depth."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Walk:
    """One measurement. `bytes`, `files`: what was found until now; a file with several names counts once.

    `unseen`: whether there can be deleted files that were not found.
    """

    def __init__(self, folders: list[str], max_bytes: int, max_files: int) -> None:
        self._folders, self._max_bytes, self._max_files = folders, max_bytes, max_files
        self._linked: set[tuple[int, int]] = set()
        self._devices: set[int] = set()
        self.bytes = self.files = 0
        self.unseen = False

    def run(self) -> Iterator[None]:
        """Measure the folders. Yields after every `STEP_ENTRIES` entries.

        Raises:
            TooMuch: a limit is exceeded.
        """
        for path in _outermost(self._folders):
            try:
                top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue  # it does not exist (yet)
            self._devices.add(os.fstat(top).st_dev)
            yield from self._below(top)

    def _below(self, top: int) -> Iterator[None]:
        """Walk a tree depth first. `top` is closed."""
        levels: list[tuple[int, list[str]]] = []
        seen = 0
        try:
            levels.append((top, []))
            for _ in self._read(top, levels[-1][1]):
                yield
            while levels:
                folder, names = levels[-1]
                if not names:
                    os.close(folder)
                    levels.pop()
                    continue
                inner = _enter(folder, names.pop())
                if inner < 0:
                    continue
                if len(levels) >= MAX_DEPTH:
                    os.close(inner)
                    raise TooMuch("depth")
                levels.append((inner, []))
                for _ in self._read(inner, levels[-1][1]):
                    yield
                seen += 1
                if seen % STEP_ENTRIES == 0:
                    yield
        finally:
            for folder, _ in levels:
                os.close(folder)

    def _read(self, folder: int, names: list[str]) -> Iterator[None]:
        """Count the entries of one folder, and add the names of those that are folders to `names`."""
        try:
            entries = os.scandir(folder)
        except OSError:
            return
        with entries:
            for count, entry in enumerate(entries, 1):
                try:
                    known = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                except OSError:
                    continue  # removed meanwhile
                self._count(known)
                if stat.S_ISDIR(known.st_mode):
                    names.append(entry.name)
                if count % STEP_ENTRIES == 0:
                    yield

    def _count(self, known: os.stat_result) -> None:
        if known.st_nlink > 1 and not stat.S_ISDIR(known.st_mode):
            identity = (known.st_dev, known.st_ino)
            if identity in self._linked:
                return
            self._linked.add(identity)
        self._add(known)

    def _add(self, known: os.stat_result) -> None:
        self.files += 1
        self.bytes += known.st_blocks * _BLOCK
        if self.files > self._max_files:
            raise TooMuch("files")
        if self.bytes > self._max_bytes:
            raise TooMuch("bytes")

    def add_deleted(self, pids: list[int], ours: Container[int] = ()) -> None:
        """Count the files without a name that these processes hold, on the disk of the folders. `ours`: those that run our own code.

        Raises:
            TooMuch: a limit is exceeded.
        """
        examined = 0
        for pid in pids:
            try:
                for path in _held(pid):
                    examined += 1
                    if examined > MAX_DESCRIPTORS:
                        self.unseen = True
                        return
                    self._add_held(path)
            except PermissionError:
                self.unseen = self.unseen or pid not in ours

    def _add_held(self, path: str) -> None:
        try:
            known = os.stat(path)
        except PermissionError:
            self.unseen = True  # only root can look at a file that is mapped, but not open any more
            return
        except OSError:
            return
        if stat.S_ISSOCK(known.st_mode):
            self.unseen = self.unseen or carries(path)
        identity = (known.st_dev, known.st_ino)
        if known.st_nlink == 0 and known.st_dev in self._devices and stat.S_ISREG(known.st_mode) and identity not in self._linked:
            self._linked.add(identity)
            self._add(known)


def _held(pid: int) -> Iterator[str]:
    """Paths of the open and the mapped files of a process.

    Raises:
        PermissionError: this user may not see them.
    """
    try:
        yield from [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
        with open(f"/proc/{pid}/maps", "rb") as file:
            gone = [line.split(None, 1)[0].decode() for line in file if line.endswith(b" (deleted)\n")]
    except PermissionError:
        raise
    except OSError:
        return
    yield from [f"/proc/{pid}/map_files/{_plain(span)}" for span in gone]


def carries(path: str) -> bool:
    """Whether descriptors are on their way to this socket: then no process has them, and they can be of any file."""
    try:
        with open(path.replace("/fd/", "/fdinfo/", 1), "rb") as file:
            return any(line.startswith(b"scm_fds:") and int(line.split()[1]) > 0 for line in file)
    except OSError:
        return False


def used_bytes(folder: str) -> int:
    """What is in use of the disk on which a folder is, by everyone. Returns 0 if the folder does not exist."""
    try:
        known = os.statvfs(folder)
    except OSError:
        return 0
    return (known.f_blocks - known.f_bfree) * known.f_frsize


def _plain(span: str) -> str:
    """An address range as `map_files` names it, without leading zeros."""
    return "-".join(f"{int(each, 16):x}" for each in span.split("-"))


def _outermost(folders: list[str]) -> list[str]:
    """Without those that are inside another one."""
    kept: list[str] = []
    for path in sorted(folders):
        if not any(path == each or path.startswith(each + "/") for each in kept):
            kept.append(path)
    return kept


def _enter(folder: int, name: str) -> int:
    """Open a folder inside another one. Returns -1 if it is gone, or is a symbolic link by now.

    A folder without permissions of our own user gets them back: what cannot be measured could hold anything.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=folder)
    except PermissionError:
        return _unlock(folder, name, flags)
    except OSError:
        return -1


def _unlock(folder: int, name: str, flags: int) -> int:
    try:
        pinned = os.open(name, _O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return -1
    try:
        # The descriptor names this folder, whatever has the name now.
        os.chmod(f"/proc/self/fd/{pinned}", 0o700)
        return os.open(f"/proc/self/fd/{pinned}", flags & ~os.O_NOFOLLOW)
    except OSError:
        return -1
    finally:
        os.close(pinned)
