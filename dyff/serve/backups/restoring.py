"""Restores a backup into a data directory.

Everything is first built in a folder of the data directory, checked, and adapted: so nothing has changed if that fails. Then what was
there is moved aside, and what was built is moved in. A file marks a directory in which that is not finished, and no server uses it.
"""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import anyio
import msgspec

from dyff.accounts import restored as accounts
from dyff.bus.embedded import EmbeddedHistory
from dyff.bus.embedded import restored as bus
from dyff.cluster.embedded import restored as cluster
from dyff.consumers.verification import replaying
from dyff.kernel import clock, errors, ids, settings
from dyff.objects import digests, exporting, keeping
from dyff.query.embedded import EmbeddedQuery
from dyff.query.maintenance import EmbeddedMaintenance
from dyff.serve import directory, stopping, supervisor
from dyff.serve.audit import files as audit
from dyff.serve.backups import contents, files, taking

Report = Callable[[str], None]
BUILDING = ".restoring"
REPLACED = "replaced-"
_MARK = ".restoring.mark"
_STAYS = ("server.lock", directory.UNFINISHED, "reserve-for-work", "reserve-for-start", "lost+found", "audit", BUILDING, _MARK)
VIEW_SHARE = 2
"""The view needs at most about this many times the size of the log."""


class _Mark(msgspec.Struct, frozen=True):
    """In the file that marks an unfinished restore. `replaced`: the folder for what was there. `list_sha256`: of the backup. `phase`:
    `building`; `clearing`: everything is ready, and what was there is moved aside; `filling`: what was built is moved in.
    """

    replaced: str
    list_sha256: str
    phase: Literal["building", "clearing", "filling"] = "building"


class Restored(msgspec.Struct, frozen=True):
    """The outcome. `replaced`: the directory with what was there before; None if nothing was. `documents`: entities in the view. `tokens`:
    that are not valid any more. Both are None if this only finished a restore that was cut, which had counted them. `pods`: that run again.
    `held`: names of accounts that stay suspended or deleted as in the replaced data.
    """

    head: contents.Head
    replaced: Path | None
    documents: int | None = None
    tokens: int | None = None
    pods: int = 0
    held: tuple[str, ...] = ()


def restore(loaded: settings.Settings, backup: Path, report: Report, *, force: bool = False) -> Restored:
    """Restore `backup` into the data directory. `force`: also if there are data, which are kept in a folder in it. `report`: called with
    lines for people.

    Raises:
        InUse: a server uses the data directory, or a backup of it is being made.
        AlreadyExists: there are data, and `force` is not set.
        Misconfigured: it is not a complete backup, or the data directory cannot be used.
        Damaged, LogDiverged: the backup is not as it was written; the message names the file.
        NewerSchema: a newer release made it.
        Unavailable: a file of it cannot be read, or what is there cannot be moved.
        DiskFull: there is no space for it.
    """
    place, backup = directory.DataDirectory(loaded.data_dir), backup.absolute()
    head = contents.read_head(backup)
    if place.root.resolve() in (backup.resolve(), *backup.resolve().parents):
        raise errors.Misconfigured(f"the backup {backup} is in the data directory itself; move it to another place first")
    if backup.resolve() in place.root.resolve().parents:
        raise errors.Misconfigured(f"the data directory {place.root} is in the backup, which would not be valid any more; choose another")
    with place.claimed(unfinished=True), taking.errors_of_disk(place.root), _no_backup(place):
        done = _finish(place, head, report)
        if done is not None:
            return done
        there = _entries(place.root)
        if there and not force:
            names = ", ".join(there[:5])
            raise errors.AlreadyExists(
                f"{place.root} has data already ({names}): choose another --data-dir, or replace them with --force, which keeps them in a"
                f" folder {REPLACED}... there"
            )
        mark = _Mark(_free_name(place.root), head.list_sha256)
        try:
            _write_mark(place, mark)
            found = _build(place, backup, head, report)
        except BaseException:
            _give_up(place)
            raise
        with stopping.finishes():
            os.sync()
            replaced = _switch(place, msgspec.structs.replace(mark, phase="clearing"))
        return msgspec.structs.replace(found, replaced=replaced)


