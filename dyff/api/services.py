"""What the API needs from outside: the ports and the settings. Built in one place, handed to `app.build`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import msgspec

from dyff.accounts import authority, port
from dyff.bus import port as bus
from dyff.cluster import port as cluster
from dyff.kernel import clock, ids, settings
from dyff.objects import port as objects
from dyff.objects import signing
from dyff.query import port as query


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The ports behind the API.

    `signer`: checks signed URLs that lead to us; None: the object store has URLs of its own and `/objects` is absent.
    `health`: what the roles of this process do, `{"status": "ok" or another word, "roles": {...}}`, for `/health` and `/ready`.
    `listener`: a bound socket to serve on; None: it is bound as the settings say.
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
    health: Callable[[], dict[str, Any]] = lambda: {"status": "ok", "roles": {}}
    signer: signing.Signer | None = None
    listener: socket.socket | None = None
