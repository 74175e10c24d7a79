"""Who sees what of a safety case and what it rests on. Pure."""

from __future__ import annotations

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.entities import codecs, labels, registry, statuses


def published(entity: codecs.Json) -> str:
    """Who can see an entity: `public`, `internal` or `private`."""
    value = (entity.get("labels") or {}).get(labels.ACCESS)
    return value if value in labels.ACCESS_VALUES else "private"


def may_read(principal: Principal | None, kind: str, entity: codecs.Json) -> bool:
    """Whether a reader may see an entity: everybody may see what is published, until it is deleted. `principal`: None for everybody."""
    if published(entity) == labels.PUBLIC and entity.get("status") != statuses.DELETED:
        return True
    if principal is None:
        return False
    plural = registry.BY_KIND[kind].plural
    return grants.allows(principal.grants, plural, "get", account=entity["account"], entity=entity["id"])
