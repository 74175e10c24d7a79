"""The commands `dyff account` and `dyff token`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from dyff.cli import reporting, terminals
from dyff.kernel import settings
from dyff.serve import command_options

if TYPE_CHECKING:
    from dyff.entities import codecs

ADMIN = "Admin"
"""The one role that a token can have."""

_as_json = click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line. So it does if the output is no terminal.")


def _print(rows: list[codecs.Json], as_json: bool) -> None:
    """A table on a terminal, otherwise an object per line."""
    if as_json or not terminals.is_output():
        for row in rows:
            click.echo(json.dumps(row))
    elif rows:
        shown = [[reporting.seconds(value) if isinstance(value, str) else value for value in row.values()] for row in rows]
        reporting.table(list(rows[0]), shown, optional=("account", "created", "grants"))
    else:
        click.echo("there are none", err=True)


@click.group("account")
def accounts() -> None:
    """Manage accounts, which own entities and have quotas. Works while the server runs. ACCOUNT is an ID or a name."""


@accounts.command("create")
@click.option("--name", required=True, help="A name for people, unique.")
@command_options.data_dir
@command_options.config
def account_create(name: str, data_dir: str | None, config: str | None) -> None:
    """Create an account and print its ID."""
    from dyff.serve import administration

    click.echo(administration.create_account(settings.load(config, flags={"data_dir": data_dir}), name))


@accounts.command("list")
@_as_json
@command_options.data_dir
@command_options.config
def account_list(as_json: bool, data_dir: str | None, config: str | None) -> None:
    """List all accounts, the oldest first."""
    from dyff.serve import administration

    found = administration.list_accounts(settings.load(config, flags={"data_dir": data_dir}))
    _print([{"id": each.id, "name": each.name, "status": each.status} for each in found], as_json)


@accounts.command("show")
@click.argument("account", metavar="ACCOUNT")
@command_options.data_dir
@command_options.config
def account_show(account: str, data_dir: str | None, config: str | None) -> None:
    """Print an account as one JSON object: what it keeps, in entities, bytes and tokens, and its limits (quotas in the settings)."""
    from dyff.serve import administration

    click.echo(json.dumps(administration.show_account(settings.load(config, flags={"data_dir": data_dir}), account)))


@accounts.command("delete")
@click.argument("account", metavar="ACCOUNT")
@click.option("--keep-entities", is_flag=True, help="Also delete an account that owns entities, which stay as they are.")
@click.option("--yes", "-y", "sure", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
@command_options.data_dir
@command_options.config
def account_delete(account: str, keep_entities: bool, sure: bool, data_dir: str | None, config: str | None) -> None:
    """Delete an account, for good: its tokens are refused from now on, nothing of it starts any more, and its name stays taken.

    Its entities and their data stay, with their results and publications, and what runs goes on to its end. So an account that owns
    entities is refused, unless you say --keep-entities; to be rid of their data, delete them before. 'dyff account suspend' can be undone.
    """
    from dyff.serve import administration

    loaded = settings.load(config, flags={"data_dir": data_dir})
    found = administration.show_account(loaded, account)
    if "name" not in found:
        raise click.UsageError(f"{account!r} is only a name in entities, which no token has: there is nothing to delete")
    owned, tokens_ = found["entities"]["used"], found["tokens"]["used"]
    if owned and not keep_entities:
        raise click.UsageError(
            f"the account {found['id']} owns entities ({owned}): delete them first, or let them stay with --keep-entities (a deleted one "
            "counts until its data are removed)"
        )
    if not sure:
        if not terminals.is_person():
            raise click.UsageError("a deletion cannot be undone, and there is no terminal to ask at: add --yes")
        name = reporting.harmless(found["name"])
        click.echo(f"Account {name} ({found['id']}): {tokens_} tokens stop working, {owned} entities stay", err=True)
        click.confirm("Delete it? This cannot be undone", abort=True, err=True)
    administration.delete_account(loaded, found["id"], keep_entities=keep_entities)


@accounts.command("suspend")
@click.argument("account", metavar="ACCOUNT")
@command_options.data_dir
@command_options.config
def account_suspend(account: str, data_dir: str | None, config: str | None) -> None:
    """Refuse all tokens of an account and admit none of its workflows, until it is reactivated."""
    from dyff.serve import administration

    administration.set_suspended(settings.load(config, flags={"data_dir": data_dir}), account, suspended=True)


@accounts.command("reactivate")
@click.argument("account", metavar="ACCOUNT")
@command_options.data_dir
@command_options.config
def account_reactivate(account: str, data_dir: str | None, config: str | None) -> None:
    """Undo a suspension."""
    from dyff.serve import administration

    administration.set_suspended(settings.load(config, flags={"data_dir": data_dir}), account, suspended=False)


@click.group("token")
def tokens() -> None:
    """Manage tokens, with which clients act for an account. Works while the server runs."""


def _role_of_token(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is None or value.lower() == ADMIN.lower():
        return value and ADMIN
    raise click.BadParameter(f"{value!r} is not a role of tokens; the only one is {ADMIN!r}, and --grants FILE grants anything else")


@tokens.command("create")
@click.option("--account", required=True, metavar="ACCOUNT", help="The account that the token acts for: its ID or its name.")
@click.option("--role", metavar="ROLE", callback=_role_of_token, help="Admin, which is the only role: grant everything on everything.")
@click.option("--grants", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Grant what this YAML file lists.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="Lifetime.")
@command_options.data_dir
@command_options.config
def token_create(account: str, role: str | None, grants: str | None, days: int, data_dir: str | None, config: str | None) -> None:
    """Print a new token and nothing else.

    Without --role and --grants it allows everything on entities of the account, and reading and using those of `public`.
    """
    from dyff.serve import administration

    if role and grants:
        raise click.UsageError("give --role or --grants, not both")
    wanted = administration.grants_for(role, grants)
    loaded = settings.load(config, flags={"data_dir": data_dir})
    click.echo(administration.create_token(loaded, account, wanted, timedelta(days=days)))


@tokens.command("invalidate-all")
@command_options.data_dir
@command_options.config
def token_invalidate_all(data_dir: str | None, config: str | None) -> None:
    """Make all tokens of all accounts invalid, with a new signing key. `dyff restore` does that by itself."""
    from dyff.serve import administration

    administration.invalidate_tokens(settings.load(config, flags={"data_dir": data_dir}))


@tokens.command("list")
@click.option("--account", metavar="ACCOUNT", help="Only those of this account: its ID or its name.")
@click.option("--valid", is_flag=True, help="Only those that have not expired.")
@_as_json
@command_options.data_dir
@command_options.config
def token_list(account: str | None, valid: bool, as_json: bool, data_dir: str | None, config: str | None) -> None:
    """List the tokens that were not revoked, the oldest of each account first: what each allows, and until when.

    A token itself is shown once, when it is made: only its ID and a hash are stored. Invitations are listed, too.
    """
    from dyff.serve import administration

    _print(administration.list_tokens(settings.load(config, flags={"data_dir": data_dir}), account, valid=valid), as_json)


@tokens.command("revoke")
@click.option("--account", metavar="ACCOUNT", help="The account of the token, its ID or its name: refuse a token of another one.")
@click.argument("token_id")
@command_options.data_dir
@command_options.config
def token_revoke(account: str | None, token_id: str, data_dir: str | None, config: str | None) -> None:
    """Revoke a token or an invitation: every server refuses it from the next request on.

    TOKEN_ID is its `jti` claim; 'dyff token list' shows it.
    """
    from dyff.serve import administration

    administration.revoke_token(settings.load(config, flags={"data_dir": data_dir}), account, token_id)
