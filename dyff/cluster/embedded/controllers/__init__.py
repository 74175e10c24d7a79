"""The Kubernetes controllers that Dyff needs, on the `Cluster` port: Jobs, Deployments, Services, garbage collection."""

from dyff.cluster.embedded.controllers.running import LocalControllers

__all__ = ["LocalControllers"]
