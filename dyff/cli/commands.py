"""The commands that use a server: each is a thin layer over the client, with tables for people and `--json` for programs.

The address and the token come from `DYFF_API_ENDPOINT` and `DYFF_API_TOKEN`, as for `Client`. The SDK is imported when a command runs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from dyff.cli import case_commands, connecting, export_commands, invitation_commands, kinds, method_commands, reporting, reproduce_command

if TYPE_CHECKING:
    from dyff.entities.kind import Kind

DEFAULT_LIMIT = 50
MOST = 10_000
"""The most entities or lines of one answer, as the server has it."""

_COLUMNS = ("id", "name", "status", "reason", "account", "creationTime")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_id = click.argument("entity_id", metavar="ID")


def _kind(feature: str | None = None, what: str = "") -> Callable[..., Any]:
    return click.argument("kind", type=kinds.KindParam(feature, what))


@click.command()
@_as_json
def whoami(as_json: bool) -> None:
    """Check the address and the token: which server answers, whose token it is, what it grants, and until when."""
    with connecting.connected() as client:
        _, claims = client.tokens.inspect(os.environ["DYFF_API_TOKEN"])
        kind, _, subject = str(claims.get("sub", "")).partition("/")
        if kind == "Account":  # what every token of an account may read; 401 if it is expired or revoked
            client.accounts.get_token(subject, str(claims.get("jti", "")))
        else:
            reporting.stop(
                f"the token is not that of an account, but of {kind or 'nothing'}: it is for calling that", reporting.NOT_ALLOWED
            )
        found = {
            "endpoint": client.endpoint,
            "account": subject,
            "token": claims.get("jti"),
            "expires": _time(claims.get("exp")),
            "grants": claims.get("grants", []),
        }
    if as_json:
        reporting.document(found)
    else:
        reporting.fields([*((name, value) for name, value in found.items() if name != "grants")])
        for grant in found["grants"]:
            reporting.fields([("grants", _grant(grant))])


def _time(seconds: Any) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if isinstance(seconds, int | float) else None


def _grant(grant: dict[str, Any]) -> str:
    """A grant in one line."""
    where = [f"{name} {', '.join(map(str, grant[name]))}" for name in ("accounts", "entities") if grant.get(name)]
    what = f"{', '.join(grant.get('functions', []))} on {', '.join(grant.get('resources', []))}"
    return " of ".join([what, *(["; ".join(where)] if where else [])])


@click.command("ls")
@_kind()
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
    reporting.table([*_COLUMNS], [[getattr(each, column, None) for column in _COLUMNS] for each in found])
    if len(found) == limit:
        click.echo(f"(the newest {limit}; --limit prints more)", err=True)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} has no '=': give KEY=VALUE", param_hint="--label")
    return key, value


@click.command()
@_kind()
@_id
@_as_json
def get(kind: Kind, entity_id: str, as_json: bool) -> None:
    """Show one entity of a KIND."""
    with connecting.connected() as client:
        found = kinds.group(client, kind).get(entity_id)
    if as_json:
        reporting.document(found)
    else:
        reporting.fields([(name, getattr(found, name)) for name in found.__struct_fields__ if name != "schemaVersion"])


def _not_nan(context: click.Context, option: click.Parameter, value: float) -> float:
    if math.isnan(value):  # which a range does not refuse
        raise click.BadParameter("it must be a number of seconds, not nan", context, option)
    return value


@click.command()
@_kind()
@_id
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
def wait(kind: Kind, entity_id: str, timeout: float, quiet: bool) -> None:
    """Wait until an entity of a KIND has succeeded. Ctrl-C stops the waiting, not the workflow."""
    with connecting.connected() as client:
        try:
            found = kinds.group(client, kind).wait(entity_id, timeout_s=timeout, progress=not quiet)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; `dyff wait {quote(kind.name.lower())} {quote(entity_id)}` waits again") from None
    reporting.line(found.status)


@click.command()
@_kind("logs", "logs")
@_id
@click.option("-f", "--follow", is_flag=True, help="Print further lines as they come, until the workflow has ended.")
@click.option("--since", metavar="PERIOD", help="Only lines of this period, such as 30m, 1h or 2d, or since a time.")
@click.option("--limit", type=click.IntRange(1, MOST), default=1000, show_default=True, help="The most lines, the last ones.")
@_as_json
def logs(kind: Kind, entity_id: str, follow: bool, since: str | None, limit: int, as_json: bool) -> None:
    """Print what the pods of an entity of a KIND wrote."""
    if follow and since is not None:
        raise click.UsageError("--follow prints all lines: leave out --since")
    with connecting.connected() as client:
        its = kinds.group(client, kind)
        lines = its.stream_workflow_logs(entity_id) if follow else its.workflow_logs(entity_id, since=since, limit=limit).logs
        for line in lines:
            if as_json:
                reporting.document(line)
            else:
                reporting.line(reporting.harmless(f"{line.timestamp} {line.message}".replace("\n", "\\n")))


@click.command()
@_kind("download", "files to download")
@_id
@click.argument("destination", type=click.Path())
@click.option("--incomplete", is_flag=True, help="Also of an evaluation that has failed: what it completed.")
@click.option("--quiet", is_flag=True, help="Do not show the progress.")
def download(kind: Kind, entity_id: str, destination: str, incomplete: bool, quiet: bool) -> None:
    """Download the files of an entity of a KIND to DESTINATION, a new directory. Run it again to continue an interrupted download."""
    if incomplete and (kind.download is None or not kind.download.incomplete):
        raise click.UsageError(f"--incomplete: {kind.plural} have no incomplete files")
    more = {"incomplete": True} if incomplete else {}
    with connecting.connected() as client:
        kinds.group(client, kind).download(entity_id, destination, progress=not quiet, **more)
    reporting.line(destination)


ALL = (
    whoami, ls, get, wait, logs, download, export_commands.export, reproduce_command.reproduce, invitation_commands.invitation,
    method_commands.method, case_commands.case,
)  # fmt: skip
"""All of them. `dyff.cli.server_commands.NAMES` has the names that are taken."""
