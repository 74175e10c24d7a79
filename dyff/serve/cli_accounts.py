"""The commands `dyff account` and `dyff token`."""

from __future__ import annotations

import json
from datetime import timedelta

import click

from dyff.kernel import settings
from dyff.serve import command_options

ADMIN = "Admin"
"""The one role that a token can have."""


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
@command_options.data_dir
@command_options.config
def account_list(data_dir: str | None, config: str | None) -> None:
    """Print all accounts, one JSON object per line."""
    from dyff.serve import administration

    for each in administration.list_accounts(settings.load(config, flags={"data_dir": data_dir})):
        click.echo(json.dumps({"id": each.id, "name": each.name, "status": each.status}))


@accounts.command("show")
@click.argument("account", metavar="ACCOUNT")
@command_options.data_dir
@command_options.config
def account_show(account: str, data_dir: str | None, config: str | None) -> None:
    """Print an account as one JSON object: what it keeps, in entities, bytes and tokens, and its limits (quotas in the settings)."""
    from dyff.serve import administration

    click.echo(json.dumps(administration.show_account(settings.load(config, flags={"data_dir": data_dir}), account)))


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


@tokens.command("revoke")
@click.option("--account", required=True, metavar="ACCOUNT", help="The account that the token acts for: its ID or its name.")
@click.argument("token_id")
@command_options.data_dir
@command_options.config
def token_revoke(account: str, token_id: str, data_dir: str | None, config: str | None) -> None:
    """Revoke a token: it is refused from now on. TOKEN_ID is its `jti` claim."""
    from dyff.serve import administration

    administration.revoke_token(settings.load(config, flags={"data_dir": data_dir}), account, token_id)
