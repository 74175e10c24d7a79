"""Reads the audit log, also while servers write it, one line at a time."""

from __future__ import annotations

import fnmatch
import gzip
import os
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import msgspec

from dyff.kernel import audit, clock, errors
from dyff.serve.audit import files

MAX_LINE_BYTES = 64 * 2**10
"""A longer line is no entry, and is skipped."""
POLL_S = 0.5
"""How often `--follow` looks for new entries."""

_AGE = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DECODER = msgspec.json.Decoder(audit.Entry)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries. None: any. `since`, `until`: from, and before, this time. `account`: an ID or a name, of who did it or what it was
    done to. `entity`: an ID, of an entity or of a token. `action`: a pattern such as `datasets.*`.
    """

    since: datetime | None = None
    until: datetime | None = None
    account: str | None = None
    entity: str | None = None
    action: str | None = None
    outcome: str | None = None

    def has(self, entry: audit.Entry) -> bool:
        """Whether the entry is wanted."""
        return (
            (self.since is None or entry.time >= clock.iso(self.since))
            and (self.until is None or entry.time < clock.iso(self.until))
            and (self.account is None or self.account in (entry.account, entry.account_name, _account(entry)))
            and (self.entity is None or self.entity in (entry.entity, entry.target, entry.token))
            and (self.action is None or fnmatch.fnmatchcase(entry.action, self.action))
            and (self.outcome is None or entry.outcome == self.outcome)
        )


def moment(option: str, text: str | None, now: datetime) -> datetime | None:
    """The time that an option names: an age such as `24h` or `7d`, or a time.

    Raises:
        Misconfigured: it is neither.
    """
    if text is None:
        return None
    try:
        match = _AGE.fullmatch(text)
        if match is not None:
            return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
        return clock.parse_iso(text)
    except (ValueError, OverflowError) as error:
        fix = "give an age (30m, 24h, 7d, 4w) or a time (2026-01-31T12:00:00Z)"
        raise errors.Misconfigured(f"{option} {text[:64]!r} is no time; {fix}") from error


class Reader:
    """Reads files or a folder. `skipped`: lines so far that are no entries, such as one that was cut."""

    def __init__(self, wanted: Wanted) -> None:
        """`wanted`: which entries."""
        self._wanted = wanted
        self.skipped = 0

    def folder(self, place: Path, wait: Callable[[], bool] | None = None) -> Iterator[audit.Entry]:
        """All entries of a folder, the oldest first. `wait`: when all are read, wait for more for as long as it returns True.

        Raises:
            Misconfigured: it cannot be read.
        """
        try:
            # The current file first: it may be closed while the others are read, and would then be read twice or not at all.
            with ExitStack() as opened:
                current = _opened(place / files.CURRENT)
                opened.callback(lambda: current.close() if current is not None else None)
                known = os.fstat(current.fileno()) if current is not None else None
                for path in files.closed(place):
                    yield from self._closed(path, known)
                yield from self._grown(place, current, wait)
        except OSError as error:
            raise errors.Misconfigured(f"the audit log {place} cannot be read: {error.strerror or error}") from error

    def file(self, name: str) -> Iterator[audit.Entry]:
        """The entries among the lines of a file, which may be compressed; `-` for standard input.

        Raises:
            Misconfigured: it cannot be read.
        """
        try:
            if name == "-":
                yield from self._entries(sys.stdin.buffer)
                return
            with gzip.open(name) if name.endswith(".gz") else Path(name).open("rb") as source:
                yield from self._entries(source)
        except OSError as error:
            raise errors.Misconfigured(f"{name} cannot be read: {error.strerror or error}") from error

    def _closed(self, path: Path, current: os.stat_result | None) -> Iterator[audit.Entry]:
        ended = files.closed_at(path.name)
        if self._wanted.since is not None and ended is not None and ended < self._wanted.since:
            return
        source = _opened(path) or _opened(path.with_name(f"{path.name}.gz"))  # it may be compressed, or removed, at any moment
        if source is None:
            return
        with source:
            if current is not None and os.path.samestat(os.fstat(source.fileno()), current):
                return
            yield from self._entries(gzip.GzipFile(fileobj=source) if source.peek(2)[:2] == b"\x1f\x8b" else source)

    def _grown(self, place: Path, current: Any, wait: Callable[[], bool] | None) -> Iterator[audit.Entry]:
        """The entries of the current file, and of those that take its place while we wait."""
        with ExitStack() as opened:
            while True:
                if current is not None:
                    yield from self._entries(current, to_be_continued=wait is not None)
                if wait is None or not wait():
                    return
                newer = _opened(place / files.CURRENT)
                if newer is None:
                    continue
                if current is not None and os.path.samestat(os.fstat(newer.fileno()), os.fstat(current.fileno())):
                    newer.close()
                    continue
                if current is not None:
                    yield from self._entries(current)  # what came before it was closed
                opened.close()
                current = opened.enter_context(newer)

    def _entries(self, source: Any, *, to_be_continued: bool = False) -> Iterator[audit.Entry]:
        """The wanted entries of the lines. `to_be_continued`: a last line that is not complete stays to be read."""
        for line in self._lines(source, to_be_continued=to_be_continued):
            try:
                entry = _DECODER.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.skipped += 1
                continue
            if self._wanted.has(entry):
                yield entry

    def _lines(self, source: IO[bytes], *, to_be_continued: bool) -> Iterator[bytes]:
        too_long = False
        try:
            while line := source.readline(MAX_LINE_BYTES):
                complete = line.endswith(b"\n")
                if not complete and len(line) < MAX_LINE_BYTES and to_be_continued:
                    source.seek(-len(line), os.SEEK_CUR)
                    return
                if not too_long and (complete or len(line) < MAX_LINE_BYTES):
                    if line.strip():
                        yield line
                elif complete or not too_long:
                    self.skipped += complete
                too_long = not complete
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.skipped += 1  # a compressed file that was cut or damaged: what comes before is read


def wait_a_moment() -> bool:
    """Wait for new entries."""
    time.sleep(POLL_S)
    return True


def row(entry: audit.Entry) -> str:
    """An entry as a line for people. What callers choose, such as names, is shown without control characters."""
    who = entry.account_name or entry.account or entry.subject or entry.user
    if who is None:
        who = f"? {entry.claimed['subject']}" if entry.claimed else "?"
    about = " ".join(filter(None, (entry.kind, entry.entity or entry.target)))
    more = " ".join(filter(None, (entry.error, f"x{entry.count}" if entry.count else None, entry.client and f"from {entry.client}")))
    cells = (entry.time[:23] + "Z", f"{entry.outcome:<8}", f"{entry.status or '-':>4}", f"{who:<24}", f"{entry.action:<32}", about, more)
    return "".join(each if each.isprintable() else "?" for each in "  ".join(cells).rstrip())


def _account(entry: audit.Entry) -> str | None:
    return entry.entity if entry.kind == "Account" else None


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None
