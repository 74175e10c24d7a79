"""The command `dyff`, a thin layer: one function for each subcommand, and one place that turns errors into exit codes."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec
import yaml

from dyff.kernel import errors, settings
from dyff.serve import protection

if TYPE_CHECKING:
    from dyff.serve import migrating

EXIT_CODES: dict[type[errors.DyffError], int] = {
    errors.InUse: 3,
    errors.Misconfigured: 2,
    errors.NewerSchema: 2,
    errors.OlderSchema: 2,
}
"""Exit codes by error class; our other errors exit with 1."""


class _Command(click.Group):
    """Turns our errors into one line on standard error and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except errors.DyffError as error:
            click.echo(f"dyff: {error.message}", err=True)
            sys.exit(_code(error, 1))


def _code(error: errors.DyffError, otherwise: int) -> int:
    reasons = (error, getattr(error, "problem", error))  # that of a role that gave up
    return next((code for kind, code in EXIT_CODES.items() for each in reasons if isinstance(each, kind)), otherwise)


_data_dir = click.option("--data-dir", envvar="DYFF_DATA_DIR", show_envvar=True, metavar="DIR", help="Where everything lives.")
_config = click.option("--config", envvar="DYFF_CONFIG_FILE", show_envvar=True, metavar="FILE", help="Settings in YAML (docs/settings.md).")

_NICE = 10

_dry_run = click.option("--dry-run", is_flag=True, help="Only print what would be done.")


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(metadata.version("dyff-platform"), prog_name="dyff")
def main() -> None:
    """Audits of AI systems whose results can be trusted."""
    from dyff.kernel import logs

    os.umask(protection.UMASK)
    logs.to_standard_error()


@main.command()
@click.option("--role", default="all", show_default=True, metavar="ROLES", help="all, or a comma-separated list of roles.")
@_data_dir
@click.option("--host", envvar="DYFF_API__HOST", show_envvar=True, help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, envvar="DYFF_API__PORT", show_envvar=True, help="Port to listen on, 0 for a free one.  [default: 8000]")
@click.option("--log-level", envvar="DYFF_LOG_LEVEL", show_envvar=True, help="debug, info, warning or error.  [default: info]")
@_config
def serve(role: str, data_dir: str | None, host: str | None, port: int | None, log_level: str | None, config: str | None) -> None:
    """Run the server: the HTTP API, the consumers and the reconcile loops, or some of them."""
    from dyff.serve import process

    flags = {"data_dir": data_dir, "api.host": host, "api.port": port, "log_level": log_level}
    sys.exit(process.serve(settings.load(config, flags=flags), role))


@main.command()
@_config
def config(config: str | None) -> None:
    """Print the settings in force, as YAML."""
    click.echo(yaml.safe_dump(msgspec.to_builtins(settings.load(config)), sort_keys=False), nl=False)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--objects", is_flag=True, help="Also read every stored file and compare it with its manifest. Takes as long as reading.")
@_data_dir
@_config
def verify(as_json: bool, objects: bool, data_dir: str | None, config: str | None) -> None:
    """Fold all events again and compare the result with the stored data, byte for byte.

    Prints root hashes of the events, the state topic and the query store, then all differences. With --objects, it also compares every
    stored file with its manifest, and every manifest with what its entity declares. Works while the server runs. Exits
    with 0 if nothing differs, with 1 if something does, and with another code if the comparison was not possible.
    """
    from dyff.serve import proving

    try:
        report = proving.verify(settings.load(config, flags={"data_dir": data_dir}), objects=objects)
    except errors.DyffError as error:  # 1 would mean that something differs
        click.echo(f"dyff: {error.message}", err=True)
        sys.exit(_code(error, 4))
    click.echo(msgspec.json.encode(report).decode() if as_json else "\n".join(proving.lines(report)))
    sys.exit(1 if report.count else 0)


@main.command()
@_data_dir
@_config
def replay(data_dir: str | None, config: str | None) -> None:
    """Rebuild the query store from the log, and switch over when it has caught up.

    Works while the server runs: the old query store is read until then. If it is interrupted, nothing has changed; run it again.
    """
    from dyff.serve import proving

    started = time.monotonic()
    written = proving.replay(settings.load(config, flags={"data_dir": data_dir}))
    click.echo(f"{written} documents in {time.monotonic() - started:.1f} s; the new query store is in use")


@main.command()
@click.argument("target", type=click.Path(path_type=Path), metavar="TARGET")
@_data_dir
@_config
def backup(target: Path, data_dir: str | None, config: str | None) -> None:
    """Back the data directory up into the new directory TARGET.

    Works while the server runs, and shows one moment. TARGET exists only when the backup is complete and was read again; until
    then it has the name TARGET.incomplete. It has the signing key and all data, so keep it safe (docs/backup.md). Exits with 1 if
    something was damaged already.
    """
    from dyff.kernel import logs
    from dyff.serve.backups import taking

    logs.configure("error")
    os.nice(_NICE)  # the server comes first
    started = time.monotonic()
    head = taking.backup(settings.load(config, flags={"data_dir": data_dir}), target, lambda line: click.echo(line, err=True))
    took = f"{time.monotonic() - started:.1f} s"
    click.echo(f"{target} is complete: {head.files} files, {head.size_bytes} bytes, as of {head.made} ({took})")
    for key in head.damaged:
        click.echo(f"damaged in the original, and so in the backup: {key}", err=True)
    sys.exit(1 if head.damaged else 0)


