"""Makes a backup of a data directory, whether or not a server serves it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from dyff.accounts import restored as accounts
from dyff.bus.embedded import high_watermark, openness
from dyff.bus.embedded import logfile as logs
from dyff.bus.embedded import restored as bus
from dyff.cluster.embedded import restored as cluster
from dyff.kernel import clock, errors, settings, settings_sources
from dyff.objects import digests, exporting, keeping
from dyff.serve import directory, migrating, opening, stopping
from dyff.serve.audit import files as audit
from dyff.serve.backups import contents, cut, files

Report = Callable[[str], None]
NICE = 10
"""By how much the command lowers its own priority."""
MAX_NAME_BYTES = 255
"""Of a file, on all common file systems."""
_LOCK = ".lock"
_PORTS = ("bus", "accounts", "objects", "cluster")


def backup(loaded: settings.Settings, target: Path, report: Report) -> contents.Head:
    """Back the data directory up into the new directory `target`. `report`: called with lines for people. Returns the head.

    Nothing has the name `target` before the backup is complete and was read again.

    Raises:
        Misconfigured: the settings choose an engine, there is no log, it cannot be written to, or the target cannot be used.
        AlreadyExists: there is something at the target.
        InUse: another backup is being made.
        DiskFull: there is no space for it.
        LogDiverged, Damaged: the original is damaged.
        Unavailable: a file of the original is locked by another program, or cannot be read.
    """
    place = _require_backed_up(loaded)
    target = target.absolute()
    _require_free(place, target)
    partial = target.with_name(target.name + contents.PARTIAL)
    with errors_of_disk(target), _claimed(partial, report):
        os.nice(NICE)  # the server comes first
        try:
            with contents.Listing(partial) as listing:
                head = _write(place, partial, listing, report)
            with stopping.finishes():
                _give_name(partial, target)
                files.sync_directory(target.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return head


def _require_backed_up(loaded: settings.Settings) -> directory.DataDirectory:
    others = [name for name in _PORTS if name not in opening.embedded(loaded)]
    if others:
        raise errors.Misconfigured(
            f"the settings choose an engine for {', '.join(others)}; `dyff backup` is for data directories that hold everything:"
            " docs/backup.md says how to back engines up"
        )
    place = directory.DataDirectory(loaded.data_dir)
    place.require_finished()
    place.require(place.bus)
    if not os.access(place.root, os.W_OK):
        raise errors.Misconfigured(
            f"the data directory {place.root} cannot be written to, and a backup locks its files: run it as the user of the server, or copy"
            " a directory on a disk that is read-only as a whole, and back the copy up"
        )
    return place


def _require_free(place: directory.DataDirectory, target: Path) -> None:
    if not settings_sources.is_text(str(target)):
        raise errors.Misconfigured(f"the path of the backup, {str(target)!a}, is not UTF-8; choose another")
    room = MAX_NAME_BYTES - len(contents.PARTIAL + _LOCK)
    if len(target.name.encode()) > room:
        raise errors.Misconfigured(f"the name of the backup, {target.name[:20]}..., is too long: it has at most {room} bytes")
    if os.path.lexists(target):
        raise _exists(target)
    if not target.parent.is_dir():
        raise errors.Misconfigured(
            f"the directory {target.parent} does not exist: make it with `mkdir -p {quote(str(target.parent))}`, or mount the disk that it"
            " is on"
        )
    around = (target.resolve(), *target.resolve().parents)
    if any(each.resolve() in around for each in (place.root, place.objects, place.audit)):
        raise errors.Misconfigured(f"{target} is in the data directory itself; choose a directory on another disk")
    other = next((each for each in around if all((each / name).is_file() for name in (contents.HEAD, contents.LIST))), None)
    if other is not None:
        raise errors.Misconfigured(f"{target} is in the backup {other}, which would not be valid any more; choose another directory")


def _exists(target: Path) -> errors.AlreadyExists:
    return errors.AlreadyExists(f"{target} exists already; choose a new name for the backup, such as one with the date")


def _give_name(partial: Path, target: Path) -> None:
    try:
        os.rename(partial, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise _exists(target) from error  # it did not when this backup began
        raise


@contextmanager
def _claimed(partial: Path, report: Report) -> Iterator[None]:
    """Make the directory, and hold a lock next to it. What a killed backup to the same target left is removed."""
    lock_path = partial.with_name(partial.name + _LOCK)
    try:
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.Misconfigured(f"the directory {partial.parent} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = lock_path.exists() and os.path.samestat(os.fstat(lock), lock_path.stat())
        except BlockingIOError:
            is_ours = False
        if not is_ours:
            raise errors.InUse(f"another backup to {partial.with_name(partial.name.removesuffix(contents.PARTIAL))} is being made")
        try:
            _remove_left(partial, report)
            partial.mkdir(mode=0o700)
            yield
        finally:
            lock_path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _remove_left(partial: Path, report: Report) -> None:
    """Remove what a killed backup left, and nothing else of that name."""
    if not os.path.lexists(partial):
        return
    if partial.is_symlink() or not partial.is_dir() or not {*os.listdir(partial)} <= contents.NAMES:
        raise errors.AlreadyExists(f"{partial} is not what a backup leaves that was cut; remove it, or choose another name for the backup")
    report(f"removing {partial}, which a backup left that was cut")
    shutil.rmtree(partial)


def _write(place: directory.DataDirectory, root: Path, listing: contents.Listing, report: Report) -> contents.Head:
    stores = [path for path in (place.bus, place.accounts, place.cluster) if path.exists()]
    acknowledged = high_watermark.acknowledged(place.bus.with_name(place.bus.name + ".mark"))
    openness.require_wal(place.bus)
    damaged: list[str] = []
    with keeping.Kept(_made(place.objects)).keeping() as removed:
        place.require_finished()  # a restore keeps backups away, and may have begun meanwhile
        with cut.snapshots(stores) as sources:
            made = clock.iso(clock.SystemClock().now())
            needed = sum(map(cut.size_bytes, sources))
            files.require_space(root, needed + exporting.size_bytes(place.objects) + sum(files.sizes(place.audit)))
            (root / contents.STORES).mkdir(mode=0o700)
            for path, source in zip(stores, sources, strict=True):
                cut.copy(source, root / contents.STORES / path.name)
        report(f"copied the stores ({needed // 2**10} KiB) as they were at {made}")
        for found in exporting.objects(place.objects, removed):
            name = f"{contents.OBJECTS}/{found.key}"
            if (root / name).exists():
                continue
            copied = files.copy(found.descriptor, root / name)
            if found.known is not None and _differs(found.known, digests.Known(copied.md5, copied.sha256)):
                damaged.append(found.key)
            listing.add(files.described(name, copied))
    objects, objects_bytes = listing.files, listing.size_bytes
    for file in _copy_audit(place.audit, root / contents.AUDIT):
        listing.add(file)
    os.sync()
    report(f"copied {objects} objects ({objects_bytes // 2**10} KiB)")
    ends = _prove_stores(root, [path.name for path in stores], acknowledged)
    for path in stores:
        listing.add(files.described(f"{contents.STORES}/{path.name}", files.digests(root / contents.STORES / path.name)))
    count, size, list_sha256 = listing.files, listing.size_bytes, listing.finish()
    head = contents.Head(
        contents.FORMAT, migrating.release(), made, _epochs(root), {topic: [by[p] for p in sorted(by)] for topic, by in ends.items()},
        count, size, list_sha256, sorted(damaged),
    )  # fmt: skip
    prove(root, head)
    report("read everything again and compared it")
    contents.write_head(root, head)
    files.sync_directory(root)
    return head


def _copy_audit(folder: Path, target: Path) -> Iterator[contents.File]:
    """Copy the audit log. What is written meanwhile comes with the next backup."""
    if not folder.is_dir():
        return
    # The growing file first: once it is closed and compressed, it is in a file that is still to be listed.
    current = folder / audit.CURRENT
    for path in (current, *audit.closed(folder)):
        name = audit.closing_name(clock.SystemClock().now()) if path == current else path.name
        try:
            source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # there is none, or it is too old by now
        try:
            yield files.described(f"{contents.AUDIT}/{name}", files.copy(source, target / name))
        finally:
            os.close(source)


def prove(root: Path, head: contents.Head) -> None:
    """Read all files of a backup and compare them with its list.

    Raises:
        Damaged: one differs, or is missing.
    """
    for file in contents.read_list(root, head):
        try:
            found = files.digests(root / file.path)
        except FileNotFoundError as error:
            raise contents.missing(root, file) from error
        contents.require_same(root, file, found.size_bytes, found.sha256)


def _prove_stores(root: Path, names: list[str], acknowledged: int) -> dict[str, dict[int, int]]:
    """Check the copies of the stores; returns the ends of the log."""
    copies = root / contents.STORES
    ends = bus.require_sound(copies / contents.BUS)
    appended = sum(sum(each.values()) for each in ends.values())
    if appended < acknowledged:
        raise errors.LogDiverged(
            f"the log has {appended} records, but {acknowledged} were acknowledged: it lost its end, so it is not backed up; restore an"
            " earlier backup"
        )
    if contents.ACCOUNTS in names:
        accounts.require_sound(copies / contents.ACCOUNTS)
    if contents.CLUSTER in names:
        cluster.require_sound(copies / contents.CLUSTER)
    return ends


def _epochs(root: Path) -> dict[str, str]:
    with logs.reading(root / contents.STORES / contents.BUS) as connection:
        return {topic.name: topic.epoch for topic in logs.stored_topics(connection)}


def _differs(recorded: digests.Known, found: digests.Known) -> bool:
    return recorded.md5 != found.md5 or recorded.sha256 not in (None, found.sha256)


def _made(path: Path) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    return path


@contextmanager
def errors_of_disk(path: Path) -> Iterator[None]:
    """Translate errors of the disk into ours. `path`: what was written, for messages.

    Raises:
        DiskFull, Unavailable: the disk is full or failed.
    """
    try:
        yield
    except OSError as error:
        kind = errors.DiskFull if error.errno in errors.NO_SPACE else errors.Unavailable
        where = f" ({error.filename})" if error.filename else ""
        raise kind(f"the disk of {path}: {error.strerror or error}{where}; nothing was completed") from error
