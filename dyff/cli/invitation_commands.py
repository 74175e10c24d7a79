"""`dyff invitation`: let an outsider read one safety case (docs/permissions.md)."""

from __future__ import annotations

from shlex import quote

import click

from dyff.cli import connecting, reporting

DEFAULT_DAYS, MOST_DAYS = 30, 365
"""As `dyff.entities.invitations` has them, which no start of a command should have to import."""

_case = click.argument("case_id", metavar="CASE_ID")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.group()
def invitation() -> None:
    """Invite outsiders to read one safety case and all that it rests on, and nothing else."""


@invitation.command()
@_case
@click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    default=DEFAULT_DAYS,
    show_default=True,
    help="How long it is valid.",
)
@click.option("--note", default="", help="For whom it is; those who may edit the case see it.")
@_as_json
def create(case_id: str, days: int, note: str, as_json: bool) -> None:
    """Print the link of a new invitation. It is shown only once: send it to one person, over a channel that you trust."""
    with connecting.connected() as client:
        made = client.safetycases.invite(case_id, days=days, note=note)
    if as_json:
        reporting.document(made)
        return
    reporting.line(made.url)
    click.echo(
        f"invitation {made.id} is valid until {made.expires}; 'dyff invitation revoke {quote(case_id)} {quote(made.id)}' ends it", err=True
    )
    if made.leftOut:
        click.echo(f"it does not show {', '.join(made.leftOut)}, which this token or the account may not read", err=True)


@invitation.command("list")
@_case
@_as_json
def list_(case_id: str, as_json: bool) -> None:
    """List the invitations to a safety case, and how often each was used."""
    with connecting.connected() as client:
        found = client.safetycases.invitations(case_id)
    if as_json:
        reporting.document(found)
        return
    rows = [
        [
            each.id,
            each.note,
            each.created,
            each.expires,
            sum(use.count for use in each.uses),
            max((use.last for use in each.uses), default=None),
        ]
        for each in found
    ]
    if not rows:
        click.echo("there are no invitations to this safety case", err=True)
        return
    reporting.table(["id", "note", "created", "expires", "uses", "last use"], rows)


@invitation.command()
@_case
@click.argument("invitation_id", metavar="INVITATION_ID")
def revoke(case_id: str, invitation_id: str) -> None:
    """Revoke an invitation: its link and its code open nothing from now on."""
    with connecting.connected() as client:
        client.safetycases.revoke_invitation(case_id, invitation_id)
