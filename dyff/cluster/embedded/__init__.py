"""The cluster on one machine: Kubernetes's resource semantics in SQLite, and the controllers that Dyff needs of it."""

from dyff.cluster.embedded.cluster import EmbeddedCluster
from dyff.cluster.embedded.controllers import LocalControllers

__all__ = ["EmbeddedCluster", "LocalControllers"]
