"""The cluster on one machine: Kubernetes's resource semantics in SQLite, and the controllers that Dyff needs of it."""

from dyff.cluster.embedded.cluster import EmbeddedCluster

__all__ = ["EmbeddedCluster"]
