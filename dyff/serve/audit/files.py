"""The files of the audit log: one that grows, and closed ones, which are compressed. Several processes may write at the same time.

Each write is whole lines, appended under a shared lock. The file is renamed under the exclusive lock, so no line goes to a file that is
already being compressed.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from dyff.kernel import clock as clocks
from dyff.kernel import log_settings

log = structlog.get_logger()

CURRENT = "audit.jsonl"
HOUSEKEEPING_S = 600.0
_CLOSED = re.compile(r"audit-(\d{8}T\d{6}\.\d{6}Z)\.jsonl(\.gz)?")
_PART = ".part"
_LEVEL = 5
_FIRST_BYTES = 2**16


def closed(folder: Path) -> list[Path]:
    """The closed files, the oldest first. One that is being compressed is there once, as it was."""
    found = {each.name: each for each in folder.iterdir() if _CLOSED.fullmatch(each.name)}
    return [found[name] for name in sorted(found) if name.removesuffix(".gz") == name or name.removesuffix(".gz") not in found]


def closing_name(now: datetime) -> str:
    """The name of a file that is closed now."""
    return f"audit-{now.astimezone(UTC):%Y%m%dT%H%M%S.%f}Z.jsonl"


def first_line(path: Path) -> bytes:
    """The first line of a file, which no other has: entries are numbered. Empty if there is none.

    Raises:
        OSError: it cannot be read.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return file.readline(_FIRST_BYTES)


def closed_at(name: str) -> datetime | None:
    """When the file of this name was closed: no entry in it is newer. None if it is not the name of a closed file."""
    match = _CLOSED.fullmatch(name)
    return datetime.strptime(match[1], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC) if match else None


class Files:
    """Appends to the files in a folder (`dyff.kernel.lines.Sink`)."""

    def __init__(self, folder: Path, chosen: log_settings.Audit, clock: clocks.Clock, *, keeps_house: bool) -> None:
        """The folder is made with the first line. `keeps_house`: compress and remove files, too, which takes time."""
        self._folder, self._chosen, self._clock, self._keeps_house = folder, chosen, clock, keeps_house
        self._lock: int | None = None
        self._file: int | None = None
        self._unsynced_since: float | None = None
        self._looked: float | None = None
        self._work: threading.Thread | None = None

    def write(self, data: bytes) -> int:
        """See `Sink`: returns the length of the lines that are written completely."""
        self._open_lock()
        if self._is_due():
            self._rotate()
        with self._locked(fcntl.LOCK_SH):
            file = self._current()
            size = os.fstat(file).st_size
            before = b"" if size == 0 or os.pread(file, 1, size - 1) == b"\n" else b"\n"  # a line was cut
            written = max(0, os.write(file, before + data) - len(before))
        self._unsynced_since = self._unsynced_since or time.monotonic()
        if self._chosen.sync_s == 0:
            self._sync()
        whole = data.rfind(b"\n", 0, written) + 1
        if whole == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole

    def idle(self) -> float | None:
        """See `Sink`: forces what was written to the disk, and looks after the closed files from time to time."""
        now = time.monotonic()
        if self._unsynced_since is not None:
            left = self._unsynced_since + self._chosen.sync_s - now
            if left > 0:
                return left
            self._sync()
        if self._keeps_house and (self._looked is None or now - self._looked >= HOUSEKEEPING_S):
            self._looked = now
            if (self._folder / CURRENT).exists():
                self._open_lock()
                if self._is_due():
                    self._rotate()
            self._tidy_up()
        return HOUSEKEEPING_S if self._keeps_house else None

    def close(self) -> None:
        """Force what was written to the disk."""
        if self._unsynced_since is not None:
            self._sync()
        for file in (self._file, self._lock):
            if file is not None:
                os.close(file)
        self._file = self._lock = None

    def _sync(self) -> None:
        if self._file is not None:
            os.fdatasync(self._file)
        self._unsynced_since = None

    def _open_lock(self) -> None:
        if self._lock is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        assert self._lock is not None
        fcntl.flock(self._lock, how)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _current(self) -> int:
        """The file to append to. Another process may have closed the one that was open here."""
        path = self._folder / CURRENT
        if self._file is not None:
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._file), path.stat()):
                    return self._file
            self._sync()
            os.close(self._file)
            self._file = None
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _sync_folder(self._folder)
        return self._file

    def _is_due(self) -> bool:
        try:
            found = (self._folder / CURRENT).stat()
        except FileNotFoundError:
            return False
        other_day = datetime.fromtimestamp(found.st_mtime, UTC).date() < self._clock.now().date()
        return found.st_size > 0 and (found.st_size >= self._chosen.max_file_bytes or other_day)

    def _rotate(self) -> None:
        """Close the current file, unless another process is at it: it is then done later."""
        with suppress(BlockingIOError), self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            if self._is_due():
                (self._folder / CURRENT).rename(_free_name(self._folder, self._clock.now()))
                _sync_folder(self._folder)
        self._looked = None  # compress it soon

    def _tidy_up(self) -> None:
        """In a thread of its own: lines can be written meanwhile."""
        if self._folder.is_dir() and (self._work is None or not self._work.is_alive()):
            self._work = threading.Thread(target=tidy_up, args=[self._folder, self._chosen, self._clock.now()], daemon=True)
            self._work.start()


def tidy_up(folder: Path, chosen: log_settings.Audit, now: datetime) -> None:
    """Compress closed files, and remove those that are too old or too many. What fails is logged, and done the next time."""
    try:
        for path in closed(folder):
            if path.suffix != ".gz":
                _compress(path)
        sizes = {path: path.stat().st_size for path in closed(folder)}
        total = sum(sizes.values()) + chosen.max_file_bytes
        oldest = None if chosen.keep_days is None else now - timedelta(days=chosen.keep_days)
        for path, size in sizes.items():
            ended = closed_at(path.name)
            expired = oldest is not None and ended is not None and ended < oldest
            if not expired and total <= chosen.max_total_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
            log.info("audit-file-removed", path=str(path), bytes=size, reason="audit.keep_days" if expired else "audit.max_total_bytes")
    except OSError as error:
        log.warning("audit-files-untidy", folder=str(folder), reason=error.strerror or str(error))


def _free_name(folder: Path, now: datetime) -> Path:
    """A name for the file that is closed now. The clock may stand still, or have been set back."""
    while True:
        path = folder / closing_name(now)
        if not path.exists() and not path.with_name(f"{path.name}.gz").exists():
            return path
        now += timedelta(microseconds=1)


def _compress(path: Path) -> None:
    """Replace a closed file by its compressed form. Readers find one of them at any moment."""
    with suppress(BlockingIOError, FileNotFoundError), path.open("rb") as source:  # another process does it, or has done it
        fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part, target = path.with_name(f"{path.name}.gz{_PART}"), path.with_name(f"{path.name}.gz")
        try:
            with part.open("wb") as out, gzip.GzipFile(fileobj=out, mode="wb", filename="", compresslevel=_LEVEL) as packed:
                shutil.copyfileobj(source, packed)
            with part.open("rb") as packed_file:
                os.fsync(packed_file.fileno())
            part.rename(target)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
