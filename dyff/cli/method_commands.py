"""`dyff method`: a new method, its test on this machine, its upload."""

from __future__ import annotations

import importlib
from pathlib import Path
from shlex import quote
from types import ModuleType

import click

from dyff.cli import claims, connecting, reporting

_TESTING = "dyff.serve.methods.testing"
"""What runs a method on this machine: part of the server."""
_NEEDS = "needs the runner and the sandbox of the server, which are in another package: pip install dyff-platform (on Linux)"
_folder = click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=".")
_environment = click.option(
    "--environment", metavar="PATH", help="The Python interpreter of the environment of analyses. By default that of 'make analysis-env'."
)
_no_isolation = click.option("--no-isolation", is_flag=True, help="Run the code without a sandbox: it can do all that you can.")


@click.group()
def method() -> None:
    """Write a method: make its folder, test it on this machine, upload it."""


@method.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["function", "notebook"]), default="function", show_default=True, help="What runs.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="The new folder. By default NAME.")
def new(name: str, kind: str, folder: Path | None) -> None:
    """Make the folder of a method with an example, its test and a README."""
    from dyff.cli.methods import template

    made = folder or Path(name)
    with reporting.translated():
        template.write(name, kind, made)
    for path in sorted(each for each in made.rglob("*") if each.is_file()):
        reporting.line(str(path))


@method.command()
@_folder
@click.option("--input", "inputs", multiple=True, metavar="KEYWORD=FOLDER", help="A folder of downloaded data, for each input.")
@click.option("--argument", "arguments", multiple=True, metavar="KEYWORD=VALUE", help="The value of a parameter.")
@click.option("--output", type=click.Path(path_type=Path), help="The folder for the output. By default DIR/output.")
@_environment
@_no_isolation
def test(
    folder: Path, inputs: tuple[str, ...], arguments: tuple[str, ...], output: Path | None, environment: str | None, no_isolation: bool
) -> None:
    """Run the method of the folder DIR on downloaded data, in the same isolation as on the server, and check its output."""
    testing = _testing("'dyff method test'")
    with reporting.translated():
        lines = testing.test(folder, _pairs(inputs, "--input"), _pairs(arguments, "--argument"), output, environment, not no_isolation)
        for line in lines:
            reporting.line(reporting.harmless(line))


@method.command()
@_folder
@click.option("--account", help="The account that owns it. By default that of the token.")
@_environment
@_no_isolation
def push(folder: Path, account: str | None, environment: str | None, no_isolation: bool) -> None:
    """Upload the code of the folder DIR as a module, and create the method. A repetition creates nothing twice."""
    from dyff.cli.methods import folder as folders
    from dyff.cli.methods import pushing

    with reporting.translated():
        made = folders.read(folder)
        if made.derived:
            testing = _testing("pushing a method that its decorator describes")
            made = made.completed(testing.described(made, environment, not no_isolation))
    with connecting.connected() as client:
        pushing.push(client, made, account)
    if made.request["output"]["kind"] == "SafetyCase":
        _claim(folder)


def _claim(folder: Path) -> None:
    """Ask for the texts that the cases of this method need, and keep them in its folder; without a terminal say which are missing."""
    with reporting.translated():
        names = claims.missing(claims.read(folder))
        if names and claims.at_terminal():
            given = claims.ask(names)
            claims.add(folder / claims.FILE, given)
            names = [name for name in names if name not in given]
        claims.notice(
            names, f"Write them into {folder / claims.FILE}; when a case is made: dyff case publish ID --from {quote(str(folder))}"
        )


def _testing(what: str) -> ModuleType:
    try:
        return importlib.import_module(_TESTING)
    except ImportError:
        reporting.stop(f"{what} {_NEEDS}", reporting.WRONG)


def _pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        keyword, equals, value = text.partition("=")
        if not equals or not keyword:
            raise click.BadParameter(f"{text!r} has no '=': give KEYWORD and a value", param_hint=option)
        if keyword in found:
            raise click.BadParameter(f"{keyword!r} is there twice", param_hint=option)
        found[keyword] = value
    return found