def _no_backup(place: directory.DataDirectory) -> AbstractContextManager[None]:
    """Keep backups of what is there away: they would be of two things."""
    return keeping.Kept(place.objects).alone() if place.objects.is_dir() else nullcontext()


def _finish(place: directory.DataDirectory, head: contents.Head, report: Report) -> Restored | None:
    """Finish what a killed restore left. Returns the outcome if it was of the same backup; None if this one is still to be restored."""
    try:
        mark = msgspec.json.decode(place.unfinished.read_bytes(), type=_Mark)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        mark = _Mark("", "")
    if mark.phase == "building":
        report("removing what a restore left that was cut")
        _give_up(place)
        return None
    report("finishing a restore that was cut")
    with stopping.finishes():
        replaced = _switch(place, mark)
    return Restored(head, replaced) if mark.list_sha256 == head.list_sha256 else None


def _give_up(place: directory.DataDirectory) -> None:
    """Remove what was built, while everything else is as it was."""
    shutil.rmtree(place.root / BUILDING, ignore_errors=True)
    place.unfinished.unlink(missing_ok=True)


def _build(place: directory.DataDirectory, backup: Path, head: contents.Head, report: Report) -> Restored:
    root = place.root / BUILDING
    stores = backup / contents.STORES / contents.BUS
    view_bytes = VIEW_SHARE * stores.stat().st_size if stores.exists() else 0
    files.require_space(place.root, head.size_bytes + view_bytes)
    root.mkdir(mode=0o700)
    built = directory.DataDirectory(root)
    _copy(built, backup, head)
    report(f"copied and checked {head.files} files ({head.size_bytes // 2**10} KiB) of {head.made}")
    now = clock.SystemClock().now()
    bus.require_sound(built.bus)
    if built.accounts.exists():
        accounts.require_sound(built.accounts)
    if built.cluster.exists():
        cluster.require_sound(built.cluster)
    bus.start_new_epoch(built.bus, ids.RandomIds())
    pods = cluster.interrupt(built.cluster, now) if built.cluster.exists() else 0
    try:
        tokens, held, documents = anyio.run(_adapt, built, place, report)
    except BaseExceptionGroup as group:
        raise supervisor.first_of_ours(group) from group
    report(f"filled the query store: {documents} entities")
    return Restored(head, None, documents, tokens, pods, tuple(held))


def _copy(built: directory.DataDirectory, backup: Path, head: contents.Head) -> None:
    imported = exporting.Import(built.objects)
    count = 0
    for file in contents.read_list(backup, head):
        count += 1
        target = imported.objects / file.key if file.key is not None else built.root / file.path.removeprefix(f"{contents.STORES}/")
        try:
            source = contents.opened(backup / file.path)
        except FileNotFoundError as error:
            raise contents.missing(backup, file) from error
        try:
            found = files.copy(source, target)
        except FileExistsError as error:
            raise errors.Damaged(f"{backup / contents.LIST} names {file.path} twice; use another backup") from error
        finally:
            os.close(source)
        contents.require_same(backup, file, found.size_bytes, found.sha256)
        if file.key is not None:
            imported.remember(file.key, digests.Known(found.md5, found.sha256))
    if not built.bus.exists():
        raise errors.Damaged(f"{backup} has no log, {contents.STORES}/{contents.BUS}, so it is not whole; use another backup")
    if count != head.files:
        raise errors.Damaged(f"{backup / contents.LIST} has {count} files, and {contents.HEAD} says {head.files}; use another backup")
    contents.require_nothing_else(backup, count)


