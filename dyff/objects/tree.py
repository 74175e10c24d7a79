"""A directory of files under keys, accessed so that nothing in it can lead out of it. Blocking: call it in a thread.

Every step down opens one directory relative to the one above and follows no symbolic link. So neither a hostile key nor a
planted link escapes, even while directories are moved. Several processes can do all of this at the same time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from dyff.kernel import errors

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINK = (errno.ELOOP, errno.EMLINK)
"""Opening a symbolic link without following it: the first on Linux, the second on some other systems. A socket gives ENXIO."""
_ATTEMPTS = 100
"""How often a write is tried if others keep removing the directories that it needs."""


class Tree:
    """Files below `root`, which is created if it does not exist. Keys must be checked (`dyff.objects.layout.check_key`)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        make_directory(root)

    def open(self, key: str) -> int | None:
        """A descriptor of the file, to be closed by the caller; None if there is no such file."""
        head, _, name = key.rpartition("/")
        try:
            with self._directory(head) as directory:
                descriptor = os.open(name, _FILE, dir_fd=directory)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (*_LINK, errno.ENXIO):
                return None
            raise
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return None

    def place(self, temporary: Path, key: str, *, if_absent: bool, durable: bool) -> None:
        """Rename the complete file `temporary` to `key`, in one step; afterwards `temporary` is gone or can be removed.

        Raises:
            FileExistsError: `if_absent`, and the file exists.
            InvalidFields: a file is where a directory must be, or a directory with files where the file must be.
            OutcomeUnknown: it has the name, but may lose it in a crash.
        """
        head, _, name = key.rpartition("/")
        for _ in range(_ATTEMPTS):
            try:
                with self._directory(head, make=True, durable=durable) as directory:
                    _give_name(temporary, directory, name, if_absent=if_absent)
                    if durable:
                        _make_durable(directory, key)
                    return
            except FileNotFoundError:
                temporary.lstat()  # if this one is missing, a retry does not help
            except IsADirectoryError as error:
                raise _obstructed(f"there are objects below {key!r}, so it cannot be one itself") from error
            except NotADirectoryError as error:
                raise _obstructed(f"{key!r} leads through an object, and nothing can be below one") from error
        raise errors.Unavailable(f"the directories of {key} are removed as fast as they are made")

    def link(self, key: str, target: Path) -> int | None:
        """Give the file a second name, `target`, outside the tree; returns a descriptor of it. None if there is no such file.

        The caller closes the descriptor. While it is open, `target` is locked against `dyff.objects.incoming.Incoming.clear_away`.
        """
        descriptor = self.open(key)
        if descriptor is None:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            head, _, name = key.rpartition("/")
            with self._directory(head) as directory:
                os.link(name, target, src_dir_fd=directory, follow_symlinks=False)
            if os.path.samestat(target.lstat(), os.fstat(descriptor)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        target.unlink()
        raise errors.Unavailable(f"another is changing {key!r} at this moment")

    def remove(self, key: str, *, durable: bool) -> None:
        """Remove the file if it exists, and the directories that became empty."""
        head, _, name = key.rpartition("/")
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError), self._directory(head) as directory:
            os.unlink(name, dir_fd=directory)
            if durable:
                os.fsync(directory)
        self._prune(head)

    def detach(self, directory_key: str, target: Path, *, durable: bool) -> bool:
        """Move a whole directory to `target`, outside the tree, in one step. False if there is no such directory."""
        head, _, name = directory_key.rpartition("/")
        try:
            with self._directory(directory_key), self._directory(head) as above:
                os.rename(name, target, src_dir_fd=above)
                if durable:
                    os.fsync(above)
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._prune(head)
        return True

    def move_out(self, key: str, target: Path, *, durable: bool, whole: bool = False) -> bool:
        """Move the file `key` to `target`, outside the tree; with `whole` the directory. False if it does not exist."""
        head, _, name = key.rpartition("/")
        try:
            with self._directory(head) as above:
                is_directory = stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
                if is_directory != whole:
                    return False
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.rename(name, target, src_dir_fd=above)
                if durable:
                    os.fsync(above)
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._prune(head)
        return True

    def walk(self, prefix: str) -> Iterator[str]:
        """The keys that begin with `prefix`, in order. Files that are created or removed meanwhile may or may not be included."""
        head, _, start = prefix.rpartition("/")
        return self._walk(head, start)

    def _walk(self, head: str, start: str) -> Iterator[str]:
        """Names are read one directory at a time, so that no descriptor stays open between two keys."""
        try:
            with self._directory(head) as directory, os.scandir(directory) as entries:
                found = [entry for entry in entries if entry.name.startswith(start)]
                # A directory sorts as its keys do: by its name with the following slash.
                names = sorted(entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name for entry in found)
                plain = {entry.name for entry in found if entry.is_file(follow_symlinks=False)}
        except (FileNotFoundError, NotADirectoryError):
            return
        above = f"{head}/" if head else ""
        for name in names:
            if name.endswith("/"):
                yield from self._walk(above + name[:-1], "")
            elif name in plain:
                yield above + name

    @contextlib.contextmanager
    def _directory(self, key: str, *, make: bool = False, durable: bool = True) -> Iterator[int]:
        """A descriptor of the directory `key`, empty for the root; with `make` missing directories are created."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in key.split("/") if key else ():
                below = _down(descriptor, name, make=make, durable=durable)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _prune(self, head: str) -> None:
        """Remove `head` and its parents as long as they are empty; a crash in between leaves empty ones, which are harmless."""
        while head:
            head, _, name = head.rpartition("/")
            try:
                with self._directory(head) as directory:
                    os.rmdir(name, dir_fd=directory)
            except OSError:
                return


def make_directory(path: Path) -> None:
    """Create a directory and its missing parents, so that it survives a power loss."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(above)
    finally:
        os.close(above)


def _down(descriptor: int, name: str, *, make: bool, durable: bool) -> int:
    try:
        return _open_directory(descriptor, name)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=descriptor)
    if durable:
        os.fsync(descriptor)  # even if another process created it: our file must not be lost together with its directory
    return _open_directory(descriptor, name)


def _open_directory(descriptor: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=descriptor)
    except OSError as error:
        if error.errno in _LINK:
            raise NotADirectoryError(error.errno, error.strerror, name) from error
        raise


def _give_name(temporary: Path, directory: int, name: str, *, if_absent: bool) -> None:
    """Raises IsADirectoryError if a non-empty directory has the name; an empty one, left by a crash, is replaced."""
    for last in (False, True):
        try:
            if if_absent:
                os.link(temporary, name, dst_dir_fd=directory, follow_symlinks=False)
            else:
                os.replace(temporary, name, dst_dir_fd=directory)
            return
        except (IsADirectoryError, FileExistsError) as error:
            if last or not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                raise
            try:
                os.rmdir(name, dir_fd=directory)
            except OSError:
                raise IsADirectoryError(errno.EISDIR, "a directory", name) from error


def _make_durable(directory: int, key: str) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        raise errors.OutcomeUnknown(f"the object {key!r} was stored, but the disk does not confirm it: {error.strerror}") from error


def _obstructed(message: str) -> errors.InvalidFields:
    return errors.InvalidFields(errors.Problem(("path", "key"), message))
