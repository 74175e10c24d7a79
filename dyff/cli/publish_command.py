"""`dyff publish`: who can see an entity."""

from __future__ import annotations

from typing import Literal

import click

from dyff.cli import case_commands, connecting, kinds, naming, open_command, reporting

_Access = Literal["public", "preview", "private"]
_SAYS: dict[str, str] = {
    "public": "everybody can see it, without a token, until it is deleted",
    "preview": "those who have access see it as it would be published",
    "private": "those who have access see it, and nobody else",
}


@click.command()
@naming.argument()
@click.option("--preview", "access", flag_value="preview", help="Only those who already have access see it as published.")
@click.option("--unpublish", "access", flag_value="private", help="Undo it: only those who already have access see it.")
@click.option("--public", "access", flag_value="public", default=True, help="Everybody sees it. This is the default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def publish(asked: naming.Asked, access: _Access, as_json: bool) -> None:
    """Publish an entity, and print the address of its page. Of a safety case, asks for the texts that its page misses."""
    with connecting.connected() as client:
        row, entity_id = asked.target(client)
        if row.page is not None and access != "private":
            case_commands.describe_before(client, entity_id, None)
        kinds.group(client, row).publish(entity_id, access)
        address = open_command.address(client.endpoint, row, entity_id)
    if as_json:
        reporting.document({"kind": row.name, "id": entity_id, "access": access, "page": address})
        return
    reporting.line(address)
    reporting.note(f"{access}: {_SAYS[access]}")
