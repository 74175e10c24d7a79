"""A kubelet that runs nothing: pods become what the test says, as fast as they appear."""

from __future__ import annotations

from typing import Any

import anyio

from dyff.cluster import port
from dyff.kernel import clock, errors

POLL_S = 0.01
RUN, READY, IGNORE = "run", "ready", "ignore"


class Kubelet:
    """`plays`: by component, what its pods do: `RUN`, `READY`, `IGNORE`, an exit code, or a whole status."""

    def __init__(self, cluster: port.Cluster, **plays):
        self.plays = {"infer": READY, "client": 0, "verify": 0, "salvage": 0, "fetch": 0, "run": 0, **plays}
        self._cluster = cluster
        self._shown: dict[Any, Any] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for pod in (await self._cluster.list(port.POD)).items:
                await self._play(pod)
            # real time: this kubelet looks at its pods at a pace, as a real one does
            await anyio.sleep(POLL_S)

    async def _play(self, pod):
        meta = pod["metadata"]
        play = self.plays[meta["labels"]["dyff.io/component"]]
        ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if play == IGNORE or ended or self._shown.get(meta["uid"]) == play:
            return
        try:
            await self._cluster.patch(port.POD, meta["name"], {"metadata": {"uid": meta["uid"]}, "status": _status(pod, play)}, status=True)
        except (errors.NotFound, errors.StaleVersion):
            return
        self._shown[meta["uid"]] = play


def _status(pod, play):
    if isinstance(play, dict):
        return play
    now = clock.iso(clock.SystemClock().now())
    container = {"name": pod["spec"]["containers"][0]["name"], "image": "", "imageID": "", "ready": play == READY, "restartCount": 0}
    ready = [{"type": "Ready", "status": "True" if play == READY else "False", "lastTransitionTime": now}]
    if play in (RUN, READY):
        running = {**container, "state": {"running": {"startedAt": now}}}
        return {"phase": "Running", "conditions": ready, "containerStatuses": [running]}
    ended = {"exitCode": play, "reason": "Error" if play else "Completed", "message": f"the last words of {play}", "finishedAt": now}
    phase = "Failed" if play else "Succeeded"
    return {"phase": phase, "conditions": ready, "containerStatuses": [{**container, "state": {"terminated": ended}}]}
