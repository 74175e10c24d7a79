"""The command `dyff audit-log`."""

from __future__ import annotations

import sys

import click

from dyff.kernel import audit, settings
from dyff.serve import command_options


@click.command("audit-log")
@click.option("--since", metavar="TIME", help="From this time on, such as 2026-01-31T12:00:00Z, or an age: 30m, 24h, 7d.")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option("--account", metavar="ID|NAME", help="Done by or to this account.")
@click.option("--entity", metavar="ID", help="Done to this entity, or with or to this token.")
@click.option("--action", metavar="PATTERN", help="Such as evaluations.create, 'datasets.*' or 'operator.*'.")
@click.option("--outcome", type=click.Choice(audit.OUTCOMES), help="How it ended.")
@click.option("--follow", "-f", is_flag=True, help="Wait for new entries.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line. So it does if the output is no terminal.")
@click.option("--table", "as_table", is_flag=True, help="Print a line for people, always.")
@click.option("--file", "names", multiple=True, metavar="FILE", help="Read this file, or - for standard input, such as collected logs.")
@command_options.data_dir
@command_options.config
def audit_log(names: tuple[str, ...], follow: bool, as_json: bool, as_table: bool, **options: str | None) -> None:
    """Print the audit log: who did what to which entity, with what outcome. The oldest entry is first.

    Works while the server runs ('dyff docs production').
    """
    from dyff.serve.audit import command

    if as_json and as_table:
        raise click.UsageError("give --json or --table, not both")
    table = as_table or (not as_json and sys.stdout.isatty())
    loaded = settings.load(options.pop("config"), flags={"data_dir": options.pop("data_dir")})
    command.run(loaded, names, command.wanted(**options), follow=follow, table=table)