@main.command()
@click.argument("backup", type=click.Path(path_type=Path), metavar="BACKUP")
@click.option("--force", is_flag=True, help="Replace data that are there. They are kept in a folder of the data directory.")
@_data_dir
@_config
def restore(backup: Path, force: bool, data_dir: str | None, config: str | None) -> None:
    """Restore the backup in the directory BACKUP. No server may use the data directory.

    The log continues under a new epoch, all tokens become invalid, and what was running is run again (docs/backup.md).
    """
    from dyff.kernel import logs
    from dyff.serve.backups import restoring

    logs.configure("error")
    loaded = settings.load(config, flags={"data_dir": data_dir})
    done = restoring.restore(loaded, backup, lambda line: click.echo(line, err=True), force=force)
    click.echo(f"{loaded.data_dir} is as of {done.head.made}: {done.documents} entities")
    if done.replaced is not None:
        click.echo(f"what was there before is kept in {done.replaced}; remove it when you do not need it any more")
    click.echo(f"all tokens are invalid ({done.tokens} of them): make new ones with 'dyff token create'")
    if done.held:
        click.echo(f"still suspended or deleted, as in what was replaced: {', '.join(done.held)}")
    if done.pods:
        click.echo(f"{done.pods} pods were running, and run again when the server starts")


@main.group()
def doctor() -> None:
    """Examine this machine."""


@doctor.command("isolation")
@_data_dir
@_config
def doctor_isolation(data_dir: str | None, config: str | None) -> None:
    """Attack a sandbox of each tier, and print what was refused, which tier the server uses, and how to fix what does not hold.

    Works while the server runs. Exits with 1 if programs of accounts would be refused (docs/containment.md).
    """
    from dyff.kernel import logs
    from dyff.serve import isolation

    logs.configure("error")
    for line in isolation.doctor(settings.load(config, flags={"data_dir": data_dir})):
        click.echo(line)


@main.group()
def migrate() -> None:
    """Migrate stored data to this release (docs/migrations.md). `dyff serve` migrates a data directory automatically."""


def _migrate(phase: Literal["pre", "post"], data_dir: str | None, config: str | None, dry_run: bool) -> None:
    from dyff.kernel import logs
    from dyff.serve import migrating

    loaded = settings.load(config, flags={"data_dir": data_dir})
    logs.configure("error")
    lines = 0

    def report(line: migrating.Line) -> None:
        nonlocal lines
        lines += 1
        _print_line(line)

    migrating.migrate(loaded, phase, report, dry_run=dry_run)
    if not lines:
        click.echo("nothing to do")


def _print_line(line: migrating.Line) -> None:
    click.echo(f"{line.store:<18}{line.what:<11}{line.about}")


@migrate.command("pre")
@_dry_run
@_data_dir
@_config
def migrate_pre(dry_run: bool, data_dir: str | None, config: str | None) -> None:
    """Run before the first process of this release starts: add what it needs. The previous release keeps working."""
    _migrate("pre", data_dir, config, dry_run)


@migrate.command("post")
@_dry_run
@_data_dir
@_config
def migrate_post(dry_run: bool, data_dir: str | None, config: str | None) -> None:
    """Run after the last process of the previous release has ended: remove what only that release needed."""
    _migrate("post", data_dir, config, dry_run)


@migrate.command("status")
@_data_dir
@_config
def migrate_status(data_dir: str | None, config: str | None) -> None:
    """Print which steps were done and which are due, one per line. Changes nothing."""
    from dyff.serve import migrating

    migrating.status(settings.load(config, flags={"data_dir": data_dir}), _print_line)


@main.group()
def account() -> None:
    """Manage accounts, which own entities and have quotas. Works while the server runs."""


@account.command("create")
@click.option("--name", required=True, help="A name for people, unique.")
@_data_dir
@_config
def account_create(name: str, data_dir: str | None, config: str | None) -> None:
    """Create an account and print its ID."""
    from dyff.serve import administration

    click.echo(administration.create_account(settings.load(config, flags={"data_dir": data_dir}), name))


@account.command("list")
@_data_dir
@_config
def account_list(data_dir: str | None, config: str | None) -> None:
    """Print all accounts, one JSON object per line."""
    from dyff.serve import administration

    for each in administration.list_accounts(settings.load(config, flags={"data_dir": data_dir})):
        click.echo(json.dumps({"id": each.id, "name": each.name, "status": each.status}))


