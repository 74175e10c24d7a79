"""`dyff open`: the page of an entity, in the browser."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING

import click

from dyff.cli import connecting, naming, reporting

if TYPE_CHECKING:
    from dyff.entities.kind import Kind


@click.command("open")
@naming.argument()
@click.option("--console", is_flag=True, help="Of a safety case, the entity in the console and not its page.")
@click.option("--print", "only_print", is_flag=True, help="Print the address, and open nothing.")
def open_(asked: naming.Asked, console: bool, only_print: bool) -> None:
    """Open the page of a safety case, or any other entity in the console, in the browser, and print its address.

    The console asks for a token: none is in the address.
    """
    with connecting.connected() as client:
        row, entity_id = asked.target(client)
        found = address(client.endpoint, row, entity_id, console=console)
    reporting.line(found)
    if not only_print and not _opened(found):
        reporting.note("there is no browser here; open the address in one")


def address(endpoint: str, row: Kind, entity_id: str, *, console: bool = False) -> str:
    """The address for people. `console`: of a safety case, too, the entity in the console."""
    server = endpoint.removesuffix("/").removesuffix("/v0")
    if row.page is not None and not console:
        return f"{server}/{row.plural}/{entity_id}"
    return f"{server}/#/{row.plural}/{entity_id}"


def _opened(found: str) -> bool:
    try:
        return webbrowser.open(found)
    except (OSError, webbrowser.Error):
        return False
