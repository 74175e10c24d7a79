"""Prepares the folders of a sandbox, without ever following a link that a program has made in them.

Nothing of the pod runs while this is done: its earlier programs have ended, and its next one waits.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from dyff.cluster.pods.shim import usage

MODE = 0o700
PASS = 0o011
_PASS_GROUP = 0o010
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make(path: str) -> None:
    """Make a folder below an existing one, unless it is there.

    Raises:
        OSError: its place is taken by something else, such as a link.
    """
    try:
        os.mkdir(path, MODE)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise


def make_below(root: str, path: str) -> None:
    """Make all folders of the relative `path` below `root`.

    Raises:
        OSError: one of them is a link or a file.
    """
    os.close(_made_below(root, path))


def make_file_below(root: str, path: str) -> None:
    """Make an empty file at the relative `path` below `root`, with the folders above it, unless it exists.

    Raises:
        OSError: a folder is a link or a file, or something else is in the place of the file.
    """
    above, _, name = path.rpartition("/")
    folder = _made_below(root, above)
    try:
        os.close(os.open(name, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=folder))
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise FileExistsError(f"{name!r} is not a file")
    finally:
        os.close(folder)


def _made_below(root: str, path: str) -> int:
    """A descriptor of the innermost folder."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for name in path.split("/"):
            if name in ("", "."):
                continue
            with suppress(FileExistsError):
                os.mkdir(name, MODE, dir_fd=folder)
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
    except BaseException:
        os.close(folder)
        raise
    return folder


def open_way(directory: str, uid: int) -> None:
    """Let a pod's user pass through the folders of the server above its own. It can list none of them.

    The pod's directory and its volumes are for that user only. Through the two folders above it others can pass, too, but what is in
    them is for the server's user only.
    """
    for path in (directory, os.path.join(directory, "volumes")):
        os.chown(path, -1, uid)
        os.chmod(path, MODE | _PASS_GROUP)
    for path in (os.path.dirname(directory), os.path.dirname(os.path.dirname(directory))):
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & PASS != PASS:
            os.chmod(path, mode | PASS)


def give(root: str, uid: int) -> None:
    """Make `uid` the owner of a folder and of everything in it.

    A file with a second name is left as it is: that name can be in the object store, whose files keep their owner.

    Raises:
        OSError: an earlier program has left folders that are nested too deeply, or something is in the way.
    """
    levels: list[tuple[int, list[str]]] = [(os.open(root, _FOLDER), [])]
    try:
        _give_to(uid, ".", levels[0][0])
        levels[0][1].extend(_give_all(uid, levels[0][0]))
        while levels:
            folder, names = levels[-1]
            if not names:
                os.close(folder)
                levels.pop()
                continue
            if len(levels) >= usage.MAX_DEPTH:
                raise OSError(errno.ELOOP, f"its folders are nested more than {usage.MAX_DEPTH} levels deep")
            inner = os.open(names.pop(), _FOLDER, dir_fd=folder)
            levels.append((inner, []))
            levels[-1][1].extend(_give_all(uid, inner))
    finally:
        for folder, _ in levels:
            os.close(folder)


def _give_all(uid: int, folder: int) -> list[str]:
    """Change the owner of all entries of a folder. Returns those that are folders."""
    entries = os.listdir(folder)
    for name in entries:
        _give_to(uid, name, folder)
    return [name for name in entries if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)]


def _give_to(uid: int, name: str, folder: int) -> None:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    shared = found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode)
    if (found.st_uid, found.st_gid) != (uid, uid) and not shared:
        os.chown(name, uid, uid, dir_fd=folder, follow_symlinks=False)
