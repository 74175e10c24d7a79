"""The data directory: its layout, and the lock that lets only one server at a time use it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote

from dyff.kernel import errors, settings_sources
from dyff.serve import protection

UNFINISHED = "restore-unfinished"
"""A file in a data directory into which `dyff restore` is putting a backup, or was when it was killed."""


class DataDirectory:
    """Paths of the embedded stores, below one directory.

    `bus.sqlite`, `accounts.sqlite` and `objects/` are the source of truth. `query.sqlite` is a view: it can be deleted and is rebuilt.
    `cluster.sqlite` and `pods/` are the state of what is running. `audit/` is the audit log. `stderr/` has what was written past the log.
    Nothing in it has an absolute path that matters after a stop, so it can be moved. `dyff backup` copies it (docs/backup.md).
    """

    def __init__(self, root: str | Path) -> None:
        """`root`: created by `create` if it does not exist.

        Raises:
            Misconfigured: its path is not UTF-8, which SQLite cannot open.
        """
        self.root = Path(root).absolute()
        if not settings_sources.is_text(str(self.root)):
            raise errors.Misconfigured(f"the path of the data directory, {str(self.root)!a}, is not UTF-8; choose another --data-dir")

    def create(self) -> None:
        """Create the directory, accessible to its owner only. One that exists is restricted to that.

        Raises:
            Misconfigured: the directory cannot be created, or others can read it and it is not ours to change; or it is a file.
        """
        self._require_directory()
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise errors.Misconfigured(f"the data directory {self.root} cannot be made: {error.strerror}") from error
        protection.protect(self.root)

    def _require_directory(self) -> None:
        """Refuse a path on which something else than a directory is, or that leads through something else."""
        for each in (self.root, *self.root.parents):
            if each.is_dir():
                return
            if os.path.lexists(each):
                what = "a symbolic link that leads nowhere" if each.is_symlink() and not each.exists() else "a file, not a directory"
                raise errors.Misconfigured(f"the data directory {self.root} cannot be used: {each} is {what}; choose another --data-dir")

    @property
    def has_data(self) -> bool:
        """Whether a server has stored anything here."""
        return any(each.exists() for each in (self.bus, self.query, self.accounts, self.cluster))

    def require(self, *wanted: Path) -> None:
        """Refuse to work where no server has stored anything, for commands that must not make a data directory.

        `wanted`: files of this directory that must exist; none for any of them.

        Raises:
            Misconfigured: one is missing, or this is a file; the message says where it was looked for and how to proceed.
        """
        self._require_directory()
        missing = [each.name for each in wanted if not each.exists()]
        if not missing and (wanted or self.has_data):
            return
        if not self.root.exists():
            problem = "the directory does not exist"
        else:
            problem = f"{', '.join(missing)} is not there" if missing else "it has no files of a server"
        raise errors.Misconfigured(
            f"there is no data of a Dyff server in {self.root}: {problem}. Name the server's directory with --data-dir or DYFF_DATA_DIR, "
            f"or start a server there first: dyff serve --data-dir {quote(str(self.root))}"
        )

    @contextmanager
    def for_trial(self) -> Iterator[DataDirectory]:
        """This directory if it has data; otherwise one in the nearest folder above it that exists, which is removed at the end.

        Raises:
            Misconfigured: that folder cannot be written to.
        """
        if self.has_data:
            protection.protect(self.root)
            yield self
            return
        above = next(each for each in (self.root, *self.root.parents) if each.is_dir())
        try:
            made = tempfile.mkdtemp(prefix=".dyff-trial-", dir=above)
        except OSError as error:
            raise errors.Misconfigured(
                f"a data directory cannot be made in {above}: {error.strerror}; choose another --data-dir"
            ) from error
        try:
            yield DataDirectory(made)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    @property
    def bus(self) -> Path:
        """The log."""
        return self.root / "bus.sqlite"

    @property
    def query(self) -> Path:
        """The read model."""
        return self.root / "query.sqlite"

    @property
    def accounts(self) -> Path:
        """The authorization database."""
        return self.root / "accounts.sqlite"

    @property
    def objects(self) -> Path:
        """The object store."""
        return self.root / "objects"

    @property
    def cluster(self) -> Path:
        """The local cluster's resources."""
        return self.root / "cluster.sqlite"

    @property
    def pods(self) -> Path:
        """The local cluster's pods."""
        return self.root / "pods"

    @property
    def native_errors(self) -> Path:
        """What was written to standard error past the log."""
        return self.root / "stderr"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.root / "audit"

    @property
    def unfinished(self) -> Path:
        """Exists while a restore is not finished."""
        return self.root / UNFINISHED

    def require_finished(self) -> None:
        """Refuse a directory in which a restore is not finished.

        Raises:
            Misconfigured: it is not finished.
        """
        if self.unfinished.exists():
            raise errors.Misconfigured(
                f"a restore into {self.root} is not finished ({self.unfinished} says so): wait for it, or run the same `dyff restore` again"
            )

    @property
    def scratch(self) -> Path:
        """Temporary files, on a machine that has no other place for them."""
        return self.root / "tmp"

    def provide_scratch(self) -> None:
        """If this process can write to no directory for temporary files, as on a read-only root without `/tmp`, let it use `scratch`.

        SQLite needs one for large sorts, and so does the probe of the isolation of pods.
        """
        try:
            tempfile.gettempdir()
        except FileNotFoundError:
            with suppress(OSError):
                self.scratch.mkdir(mode=0o700, exist_ok=True)
            tempfile.tempdir = str(self.scratch)
            os.putenv("TMPDIR", str(self.scratch))  # for SQLite

    def _lock(self) -> int:
        try:
            return os.open(self.root / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise errors.Misconfigured(
                f"the data directory {self.root} cannot be used: {error.strerror} (server.lock); "
                "make it writable for this user, or choose another --data-dir"
            ) from error

    @contextmanager
    def claimed(self, *, unfinished: bool = False) -> Iterator[None]:
        """Lock the directory for this process. The kernel releases the lock however the process ends.

        `unfinished`: whether it may be one in which a restore is not finished.

        Raises:
            InUse: another server has locked it; the message contains its process ID.
            Misconfigured: see `create` and `require_finished`; or the lock cannot be opened, as on a disk that is read-only.
        """
        self.create()
        file = self._lock()
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
                raise errors.InUse(
                    f"the data directory {self.root} is in use by another Dyff server (process {owner}); "
                    "stop it, or choose another --data-dir"
                ) from error
            with suppress(OSError):  # the number is for people only, and the disk may be full
                os.ftruncate(file, 0)
                os.pwrite(file, str(os.getpid()).encode(), 0)
            if not unfinished:
                self.require_finished()
            self.provide_scratch()
            yield
        finally:
            os.close(file)
