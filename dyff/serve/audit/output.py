"""Where entries of the audit log go: in the background of a server, and at once from a command."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import click

from dyff.kernel import audit, clock, errors, ids, lines, settings
from dyff.serve import directory, opening
from dyff.serve.audit import files

FLUSH_S = 2.0
"""How long the end of a process waits until the last entries are written."""
LINGER_S = 0.2
"""Entries of so many seconds are written together. It costs less, and nothing waits for it."""


def chosen_output(loaded: settings.Settings) -> Literal["file", "stdout", "none"]:
    """Where entries go: `audit.output`, with `auto` decided."""
    if loaded.audit.output != "auto":
        return loaded.audit.output
    return "file" if loaded.audit.directory is not None or "accounts" in opening.embedded(loaded) else "stdout"


def folder(loaded: settings.Settings) -> Path:
    """The folder of the files."""
    chosen = loaded.audit.directory
    return Path(chosen).absolute() if chosen is not None else directory.DataDirectory(loaded.data_dir).audit


def is_in_data(loaded: settings.Settings) -> bool:
    """Whether the files are in a data directory, which only a server makes."""
    return loaded.audit.directory is None and "accounts" in opening.embedded(loaded)


class AuditOutput:
    """The audit log of a server. `trail` takes the entries."""

    def __init__(self, loaded: settings.Settings, time: clock.Clock) -> None:
        """Entries can be written from now on."""
        sink: lines.Sink = lines.Descriptor(1)
        if chosen_output(loaded) == "file":
            sink = files.Files(folder(loaded), loaded.audit, time, keeps_house=True)
        self._clock = time
        self._lines = lines.Lines(sink, self._notice, keep=True, linger_s=LINGER_S)
        self.trail = audit.Trail(self._lines.put, ids.RandomIds().new()[:12], reads=loaded.audit.reads)

    def look(self) -> lines.State:
        """How the writing goes."""
        return self._lines.state()

    def mark(self, action: str, **details: str) -> None:
        """Add an entry about the server itself."""
        now = clock.iso(self._clock.now())
        self.trail.record(audit.Entry(stream=audit.AUDIT, time=now, action=action, outcome=audit.OK, user=_user(), details=details))

    def close(self) -> None:
        """Write what waits, for a while."""
        self._lines.close(FLUSH_S)

    def _notice(self, lost: int) -> bytes:
        now = clock.iso(self._clock.now())
        return self.trail.line(audit.Entry(stream=audit.AUDIT, time=now, action="audit.lost", outcome=audit.FAILED, count=lost))


@contextmanager
def recorded(
    loaded: settings.Settings, action: str, *, kind: str | None = None, entity: str | None = None, **details: str
) -> Iterator[audit.Entry]:
    """Record what a command does, with its outcome. The entry may be completed meanwhile. If it cannot be written, a person is warned."""
    entry = audit.Entry(
        stream=audit.AUDIT, time="", action=f"operator.{action}", outcome=audit.OK, user=_user(), kind=kind, entity=entity, client=_host()
    )
    entry.details = details or None
    try:
        yield entry
    except BaseException as error:
        entry.outcome = _outcome(error)
        entry.error = type(error).__name__
        raise
    finally:
        entry.time = clock.iso(clock.SystemClock().now())
        _write(loaded, entry)


def _write(loaded: settings.Settings, entry: audit.Entry) -> None:
    output, place = chosen_output(loaded), folder(loaded)
    line = audit.Trail(lambda _: None, ids.RandomIds().new()[:12], reads=False).line(entry)
    if output == "stdout":  # standard output of a command is for what it prints
        with suppress(OSError):
            click.echo(line, nl=False, err=True)
    if output != "file" or (is_in_data(loaded) and not directory.DataDirectory(loaded.data_dir).has_data):
        return  # a command that was refused makes no data directory
    try:
        sink = files.Files(place, loaded.audit, clock.SystemClock(), keeps_house=False)
        sink.write(line)
        sink.close()
    except OSError as error:
        with suppress(OSError):
            click.echo(f"dyff: this is not in the audit log: {place} cannot be written ({error.strerror})", file=sys.stderr)


def _outcome(error: BaseException) -> str:
    if isinstance(error, errors.FixRequest | errors.Conflict | errors.Misconfigured):
        return audit.REJECTED
    if isinstance(error, errors.OutcomeUnknown):
        return audit.UNKNOWN
    return audit.FAILED if isinstance(error, Exception) else audit.ABORTED


def _user() -> str:
    uid = os.getuid()
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return str(uid)


def _host() -> str:
    return socket.gethostname()[:255]
