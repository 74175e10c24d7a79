"""The commands `dyff config`, `dyff doctor` and `dyff docs`: what is set, whether it can work, and what that means."""

from __future__ import annotations

import sys

import click

from dyff.kernel import errors, settings, settings_printing
from dyff.serve import command_options


@click.command()
@click.option("--check", is_flag=True, help="Only report what cannot work together; exits with 2 if a server would not start.")
@command_options.role
@command_options.data_dir
@command_options.host
@command_options.port
@command_options.log_level
@command_options.config
def config(
    check: bool, role: str, data_dir: str | None, host: str | None, port: int | None, log_level: str | None, config: str | None
) -> None:
    """Print the settings in force, as YAML: each with its origin, and without secrets. Takes the flags of `dyff serve`."""
    flags = {"data_dir": data_dir, "api.host": host, "api.port": port, "log_level": log_level}
    loaded, origins = settings.load_with_origins(config, flags=flags)
    if check:
        _examine(loaded, role)
    else:
        click.echo("\n".join(settings_printing.lines(loaded, origins)))


def _examine(loaded: settings.Settings, role: str) -> None:
    from dyff.serve import combinations, roles

    found = combinations.examine(loaded, roles.parse(role))
    for each in found:
        click.echo(f"{'refused' if each.refused else 'warning'}  {each.text()}")
    if not found:
        click.echo("nothing is wrong with the settings")
    if any(each.refused for each in found):
        sys.exit(2)


@click.group()
def doctor() -> None:
    """Examine the settings and this machine."""


@doctor.command("settings")
@command_options.role
@command_options.data_dir
@command_options.config
def doctor_settings(role: str, data_dir: str | None, config: str | None) -> None:
    """Report settings that cannot work together. The same as `dyff config --check`."""
    _examine(settings.load(config, flags={"data_dir": data_dir}), role)


@doctor.command("isolation")
@command_options.data_dir
@command_options.config
def doctor_isolation(data_dir: str | None, config: str | None) -> None:
    """Attack a sandbox of each tier, and print what was refused, which tier the server uses, and how to fix what does not hold.

    Works while the server runs. Exits with 1 if programs of accounts would be refused ('dyff docs containment').
    """
    from dyff.kernel import logs
    from dyff.serve import isolation

    logs.configure("error")
    for line in isolation.doctor(settings.load(config, flags={"data_dir": data_dir})):
        click.echo(line)


@click.command()
@click.argument("name", required=False)
@click.argument("heading", required=False)
def docs(name: str | None, heading: str | None) -> None:
    """Print a document that messages name, or list all.

    NAME is such as `settings`, `docs/settings.md` or `settings#operatorstorage_secret`. HEADING chooses one section, for example the
    name of a setting.
    """
    from dyff.serve import manuals

    if name is None:
        titles = manuals.titles()
        for each, title in titles.items():
            click.echo(f"{each:<{max(map(len, titles))}}  {title}")
        return
    if heading is not None and "#" in name:
        raise errors.Misconfigured(f"{name} has a heading already; leave out {heading!r}")
    click.echo(manuals.text(f"{name}#{heading}" if heading else name), nl=False)
