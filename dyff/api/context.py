"""Objects that the routes share, built once for each server from the services."""

from __future__ import annotations

import msgspec

from dyff.api.arrow import Schemas
from dyff.api.changes.tail import Tail
from dyff.api.documents import Documents
from dyff.api.large import Large
from dyff.api.manifest_digests import ManifestDigests
from dyff.api.positions import Positions
from dyff.api.proxy import Proxy
from dyff.api.publishing import Publishing
from dyff.api.quotas import Quotas
from dyff.api.references import References
from dyff.api.samples.asking import Asking
from dyff.api.services import Services
from dyff.api.tags import Tags
from dyff.api.threads import Threads
from dyff.api.watching import Watching


class Context(msgspec.Struct, frozen=True):
    """The services and the objects that are built on them."""

    services: Services
    positions: Positions
    documents: Documents
    references: References
    tags: Tags
    publishing: Publishing
    quotas: Quotas
    proxy: Proxy
    schemas: Schemas
    threads: Threads
    large: Large
    digests: ManifestDigests
    samples: Asking
    changes: Tail
    watching: Watching


def build(services: Services) -> Context:
    """Build the context of one server."""
    positions = Positions(services)
    documents = Documents(services, positions)
    quotas = Quotas(services)
    return Context(
        services=services,
        positions=positions,
        documents=documents,
        references=References(documents),
        tags=Tags(documents, positions),
        publishing=Publishing(services, documents, positions, quotas),
        quotas=quotas,
        proxy=Proxy(),
        schemas=Schemas(),
        threads=Threads(),
        large=Large(services),
        digests=ManifestDigests(services.objects),
        samples=Asking(services.objects),
        changes=Tail(services.bus),
        watching=Watching(services),
    )
