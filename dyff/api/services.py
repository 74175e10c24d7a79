"""The dependencies of the API: ports and settings. Built in one place and passed to `app.build`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dyff.accounts import authority, codes, port
from dyff.bus import port as bus
from dyff.cluster import port as cluster
from dyff.kernel import audit, clock, errors, ids, settings, web_addresses
from dyff.kernel.settings import Quotas
from dyff.kernel.telemetry import traces
from dyff.kernel.telemetry.metrics import Metrics
from dyff.objects import port as objects
from dyff.objects import signing
from dyff.objects.port import SignedURL
from dyff.query import port as query

FULL_RETRY_S = 10.0


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The ports and settings that the API uses.

    `url`: that under which clients reach the API if neither the setting `api.public_url` nor a trusted proxy says another one.
    `signer`: verifies signed URLs that point to this API. None if the object store has URLs of its own; there is then no `/objects`.
    `health`: the state of the roles of this process, `{"status": "ok", "degraded" or another word, "roles": {...}}`, for `/health`
    and `/ready`.
    `listener`: a bound socket to serve on; None to bind one according to the settings.
    `is_full`: whether the disk has room only for what frees some. `quotas`: limits of what an account keeps.
    `probes`: addresses of the probes of other processes, by role.
    `audit`: takes an entry of each request that has to have one; None for none. `tracer`: records spans of requests. `metrics`: of this
    process. `codes`: of links that sign a person in; None: there are no such links.
    """

    bus: bus.Bus
    query: query.QueryReader
    accounts: port.Accounts
    authority: authority.Authority
    objects: objects.Objects
    cluster: cluster.Cluster
    clock: clock.Clock
    ids: ids.Ids
    settings: settings.Api
    url: str = "http://127.0.0.1:8000"
    health: Callable[[], dict[str, Any]] = lambda: {"status": "ok", "roles": {}}
    signer: signing.Signer | None = None
    listener: socket.socket | None = None
    is_full: Callable[[], bool] = lambda: False
    quotas: Quotas = Quotas()
    probes: Mapping[str, tuple[str, ...]] = {}
    audit: audit.Trail | None = None
    tracer: traces.Tracer = traces.SILENT
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    codes: codes.Codes | None = None

    def reachable(self, signed: SignedURL, base: str | None) -> SignedURL:
        """A signed URL under the address that its client used. `base`: what a trusted proxy said about that.

        The setting `api.public_url` comes first, and URLs of another object store stay as they are.
        """
        if base is None or self.signer is None or self.settings.public_url is not None:
            return signed
        return self.signer.moved(signed, base)

    def base(self, base: str | None) -> str:
        """The URL of the API, without a final slash, for addresses that are written into documents. `base`: as in `reachable`."""
        if self.settings.public_url is not None:
            return web_addresses.normal(self.settings.public_url)
        return base if base is not None else self.url

    def require_space(self) -> None:
        """Refuse what adds data while the disk is full.

        Raises:
            DiskFull: nothing was done.
        """
        if self.is_full():
            full = "the server's disk is full: nothing was stored; deletions are possible"
            raise errors.DiskFull(full, retry_after_s=FULL_RETRY_S).of_limit("disk.reserve_bytes")
