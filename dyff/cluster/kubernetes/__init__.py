"""The cluster that a real Kubernetes API server has, by kubernetes-asyncio, which knows where it is and who we are to it.

What is sent and understood is plain JSON: the vendor's models, watches and patches are not used (docs/adr/0011-kubernetes.md).
"""

from dyff.cluster.kubernetes.cluster import KubernetesCluster
from dyff.cluster.kubernetes.connecting import Connection

__all__ = ["Connection", "KubernetesCluster"]