async def _adapt(built: directory.DataDirectory, place: directory.DataDirectory, report: Report) -> tuple[int, list[str], int]:
    """Make old tokens invalid, keep suspensions, and fill the view. Returns the tokens, the names of accounts, and the documents."""
    tokens, held = 0, list[str]()
    if built.accounts.exists():
        tokens = await accounts.invalidate_tokens(built.accounts)
        if place.accounts.exists():
            try:
                held = await accounts.carry_over(built.accounts, place.accounts)
            except errors.DyffError as error:  # it may be the reason for the restore
                report(f"suspend again those that were suspended after the backup: the accounts that are replaced: {error.message}")
    async with EmbeddedQuery.open(built.query):
        pass
    async with EmbeddedHistory.open(built.bus) as history:
        await replaying.replay(history, EmbeddedMaintenance(built.query))  # which returns how many states it wrote, of each entity several
    documents = 0
    async for batch in EmbeddedMaintenance(built.query).scan():
        documents += sum(each.document.body is not None for each in batch)
    return tokens, held, documents


def _switch(place: directory.DataDirectory, mark: _Mark) -> Path | None:
    """Move what was there aside, and what was built in. It can be interrupted and repeated."""
    built, replaced = place.root / BUILDING, place.root / mark.replaced
    if mark.phase == "clearing":
        _write_mark(place, mark)
        _move_aside(place, mark)
        mark = msgspec.structs.replace(mark, phase="filling")
        _write_mark(place, mark)
    if (built / contents.AUDIT).exists():
        _add_audit(built / contents.AUDIT, place.audit)
    for name in sorted(os.listdir(built)) if built.exists() else ():
        os.rename(built / name, place.root / name)
    files.sync_directory(place.root)
    shutil.rmtree(built, ignore_errors=True)
    place.unfinished.unlink(missing_ok=True)
    files.sync_directory(place.root)
    return replaced if replaced.exists() else None


def _move_aside(place: directory.DataDirectory, mark: _Mark) -> None:
    """Move everything that was there to its folder; if one cannot be moved, nothing is, and the restore ends."""
    replaced = place.root / mark.replaced
    for name in _entries(place.root):
        replaced.mkdir(mode=0o700, exist_ok=True)
        try:
            os.rename(place.root / name, replaced / name)
        except OSError as error:
            for moved in os.listdir(replaced):
                os.rename(replaced / moved, place.root / moved)
            replaced.rmdir()
            _write_mark(place, msgspec.structs.replace(mark, phase="building"))  # so a kill in the next lines loses nothing
            _give_up(place)
            is_disk = error.errno in (errno.EBUSY, errno.EXDEV)
            advice = "it is a disk of its own: unmount it, and mount it again when its new files are on it" if is_disk else error.strerror
            raise errors.Unavailable(f"{place.root / name} cannot be moved aside ({advice}), so everything is as it was") from error


def _add_audit(built: Path, target: Path) -> None:
    """Add the files of the backup's audit log to those that are there: what was done is never forgotten, and is not there twice."""
    target.mkdir(mode=0o700, exist_ok=True)
    known = {_first_line(path) for path in (target / audit.CURRENT, *audit.closed(target)) if path.exists()} - {b""}
    for path in audit.closed(built):
        if _first_line(path) not in known and not (target / path.name).exists():
            os.rename(path, target / path.name)
    files.sync_directory(target)
    shutil.rmtree(built)


def _first_line(path: Path) -> bytes:
    """Empty for a file that is damaged: an audit log that was cut is no reason to leave the data halfway."""
    try:
        return audit.first_line(path)
    except (OSError, EOFError, zlib.error):
        return b""


def _entries(root: Path) -> list[str]:
    """The names in a data directory that a restore replaces."""
    return sorted(name for name in os.listdir(root) if name not in _STAYS and not name.startswith(REPLACED))


def _free_name(root: Path) -> str:
    moment = clock.SystemClock().now().strftime("%Y%m%dT%H%M%SZ")
    name, number = f"{REPLACED}{moment}", 1
    while (root / name).exists():
        name, number = f"{REPLACED}{moment}-{number}", number + 1
    return name


def _write_mark(place: directory.DataDirectory, mark: _Mark) -> None:
    temporary = place.unfinished.with_name(_MARK)
    with open(temporary, "wb") as file:
        file.write(msgspec.json.encode(mark))
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, place.unfinished)
    files.sync_directory(place.root)
