"""The command `dyff audit-log`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

import click
import msgspec

from dyff.kernel import audit, clock, errors, settings
from dyff.serve import directory
from dyff.serve.audit import output, reading


def wanted(*, since: str | None, until: str | None, account: str | None, entity: str | None, action: str | None, outcome: str | None) -> (
    reading.Wanted
):  # fmt: skip
    """What the options ask for.

    Raises:
        Misconfigured: a time is none.
    """
    now = clock.SystemClock().now()
    return reading.Wanted(
        since=reading.moment("--since", since, now),
        until=reading.moment("--until", until, now),
        account=account,
        entity=entity,
        action=action,
        outcome=outcome,
    )


def run(loaded: settings.Settings, names: tuple[str, ...], chosen: reading.Wanted, *, follow: bool, table: bool) -> None:
    """Print the entries of these files, or if none is named of the audit log of this installation.

    Raises:
        Misconfigured: something cannot be read, or the audit log is not in files.
    """
    if follow and names:
        raise errors.Misconfigured("--follow and --file do not go together; follow a file with 'tail -f FILE | dyff audit-log --file -'")
    if not names and output.chosen_output(loaded) != "file":
        where = f"the setting audit.output is {output.chosen_output(loaded)!r}"
        raise errors.Misconfigured(f"{where}, so there are no files of the audit log here; give collected logs with --file")
    if not names and output.is_in_data(loaded):
        directory.DataDirectory(loaded.data_dir).require()
    reader, encode = reading.Reader(chosen), msgspec.json.Encoder().encode
    found: Iterator[audit.Entry]
    if names:
        found = chain.from_iterable(reader.file(name) for name in names)
    else:
        found = reader.folder(output.folder(loaded), reading.wait_a_moment if follow else None)
    printed = 0
    try:
        for printed, entry in enumerate(found, start=1):  # noqa: B007 (used below)
            click.echo(reading.row(entry) if table else encode(entry))
    except KeyboardInterrupt:
        return
    except BrokenPipeError:  # the reader of our output has seen enough
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if not printed:
        click.echo(
            "dyff: the audit log has no such entry" if chosen != reading.Wanted() else "dyff: the audit log has no entries", err=True
        )
    if reader.skipped:
        click.echo(f"dyff: {reader.skipped} lines are no entries and were skipped", err=True)
