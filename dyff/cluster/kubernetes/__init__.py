"""The `Cluster` port on a real Kubernetes API server. kubernetes-asyncio is used for its address and the authentication.

Requests and responses are plain JSON: the vendor's models, watches and patches are not used (docs/adr/0011-kubernetes.md).
"""

from dyff.cluster.kubernetes.cluster import KubernetesCluster
from dyff.cluster.kubernetes.connecting import Connection

__all__ = ["Connection", "KubernetesCluster"]
