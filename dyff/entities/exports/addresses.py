"""Addresses of the API in exported documents. Pure."""

from __future__ import annotations

from urllib.parse import quote


def entity(base: str, plural: str, entity_id: str) -> str:
    """Of an entity. `base`: the URL of the API, without a final slash."""
    return f"{base}/v0/{plural}/{entity_id}"


def manifest(base: str, plural: str, entity_id: str) -> str:
    """Of the manifest of its data."""
    return f"{entity(base, plural, entity_id)}/manifest"


def file(base: str, plural: str, entity_id: str, path: str) -> str:
    """Of one of its files."""
    return f"{entity(base, plural, entity_id)}/files/{quote(path)}"


def provenance(base: str, plural: str, entity_id: str) -> str:
    """Of the document that says where it comes from."""
    return f"{entity(base, plural, entity_id)}/provenance"
