"""The commands `dyff backup` and `dyff restore`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from dyff.kernel import settings
from dyff.serve import command_options, stopping

_PATH_CHARS = 500
"""The most of a path that the audit log has."""


@click.command()
@click.argument("target", type=click.Path(path_type=Path), metavar="TARGET")
@command_options.data_dir
@command_options.config
def backup(target: Path, data_dir: str | None, config: str | None) -> None:
    """Back the data directory up into the new directory TARGET.

    Works while the server runs, and shows one moment. TARGET exists only when the backup is complete and was read again; until
    then it has the name TARGET.incomplete. It has the signing key and all data, so keep it safe ('dyff docs backup'). Exits with 1 if
    something was damaged already.
    """
    from dyff.kernel import logs
    from dyff.serve.audit import output
    from dyff.serve.backups import taking

    logs.configure("error")
    started = time.monotonic()
    loaded = settings.load(config, flags={"data_dir": data_dir})
    with _says_so("nothing is left of it"), output.recorded(loaded, "backup", target=str(target)[:_PATH_CHARS]):
        head = taking.backup(loaded, target, lambda line: click.echo(line, err=True))
    took = f"{time.monotonic() - started:.1f} s"
    click.echo(f"{target} is complete: {head.files} files, {head.size_bytes} bytes, as of {head.made} ({took})")
    for key in head.damaged:
        click.echo(f"damaged in the original, and so in the backup: {key}", err=True)
    sys.exit(1 if head.damaged else 0)


@click.command()
@click.argument("backup", type=click.Path(path_type=Path), metavar="BACKUP")
@click.option("--force", is_flag=True, help="Replace data that are there. They are kept in a folder of the data directory.")
@command_options.data_dir
@command_options.config
def restore(backup: Path, force: bool, data_dir: str | None, config: str | None) -> None:
    """Restore the backup in the directory BACKUP. No server may use the data directory.

    The log continues under a new epoch, all tokens become invalid, and what was running is run again ('dyff docs backup').
    """
    from dyff.kernel import logs
    from dyff.serve.audit import output
    from dyff.serve.backups import restoring

    logs.configure("error")
    loaded = settings.load(config, flags={"data_dir": data_dir})
    with _says_so("the data directory is as it was"), output.recorded(loaded, "restore", backup=str(backup)[:_PATH_CHARS]):
        done = restoring.restore(loaded, backup, lambda line: click.echo(line, err=True), force=force)
    entities = f": {done.documents} entities" if done.documents is not None else ""
    click.echo(f"{loaded.data_dir} is as of {done.head.made}{entities}")
    if done.replaced is not None:
        click.echo(f"what was there before is kept in {done.replaced}; remove it when you do not need it any more")
    tokens = f" ({done.tokens} of them)" if done.tokens is not None else ""
    click.echo(f"all tokens are invalid{tokens}: make new ones with 'dyff token create'")
    if done.held:
        click.echo(f"still suspended or deleted, as in what was replaced: {', '.join(done.held)}")
    if done.pods:
        click.echo(f"{done.pods} pods were running, and run again when the server starts")


@contextmanager
def _says_so(what: str) -> Iterator[None]:
    """Stop at SIGTERM and SIGHUP, and say that the command did not end by itself. `what`: what is left."""
    try:
        with stopping.stops():
            yield
    except stopping.Stopped as stopped:
        click.echo(f"stopped by {stopped.signal}; {what}", err=True)
        raise
