"""What is in a backup: the stores, the objects, a list of all files with their digests, and a head with the digest of that list.

<backup>/backup.json            the head, written last: without it the backup is not complete
<backup>/files.jsonl            a line for each other file
<backup>/stores/<name>.sqlite   the stores, each one file
<backup>/objects/<key>          the objects
<backup>/audit/<name>           the files of the audit log; the one that was growing has the name of one that was closed then
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from dyff.entities import tree_paths
from dyff.kernel import errors
from dyff.serve.audit import files as audit

FORMAT = 1
HEAD = "backup.json"
LIST = "files.jsonl"
STORES = "stores"
OBJECTS = "objects"
AUDIT = "audit"
NAMES = frozenset({HEAD, LIST, STORES, OBJECTS, AUDIT})
"""What is directly in a backup."""
PARTIAL = ".incomplete"
"""The end of the name of a backup that is being made, or was cut."""
BUS, ACCOUNTS, CLUSTER = "bus.sqlite", "accounts.sqlite", "cluster.sqlite"
_NAMES = (BUS, ACCOUNTS, CLUSTER)
_HEAD_BYTES = 2**20
_LINE_BYTES = 2**14
_AGAIN = "use another backup"
_NO_FILE = (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR)
"""What opening a link or a socket gives."""


class File(msgspec.Struct, frozen=True):
    """A file of a backup. `path`: within it. `sha256`: hex. `md5`: base64."""

    path: str
    size: int
    sha256: str
    md5: str

    @property
    def key(self) -> str | None:
        """The key of an object; None for another file."""
        return self.path.removeprefix(f"{OBJECTS}/") if self.path.startswith(f"{OBJECTS}/") else None

    @property
    def is_audit(self) -> bool:
        """Whether it is of the audit log."""
        folder, _, name = self.path.rpartition("/")
        return folder == AUDIT and audit.closed_at(name) is not None


class Head(msgspec.Struct, frozen=True):
    """What a backup is of.

    `release`: of the program that made it. `made`: the moment that it shows (RFC 3339). `epochs`, `ends`: of the log, by topic. `files`,
    `size_bytes`: of the files in the list. `list_sha256`: of the list. `damaged`: objects that were damaged in the original already.
    """

    format: int
    release: str
    made: str
    epochs: dict[str, str]
    ends: dict[str, list[int]]
    files: int
    size_bytes: int
    list_sha256: str
    damaged: list[str] = []


class _Sealed(msgspec.Struct, frozen=True):
    head: msgspec.Raw
    sha256: str


class _Form(msgspec.Struct, frozen=True):
    """What the head of every release has, whatever else is in it."""

    format: int
    release: str


class Listing:
    """Writes the list of files. Memory holds one line."""

    def __init__(self, root: Path) -> None:
        """`root`: of the backup."""
        self.files = self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._file = open(root / LIST, "xb")  # noqa: SIM115

    def add(self, file: File) -> None:
        """Add a file."""
        line = msgspec.json.encode(file) + b"\n"
        self._hash.update(line)
        self._file.write(line)
        self.files += 1
        self.size_bytes += file.size

    def finish(self) -> str:
        """Make the list durable; returns its SHA-256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what it still holds cannot be written, which was reported
            self._file.close()


def write_head(root: Path, head: Head) -> None:
    """Write the head, which makes the backup complete."""
    body = msgspec.json.encode(head)
    sealed = msgspec.json.encode(_Sealed(msgspec.Raw(body), hashlib.sha256(body).hexdigest()))
    with open(root / HEAD, "xb") as file:
        file.write(msgspec.json.format(sealed))
        file.flush()
        os.fsync(file.fileno())