@account.command("show")
@click.argument("account_id")
@_data_dir
@_config
def account_show(account_id: str, data_dir: str | None, config: str | None) -> None:
    """Print an account as one JSON object: what it keeps, in entities, bytes and tokens, and its limits (quotas in the settings)."""
    from dyff.serve import administration

    click.echo(json.dumps(administration.show_account(settings.load(config, flags={"data_dir": data_dir}), account_id)))


@account.command("suspend")
@click.argument("account_id")
@_data_dir
@_config
def account_suspend(account_id: str, data_dir: str | None, config: str | None) -> None:
    """Refuse all tokens of an account and admit none of its workflows, until it is reactivated."""
    from dyff.serve import administration

    administration.set_suspended(settings.load(config, flags={"data_dir": data_dir}), account_id, suspended=True)


@account.command("reactivate")
@click.argument("account_id")
@_data_dir
@_config
def account_reactivate(account_id: str, data_dir: str | None, config: str | None) -> None:
    """Undo a suspension."""
    from dyff.serve import administration

    administration.set_suspended(settings.load(config, flags={"data_dir": data_dir}), account_id, suspended=False)


@main.group()
def token() -> None:
    """Manage tokens, with which clients act for an account. Works while the server runs."""


@token.command("create")
@click.option("--account", "account_id", required=True, metavar="ID", help="The account that the token acts for.")
@click.option("--role", type=click.Choice(["Admin"]), help="Grant everything on everything.")
@click.option("--grants", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Grant what this YAML file lists.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="Lifetime.")
@_data_dir
@_config
def token_create(account_id: str, role: str | None, grants: str | None, days: int, data_dir: str | None, config: str | None) -> None:
    """Print a new token and nothing else.

    Without --role and --grants it allows everything on entities of the account, and reading and using those of `public`.
    """
    from dyff.serve import administration

    if role and grants:
        raise click.UsageError("give --role or --grants, not both")
    wanted = administration.grants_for(account_id, role, grants)
    loaded = settings.load(config, flags={"data_dir": data_dir})
    click.echo(administration.create_token(loaded, account_id, wanted, timedelta(days=days)))


@token.command("revoke")
@click.option("--account", "account_id", required=True, metavar="ID", help="The account that the token acts for.")
@click.argument("token_id")
@_data_dir
@_config
def token_revoke(account_id: str, token_id: str, data_dir: str | None, config: str | None) -> None:
    """Revoke a token: it is refused from now on. TOKEN_ID is its `jti` claim."""
    from dyff.serve import administration

    administration.revoke_token(settings.load(config, flags={"data_dir": data_dir}), account_id, token_id)


@token.command("invalidate-all")
@_data_dir
@_config
def token_invalidate_all(data_dir: str | None, config: str | None) -> None:
    """Make all tokens of all accounts invalid, with a new signing key. `dyff restore` does that by itself."""
    from dyff.serve import administration

    administration.invalidate_tokens(settings.load(config, flags={"data_dir": data_dir}))


@main.group()
def manifests() -> None:
    """Print the manifests for Dyff on Kubernetes, as YAML for `kubectl apply -f -` (docs/kubernetes.md)."""


_namespace = click.option("--namespace", "-n", default="dyff", show_default=True, metavar="NAME", help="Where Dyff and its workflows live.")
_roles = click.option("--role", default="all", show_default=True, metavar="ROLES", help="all, or a comma-separated list of roles.")


@manifests.command("crds")
def manifests_crds() -> None:
    """Print the definitions of the custom resources."""
    from dyff.entities import definitions

    _print_yaml(definitions.all_())


@manifests.command("rbac")
@_namespace
@_roles
def manifests_rbac(namespace: str, role: str) -> None:
    """Print a service account and its permissions for every role."""
    from dyff.serve import permissions, roles

    _print_yaml(list(permissions.manifests(namespace, {row.name: row.granted for row in roles.parse(role)})))


@manifests.command("deploy")
@_namespace
@_roles
@click.option("--image", default="dyff.local/dyff:latest", show_default=True, help="Dyff's own image (make image).")
@click.option("--config", required=True, type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Settings, for all roles.")
def manifests_deploy(namespace: str, role: str, image: str, config: str) -> None:
    """Print a Deployment for each role.

    Passwords and credentials belong in the Secret dyff-secrets: its keys are variables of every role, and files in
    /etc/dyff/secrets.
    """
    from dyff.serve import deployments, roles

    loaded = settings.load(config, environment={})
    _print_yaml(list(deployments.manifests(namespace, roles.parse(role), image, loaded, Path(config).read_text())))


def _print_yaml(documents: list[dict[str, Any]]) -> None:
    click.echo(yaml.dump_all(documents, Dumper=_Whole, sort_keys=False, width=120, explicit_start=True), nl=False)


class _Whole(yaml.SafeDumper):
    """Writes repeated values in full, without YAML anchors, since kubectl does not resolve them in what it prints back."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
