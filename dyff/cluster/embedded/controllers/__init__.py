"""What Kubernetes's controllers do, as far as Dyff needs it, on the `Cluster` port: Jobs, Deployments, Services, garbage."""

from dyff.cluster.embedded.controllers.running import LocalControllers

__all__ = ["LocalControllers"]