def opened(path: Path) -> int:
    """A descriptor of a file of a backup, to be closed by the caller. Nothing is waited for, whatever has the name.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is a folder, a link, a pipe or the like.
        Unavailable: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except NotADirectoryError as error:
        raise FileNotFoundError(error.errno, error.strerror, str(path)) from error
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _NO_FILE:
            raise _no_file(path) from error
        raise errors.Unavailable(f"{path} cannot be read ({error.strerror}): make it readable for this user, or {_AGAIN}") from error
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise _no_file(path)


def _no_file(path: Path) -> errors.Damaged:
    return errors.Damaged(f"{path} is not a file, but a folder, a link or the like, which no backup has; {_AGAIN}")


def read_head(root: Path) -> Head:
    """The head of a backup.

    Raises:
        Misconfigured: it is no backup, is not complete, or is of a newer release.
        Damaged: it was altered.
        Unavailable: it cannot be read.
    """
    path = root / HEAD
    try:
        with open(opened(path), "rb") as file:
            data = file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        cut = (root / LIST).exists() or root.name.endswith(PARTIAL)
        what = f"{root} is a backup that was cut: it has no {HEAD}" if cut else f"{root} is no backup: it has no {HEAD}"
        raise errors.Misconfigured(f"{what}; {_AGAIN}") from error
    except OSError as error:
        raise errors.Unavailable(f"{path} cannot be read: {error.strerror}; {_AGAIN}") from error
    try:
        sealed = msgspec.json.decode(data, type=_Sealed)
        form = msgspec.json.decode(sealed.head, type=_Form)
        if form.format > FORMAT:
            raise errors.Misconfigured(f"{root} is a backup of release {form.release}, in a newer form: restore it with that release")
        head = msgspec.json.decode(sealed.head, type=Head)
    except msgspec.DecodeError as error:
        raise errors.Damaged(f"{path} is not as it was written ({error}); {_AGAIN}") from error
    if hashlib.sha256(msgspec.json.encode(head)).hexdigest() != sealed.sha256:
        raise errors.Damaged(f"{path} is not as it was written: its digest differs; {_AGAIN}")
    return head


def read_list(root: Path, head: Head) -> Iterator[File]:
    """The files of a backup. They may only be relied on when all have been read: then the list is the one that the head names.

    Raises:
        Damaged: the list was altered, or belongs to another backup.
        Unavailable: it cannot be read.
    """
    path, found, count = root / LIST, hashlib.sha256(), 0
    try:
        with open(opened(path), "rb") as lines:
            while line := lines.readline(_LINE_BYTES):
                found.update(line)
                count += 1
                yield _checked(path, count, line)
    except OSError as error:
        raise errors.Damaged(f"{path} cannot be read ({error.strerror}); {_AGAIN}") from error
    if found.hexdigest() != head.list_sha256:
        raise errors.Damaged(f"{path} is not the one of this backup: its digest differs from the one in {HEAD}; {_AGAIN}")


def _checked(path: Path, count: int, line: bytes) -> File:
    try:
        file = msgspec.json.decode(line, type=File)
    except msgspec.DecodeError as error:
        raise errors.Damaged(f"{path}, line {count}, is not as it was written ({error}); {_AGAIN}") from error
    key = file.key
    is_other = file.path in {f"{STORES}/{name}" for name in _NAMES} or file.is_audit
    if not is_other and (key is None or tree_paths.path_problem(key, tree_paths.MAX_KEY_BYTES)):
        raise errors.Damaged(f"{path}, line {count}, names {file.path!r}, which no backup has; {_AGAIN}")
    return file


def require_nothing_else(root: Path, listed: int) -> None:
    """Refuse a backup with files that are not in its list. `listed`: their number.

    Raises:
        Damaged: there are other files; the message names one.
    """
    there = sum(len(names) for _, _, names in os.walk(root)) - sum((root / name).exists() for name in (HEAD, LIST))
    if there == listed:
        return
    known = {each.path for each in read_list(root, read_head(root))}
    for directory, _, names in os.walk(root):
        for name in names:
            path = str((Path(directory) / name).relative_to(root))
            if path not in known and path not in (HEAD, LIST):
                raise errors.Damaged(f"{root / path} is not of this backup: its list does not have it; remove it, or {_AGAIN}")


def require_same(root: Path, file: File, size: int, sha256: str) -> None:
    """Refuse a file that is not the one in the list.

    Raises:
        Damaged: it is another one.
    """
    if size != file.size:
        raise errors.Damaged(f"{root / file.path} has {size} bytes and had {file.size} when the backup was made; {_AGAIN}")
    if sha256 != file.sha256:
        raise errors.Damaged(f"{root / file.path} is not the file that was backed up: its SHA-256 differs; {_AGAIN}")


def missing(root: Path, file: File) -> errors.Damaged:
    """The error about a file that is in the list, and not in the backup."""
    return errors.Damaged(f"{root / file.path} is missing, so the backup was cut or belongs together with another one; {_AGAIN}")
