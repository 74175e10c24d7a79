"""Reads a folder that an untrusted program has filled. Blocking.

No symbolic link is followed: each folder is opened relative to the one above. Only regular files are opened, and their number, depth,
paths and sizes are bounded. Nothing else counts as output: a pipe or a device could block its reader for ever, and a file with a second
name outside of the folder could be one that the program itself could not read, but this process can.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from dyff.entities import tree_paths

MAX_ENTRIES = 10_000
"""Files and folders together."""
MAX_DEPTH = 32
MAX_PATH_BYTES = 512

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file",
}  # fmt: skip


class Unfit(Exception):
    """What the program left cannot be taken; the message is a sentence that names the path and the fix."""


class File(msgspec.Struct, frozen=True):
    """A regular file. `path`: relative, with slashes. `size`: in bytes."""

    path: str
    size: int


class Folder:
    """The folder. All paths are relative to it."""

    def __init__(self, root: Path) -> None:
        """`root`: its own last component is not followed either, if it is a link."""
        self._root = root

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """The bytes of a small file; None if there is none.

        Raises:
            Unfit: it is no regular file, or too large, or cannot be read.
        """
        try:
            with self.open(path) as file:
                data = file.read(limit_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        if len(data) > limit_bytes:
            raise Unfit(f"{shown(path)} has more than {limit_bytes} bytes. Write less to it.")
        return data

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open a regular file to read it.

        Raises:
            FileNotFoundError: it is not there.
            Unfit: it, or what should be a folder on the way to it, is something else.
            OSError: it cannot be opened.
        """
        head, _, name = path.rpartition("/")
        with self._folder(head) as folder:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):  # opening a device could already have an effect
                raise Unfit(f"{shown(path)} is {_kind(found)}, not a file. Write a regular file.")
            descriptor = os.open(name, _FILE, dir_fd=folder)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unfit(f"{shown(path)} is not a file any more. Write a regular file.")
            yield file

    def files(self, path: str, limit_bytes: int, what: str) -> list[File]:
        """All files below a folder, in order of their paths; none if it is not there.

        `limit_bytes`: of all together. `what`: the setting that bounds them, for messages.

        Raises:
            Unfit: there is something other than files and folders, or too much, or it cannot be read.
        """
        try:
            with self._folder(path) as folder:
                found = list(_walk(folder, "", [0], os.fstat(folder).st_dev))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(path, error) from error
        _check_names(found)
        total = sum(each.st_size for _, each in found)
        if total > limit_bytes:
            largest, size = max(found, key=lambda each: each[1].st_size)
            raise Unfit(
                f"The output has {total} bytes, more than the {limit_bytes} of {what}; the largest file is {shown(largest)}, "
                f"{size.st_size} bytes. Write less, or raise the setting."
            )
        return sorted((File(path, each.st_size) for path, each in found), key=lambda file: file.path)

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        """Raises FileNotFoundError if it is not there, and Unfit if it, or what is on the way to it, is no folder."""
        descriptor = os.open(self._root, _FOLDER)
        try:
            for name in filter(None, path.split("/")):
                inner = _enter(descriptor, name, path)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def shown(path: str) -> str:
    """A path for a message: the beginning of it, with escapes for what is not printed."""
    return repr(path[:200])


def _enter(folder: int, name: str, path: str) -> int:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        raise Unfit(f"{shown(path)} leads through {_kind(found)}. Leave the folder {shown(name)} as it was.")
    return os.open(name, _FOLDER, dir_fd=folder)


def _walk(folder: int, prefix: str, count: list[int], device: int) -> Iterator[tuple[str, os.stat_result]]:
    """The files below an open folder. `count`: of all entries so far. `device`: of the file system, which must not change."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{prefix}{entry.name}"
            count[0] += 1
            if count[0] > MAX_ENTRIES:
                raise Unfit(f"The output has more than {MAX_ENTRIES} files and folders. Write fewer.")
            if problem := tree_paths.path_problem(path, MAX_PATH_BYTES):
                raise Unfit(f"The output path {shown(path)} {problem}. Use another name.")
            found = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
            if found.st_dev != device:
                raise Unfit(f"{shown(path)} is on another file system. Write regular files only.")
            if stat.S_ISREG(found.st_mode):
                yield path, found
            elif not stat.S_ISDIR(found.st_mode):
                raise Unfit(f"{shown(path)} is {_kind(found)}. Only regular files can be output; write its contents to one, or remove it.")
            elif path.count("/") + 1 >= MAX_DEPTH:
                raise Unfit(f"The output has folders deeper than {MAX_DEPTH}, such as {shown(path)}. Use fewer.")
            else:
                inner = os.open(entry.name, _FOLDER, dir_fd=folder)
                try:
                    yield from _walk(inner, f"{path}/", count, device)
                finally:
                    os.close(inner)


def _check_names(found: list[tuple[str, os.stat_result]]) -> None:
    """Raises Unfit for a file that has a name that was not found: it was not necessarily the program that wrote it."""
    names = Counter(each.st_ino for _, each in found)
    for path, each in found:
        if each.st_nlink > names[each.st_ino]:
            raise Unfit(f"{shown(path)} is a hard link to a file outside of the output. Write a copy instead.")


def _kind(found: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(found.st_mode), "something else")


def _unreadable(path: str, error: OSError) -> Unfit:
    where = shown(error.filename) if isinstance(error.filename, str) else shown(path or ".")
    return Unfit(f"{where} cannot be read: {error.strerror or error}. Leave its permissions as they were.")
