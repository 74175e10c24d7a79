"""A server with nothing but a cluster and a kubelet, for tests that kill it: `serve_pods.py <data directory> <settings.Pods>`."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import msgspec

from dyff.cluster.embedded import EmbeddedCluster
from dyff.cluster.pods import kubelet
from dyff.cluster.pods.isolation import describing
from dyff.kernel import clock, ids, settings


async def serve(root: Path, pods: settings.Pods) -> None:
    time = clock.SystemClock()
    async with EmbeddedCluster.open(root / "cluster.sqlite", clock=time, ids=ids.RandomIds(), pods_dir=root / "pods") as cluster:
        await kubelet.Kubelet(cluster, root / "pods", pods, time, sandboxes=describing.UNCONFINED).run()


if __name__ == "__main__":
    chosen = msgspec.json.decode(sys.argv[2], type=settings.Pods)
    anyio.run(serve, Path(sys.argv[1]), chosen, backend_options={"use_uvloop": True})  # as the real server
