"""Which setting chooses an engine for a port, and which extra has its client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dyff.kernel import extras, settings

if TYPE_CHECKING:
    from dyff.objects import cloud

CHOICE = {
    "bus": "bus.kafka.bootstrap_servers",
    "query": "query.mongodb.uri",
    "accounts": "accounts.mongodb.uri",
    "objects": "objects.url",
    "cluster": "cluster.kubernetes.kubeconfig",
}
"""The setting that chooses an engine for a port."""

EXTRA = {"bus": "kafka", "query": "mongodb", "accounts": "mongodb", "objects": "cloud", "cluster": "kubernetes"}
"""The extra of `dyff-platform` with the client of a port's engine."""


def choice(port: str, loaded: settings.Settings) -> str:
    """The setting that chose the engine of a port."""
    return "cluster.kubernetes.in_cluster" if port == "cluster" and loaded.cluster.kubernetes.in_cluster else CHOICE[port]


def require(port: str, loaded: settings.Settings) -> None:
    """Refuse an engine whose client is not installed.

    Raises:
        Misconfigured: the message has the command that installs it.
    """
    extras.require(EXTRA[port], choice(port, loaded))


def missing(ports: frozenset[str], loaded: settings.Settings) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """The extras that engines of these ports need and that are not installed: the settings, what is missing, and the command for it."""
    for extra in sorted({EXTRA[port] for port in ports}):
        what = extras.problem(extra)
        if what is not None:
            chosen = tuple(choice(port, loaded) for port in EXTRA if port in ports and EXTRA[port] == extra)
            yield chosen, what, f"install it: {extras.command(extra)}"


def credentials(store: cloud.Connection) -> tuple[str, ...]:
    """The variables of which a process needs one to use this store, the usual one first."""
    from dyff.objects.cloud import connecting

    return connecting.CREDENTIALS[store.service]
