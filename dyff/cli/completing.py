"""What a shell offers for an ID: the newest entities of a kind, if the server answers at once. It never fails, and says nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from dyff.cli import connecting, kinds, reporting, tables

if TYPE_CHECKING:
    from dyff.entities.kind import Kind

NEWEST = 30
PATIENCE_S = 1.0
_HELP_CHARS = 40


def ids(row: Kind, incomplete: str) -> list[CompletionItem]:
    """IDs that begin like this. They come from the server in use, with the token in use, or there are none."""
    with suppress(Exception):  # whatever it is, the person is in the middle of a line
        found = connecting.source()
        if found.token is None:
            return []
        with connecting.client(found.endpoint, found.token, timeout=PATIENCE_S, retries=0) as client:
            entities = kinds.group(client, row).query(order_by="creationTime", order="descending", limit=NEWEST)
        # Names are those of others: on one line, and harmless.
        return [
            CompletionItem(each.id, help=tables.cut(reporting.harmless(said(each)).replace("\n", " ").replace("\t", " "), _HELP_CHARS))
            for each in entities
            if each.id.startswith(incomplete.lower())
        ]
    return []


def said(entity: object) -> str:
    """The status and the name of an entity."""
    return " ".join(str(each) for each in (getattr(entity, "status", None), getattr(entity, "name", None)) if each)
