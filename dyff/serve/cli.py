"""The server's part of the command `dyff`, a thin layer: one function for each subcommand, and one place that turns errors into exit codes.

`dyff.cli.main` is the entry point, and has the commands that use a server.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import nullcontext, suppress
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import click
import msgspec

from dyff.cli import commands, server_commands
from dyff.kernel import descriptors, errors, init, settings
from dyff.serve import cli_accounts, cli_audit_log, cli_backup, cli_manifests, cli_settings, command_options, protection

if TYPE_CHECKING:
    from dyff.serve import migrating

EXIT_CODES: dict[type[errors.DyffError], int] = {
    errors.InUse: 3,
    errors.Misconfigured: 2,
    errors.NewerSchema: 2,
    errors.OlderSchema: 2,
}
"""Exit codes by error class; our other errors exit with 1."""

EXIT_INTERRUPTED = 130
"""Of a command that Ctrl-C has ended, as shells count it."""


UNWRITTEN = 74
"""The exit code if what a command prints cannot be written. It is that of `sysexits.h`; 1 has a meaning for some commands."""


class _Command(click.Group):
    """Turns our errors into one line on standard error and an exit code. Of a server, that line is one of its log."""

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            return super().main(*args, **options)
        except OSError as error:
            if not _is_of_output(error):
                raise
            _drop_output()
            with suppress(OSError):
                click.echo(f"dyff: the output cannot be written: {error.strerror}", err=True)
            sys.exit(UNWRITTEN)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except errors.DyffError as error:
            self._end(ctx, error.message, _code(error, 1))
        except click.ClickException as error:
            if not self._is_logged(ctx):
                raise
            self._end(ctx, error.format_message(), error.exit_code)
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)  # click's own code, 1, is an answer of some commands
        except UnicodeEncodeError as error:
            if error.reason != "surrogates not allowed":
                raise
            # What the shell passes as an argument can have any bytes.
            reason = f"{error.object[:200]!a} is not UTF-8, which it has to be here; use another name or path"
            self._end(ctx, reason, EXIT_CODES[errors.Misconfigured])

    def _end(self, ctx: click.Context, reason: str, code: int) -> NoReturn:
        if self._is_logged(ctx):
            from dyff.serve import log_output

            log_output.report_end(reason, code)
        else:
            with suppress(OSError):  # there may be no reader
                click.echo(f"dyff: {reason}", err=True)
        sys.exit(code)

    def _is_logged(self, ctx: click.Context) -> bool:
        if ctx.invoked_subcommand != "serve":
            return False
        from dyff.serve import log_output

        return log_output.is_json()


def _is_of_output(error: OSError) -> bool:
    """Whether it happened when something was printed."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is click.echo.__code__


def _drop_output() -> None:
    """What is left in standard output's buffer goes nowhere: at the end, it would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _code(error: errors.DyffError, otherwise: int) -> int:
    reasons = (error, getattr(error, "problem", error))  # that of a role that gave up
    return next((code for kind, code in EXIT_CODES.items() for each in reasons if isinstance(each, kind)), otherwise)


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(metadata.version("dyff-platform"), prog_name="dyff")
def main() -> None:
    """Audits of AI systems whose results can be trusted."""
    if click.get_current_context().invoked_subcommand not in server_commands.NAMES:
        return  # it uses a server, and does so in the same way where only the client is installed
    from dyff.kernel import logs

    descriptors.fill_standard()
    init.become_parent_if_first()
    os.umask(protection.UMASK)
    if click.get_current_context().invoked_subcommand == "serve" and logs.wants_json("auto", sys.stderr):
        logs.configure(form="json")  # until the settings are known
        logs.install_hooks()
    else:
        logs.to_standard_error()


@main.command()
@command_options.role
@command_options.data_dir
@command_options.host
@command_options.port
@command_options.log_level
@command_options.config
def serve(role: str, data_dir: str | None, host: str | None, port: int | None, log_level: str | None, config: str | None) -> None:
    """Run the server: the HTTP API, the consumers and the reconcile loops, or some of them."""
    from dyff.serve import process

    flags = {"data_dir": data_dir, "api.host": host, "api.port": port, "log_level": log_level}
    sys.exit(process.serve(settings.load(config, flags=flags), role))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--objects", is_flag=True, help="Also read every stored file and compare it with its manifest. Takes as long as reading.")
@command_options.data_dir
@command_options.config
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
@command_options.data_dir
@command_options.config
def replay(data_dir: str | None, config: str | None) -> None:
    """Rebuild the query store from the log, and switch over when it has caught up.

    Works while the server runs: the old query store is read until then. If it is interrupted, nothing has changed; run it again.
    """
    from dyff.serve import proving
    from dyff.serve.audit import output

    started, loaded = time.monotonic(), settings.load(config, flags={"data_dir": data_dir})
    with output.recorded(loaded, "replay"):
        written = proving.replay(loaded)
    click.echo(f"{written} documents in {time.monotonic() - started:.1f} s; the new query store is in use")


@main.group()
def migrate() -> None:
    """Migrate stored data to this release ('dyff docs migrations'). `dyff serve` migrates a data directory automatically."""


def _migrate(phase: Literal["pre", "post"], data_dir: str | None, config: str | None, dry_run: bool) -> None:
    from dyff.kernel import logs
    from dyff.serve import migrating
    from dyff.serve.audit import output

    loaded = settings.load(config, flags={"data_dir": data_dir})
    logs.configure("error")
    lines = 0

    def report(line: migrating.Line) -> None:
        nonlocal lines
        lines += 1
        _print_line(line)

    with nullcontext() if dry_run else output.recorded(loaded, f"migrate.{phase}"):
        migrating.migrate(loaded, phase, report, dry_run=dry_run)
    if not lines:
        click.echo("nothing to do")


def _print_line(line: migrating.Line) -> None:
    click.echo(f"{line.store:<18}{line.what:<11}{line.about}")


@migrate.command("pre")
@command_options.dry_run
@command_options.data_dir
@command_options.config
def migrate_pre(dry_run: bool, data_dir: str | None, config: str | None) -> None:
    """Run before the first process of this release starts: add what it needs. The previous release keeps working."""
    _migrate("pre", data_dir, config, dry_run)


@migrate.command("post")
@command_options.dry_run
@command_options.data_dir
@command_options.config
def migrate_post(dry_run: bool, data_dir: str | None, config: str | None) -> None:
    """Run after the last process of the previous release has ended: remove what only that release needed."""
    _migrate("post", data_dir, config, dry_run)


@migrate.command("status")
@command_options.data_dir
@command_options.config
def migrate_status(data_dir: str | None, config: str | None) -> None:
    """Print which steps were done and which are due, one per line. Changes nothing."""
    from dyff.serve import migrating

    migrating.status(settings.load(config, flags={"data_dir": data_dir}), _print_line)


for _command in (
    cli_settings.config,
    cli_settings.doctor,
    cli_settings.docs,
    cli_accounts.accounts,
    cli_accounts.tokens,
    cli_audit_log.audit_log,
    cli_backup.backup,
    cli_backup.restore,
    cli_manifests.manifests,
    *commands.ALL,
):
    main.add_command(_command)
