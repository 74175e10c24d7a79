"""The commands that use a server: each is a thin layer over the client, with tables for people and `--json` for programs.

`connecting` finds the server and the token. The SDK is imported when a command runs.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from dyff.cli import (
    case_commands,
    change_commands,
    compare_command,
    completion_command,
    connecting,
    export_commands,
    invitation_commands,
    kinds,
    method_commands,
    naming,
    open_command,
    publish_command,
    reporting,
    reproduce_command,
    samples_command,
    sign_in_commands,
    tables,
    terminals,
    why_command,
)

if TYPE_CHECKING:
    from dyff.entities.kind import Kind

DEFAULT_LIMIT = 50
MOST = 10_000
"""The most entities or lines of one answer, as the server has it."""

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_LOGGED = naming.Feature(lambda row: row.logs is not None, "logs")
_DOWNLOADED = naming.Feature(lambda row: row.download is not None, "files to download")


@click.command("ls")
@click.argument("kind", type=kinds.KindParam())
@click.option("--account", help="Only those of this account.")
@click.option("--status", help="Only those with this status, such as Complete.")
@click.option("--name", help="Only those with this name.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only those with this label. Can be given several times.")
@click.option(
    "--limit", type=click.IntRange(1, MOST), default=DEFAULT_LIMIT, show_default=True, help="The most that are printed, newest first."
)
@_as_json
def ls(kind: Kind, account: str | None, status: str | None, name: str | None, labels: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List entities of a KIND, such as evaluations, newest first."""
    wanted: dict[str, str] = {}
    for key, value in map(_label, labels):
        if key in wanted:
            raise click.BadParameter(f"{key!r} is there twice; an entity has one value for each key", param_hint="--label")
        wanted[key] = value
    with connecting.connected() as client:
        found = kinds.group(client, kind).query(
            account=account, status=status, name=name, labels=wanted or None, order_by="creationTime", order="descending", limit=limit
        )
    if as_json:
        reporting.document(found)
        return
    if not found:
        click.echo(f"there are no {kind.plural} like that", err=True)
        return
    when = "age" if terminals.is_output() else "creationTime"
    rows = [[each.id, named(each), each.status, each.reason, each.account, _when(each.creationTime, when)] for each in found]
    reporting.table(["id", "name", "status", "reason", "account", when], rows, optional=("account", "reason"))
    if len(found) == limit:
        click.echo(f"(the newest {limit}; --limit prints more)", err=True)


def named(entity: Any) -> str | None:
    """What people know an entity by: its name, or else that of the system or the method that it is about; None if it has neither."""
    session = getattr(entity, "inferenceSession", None)
    about = (entity, getattr(session, "inferenceService", None), getattr(entity, "method", None))
    return next((name for each in about if isinstance(name := getattr(each, "name", None), str) and name), None)


def _when(time: str, how: str) -> str:
    try:
        then = datetime.fromisoformat(time.replace("Z", "+00:00"))
    except ValueError:
        return time
    return tables.age((datetime.now(UTC) - then).total_seconds()) if how == "age" else reporting.seconds(time)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} has no '=': give KEY=VALUE", param_hint="--label")
    return key, value


@click.command()
@naming.argument()
@_as_json
def get(asked: naming.Asked, as_json: bool) -> None:
    """Show one entity, with all of its fields."""
    with connecting.connected() as client:
        row, entity_id = asked.target(client)
        found = kinds.group(client, row).get(entity_id)
    if as_json:
        reporting.document(found)
    else:
        reporting.fields([(name, getattr(found, name)) for name in found.__struct_fields__ if name != "schemaVersion"])


def _not_nan(context: click.Context, option: click.Parameter, value: float) -> float:
    if math.isnan(value):  # which a range does not refuse
        raise click.BadParameter("it must be a number of seconds, not nan", context, option)
    return value


@click.command()
@naming.argument()
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    callback=_not_nan,
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)
@click.option("--quiet", is_flag=True, help="Do not show the progress.")
@_as_json
def wait(asked: naming.Asked, timeout: float, quiet: bool, as_json: bool) -> None:
    """Wait until an entity has succeeded. Ctrl-C stops the waiting, not the workflow.

    The exit code is 9 if it ended without success, and 7 if it has not ended in time.
    """
    with connecting.connected() as client:
        row, entity_id = asked.target(client)
        try:
            found = kinds.group(client, row).wait(entity_id, timeout_s=timeout, progress=not quiet and not as_json)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; `dyff wait {quote(row.name.lower())} {quote(entity_id)}` waits again") from None
    if as_json:
        reporting.document(found)
    else:
        reporting.line(found.status)


@click.command()
@naming.argument(_LOGGED)
@click.option("-f", "--follow", is_flag=True, help="Print further lines as they come, until the workflow has ended.")
@click.option("--since", metavar="PERIOD", help="Only lines of this period, such as 30m, 1h or 2d, or since a time.")
@click.option("--limit", type=click.IntRange(1, MOST), default=1000, show_default=True, help="The most lines, the last ones.")
@_as_json
def logs(asked: naming.Asked, follow: bool, since: str | None, limit: int, as_json: bool) -> None:
    """Print what the pods of an entity wrote."""
    if follow and since is not None:
        raise click.UsageError("--follow prints all lines: leave out --since")
    with connecting.connected() as client:
        row, entity_id = asked.target(client)
        its = kinds.group(client, row)
        lines = its.stream_workflow_logs(entity_id) if follow else its.workflow_logs(entity_id, since=since, limit=limit).logs
        for line in lines:
            if as_json:
                reporting.document(line)
            else:
                reporting.line(reporting.harmless(f"{line.timestamp} {line.message}".replace("\n", "\\n")))


@click.command()
@naming.argument(_DOWNLOADED)
@click.argument("destination", type=click.Path())
@click.option("--incomplete", is_flag=True, help="Also of an evaluation that has failed: what it completed.")
@click.option("--quiet", is_flag=True, help="Do not show the progress.")
def download(asked: naming.Asked, destination: str, incomplete: bool, quiet: bool) -> None:
    """Download the files of an entity to DESTINATION, a new directory. Run it again to continue an interrupted download."""
    if incomplete and asked.row is not None:
        _require_incomplete(asked.row)
    with connecting.connected() as client:
        row, entity_id = asked.target(client)
        if incomplete:
            _require_incomplete(row)
        more = {"incomplete": True} if incomplete else {}
        kinds.group(client, row).download(entity_id, destination, progress=not quiet, **more)
    reporting.line(destination)


def _require_incomplete(row: Kind) -> None:
    if row.download is None or not row.download.incomplete:
        raise click.UsageError(f"--incomplete: {row.plural} have no incomplete files")


ALL = tuple(map(connecting.with_option, (
    sign_in_commands.login, sign_in_commands.logout, sign_in_commands.whoami, ls, get, wait, why_command.why, logs, samples_command.samples,
    compare_command.compare, download, export_commands.export, change_commands.label, change_commands.terminate, change_commands.delete,
    publish_command.publish, open_command.open_, reproduce_command.reproduce, invitation_commands.invitation, method_commands.method,
    case_commands.case, completion_command.completion,
)))  # fmt: skip
"""All of them. `dyff.cli.server_commands.NAMES` has the names that are taken."""
