"""What an account keeps, in the form in which people see it."""

from __future__ import annotations

from dyff.entities import codecs
from dyff.kernel import settings
from dyff.query import port


def published(used: port.Usage, tokens: int, limits: settings.Quotas) -> codecs.Json:
    """The published AccountUsage. `tokens`: how many the account has."""
    pairs = {
        "entities": (used.entities, limits.entities),
        "documentBytes": (used.document_bytes, limits.document_bytes),
        "objectBytes": (used.object_bytes, limits.object_bytes),
        "tokens": (tokens, limits.tokens),
    }
    return {name: {"used": now, "limit": limit} for name, (now, limit) in pairs.items()}
