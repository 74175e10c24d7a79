"""`dyff case`: describe a safety case, and publish it."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, cast

import click

from dyff.cli import claims, connecting, reporting

if TYPE_CHECKING:
    from dyff.sdk import Client, requests

_id = click.argument("case_id", metavar="ID")
_source = click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True),
    help="A file with the texts, or the folder of the method, which has case.toml.",
)


@click.group()
def case() -> None:
    """Say what a safety case claims, and publish it (dyff docs safety-cases)."""


@case.command()
@_id
@_source
def describe(case_id: str, source: Path | None) -> None:
    """Set the texts of a safety case: the claim, its scope and assumptions, the limits, and who made it. Asks for what is missing."""
    with connecting.connected() as client:
        describe_before(client, case_id, source)
    reporting.line(case_id)


@case.command()
@_id
@_source
@click.option(
    "--access", type=click.Choice(["public", "preview", "private"]), default="public", show_default=True, help="Who can see its page."
)
def publish(case_id: str, source: Path | None, access: Any) -> None:
    """Publish a safety case, and print the address of its page. What the page misses is asked for before."""
    with connecting.connected() as client:
        describe_before(client, case_id, source)
        client.safetycases.publish(case_id, access)
        reporting.line(f"{client.endpoint.removesuffix('/').removesuffix('/v0')}/safetycases/{case_id}")


def describe_before(client: Client, case_id: str, source: Path | None) -> None:
    """Set the texts of a file and those that a person at the terminal gives; say which are still missing."""
    texts = claims.read(source) if source is not None else {}
    present = client.safetycases.documentation(case_id)
    known = {name: getattr(present, name) for name in claims.ASKED} | texts
    if (names := claims.missing(known)) and claims.at_terminal():
        texts |= claims.ask(names)
    if texts:
        client.safetycases.edit_documentation(case_id, cast("requests.ClaimPatch", texts))
    how = f'Write them into a file, as lines such as claim = "...", then: dyff case describe {quote(case_id)} --from FILE'
    claims.notice(claims.missing(known | texts), how)
