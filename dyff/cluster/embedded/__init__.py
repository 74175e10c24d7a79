"""The cluster on one machine: Kubernetes' resource semantics on SQLite, and the controllers that Dyff needs."""

from dyff.cluster.embedded.cluster import EmbeddedCluster
from dyff.cluster.embedded.controllers import LocalControllers

__all__ = ["EmbeddedCluster", "LocalControllers"]
