"""Reads the local cluster's file from another process, whether or not a server has it open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dyff.cluster import port
from dyff.cluster.embedded import codec, kinds, store
from dyff.entities import registry
from dyff.kernel import sqlite

_ID = "dyff.io/id"


def runs(path: Path) -> dict[str, str]:
    """The kinds of the custom resources, by the ID of their entity. Empty if the file does not exist.

    Raises:
        Damaged: the file is damaged.
        Unavailable: it cannot be read.
    """
    if not path.exists():
        return {}
    found: dict[str, str] = {}
    with sqlite.translated("the cluster database", store.REMEDY):
        connection = sqlite.connect_to_read(path)
        try:
            for each in registry.RESOURCES:
                key = kinds.resource(port.custom(each)).key
                rows: Any = connection.execute("SELECT body FROM objects WHERE kind = ?", (key,))
                for (body,) in rows:
                    entity_id = (codec.decode(body)["metadata"].get("labels") or {}).get(_ID)
                    if entity_id:
                        found[entity_id] = each.kind
        finally:
            connection.close()
    return found
