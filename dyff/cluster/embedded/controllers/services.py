"""Services: each keeps its loopback port for its lifetime, and new connections to it go to the ready Pods."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.abc
import structlog

from dyff.cluster import port
from dyff.cluster.embedded import ports
from dyff.cluster.embedded.controllers import informers, podstates, proxy
from dyff.kernel import errors, keyed
from dyff.kernel.telemetry import log_fields

log = structlog.get_logger()


class Services:
    """Runs one proxy per Service."""

    def __init__(self, known: informers.Informers, pods_dir: Path) -> None:
        """`known` must watch Services and Pods. `pods_dir`: below it are the doors of Pods."""
        self._known, self._pods_dir = known, pods_dir
        self._proxies: dict[str, proxy.Proxy] = {}
        self._workers = keyed.Workers(self._reconcile, failed=_failed, ceiling_s=5.0)
        known.listen(port.SERVICE, lambda service: self._workers.add(service["metadata"]["name"]))
        known.listen(port.POD, self._pod_changed)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; then all ports are released."""
        try:
            await self._workers.run(task_status=task_status)
        finally:
            for each in self._proxies.values():
                each.close()
            self._proxies.clear()

    def _pod_changed(self, pod: port.Object) -> None:
        # An extra reconciliation is cheap. A Pod that lost its labels must be noticed too, so Services that route to it are added.
        at = ports.of(pod)
        for service in self._known.all(port.SERVICE):
            name = service["metadata"]["name"]
            leads = name in self._proxies and self._proxies[name].leads_to(at)
            if leads or selects(service, pod):
                self._workers.add(name)

    async def _reconcile(self, name: str) -> float | None:
        service = self._known.get(port.SERVICE, name)
        log_fields.begin(log_fields.of_object(service))
        number = None if service is None else ports.of(service)
        current = self._proxies.get(name)
        if current is not None and current.port != number:
            current.close()
            del self._proxies[name]
        if service is None or number is None:
            return None
        current = self._proxies.setdefault(name, proxy.Proxy(number))
        current.hold()
        pods = targets(service, self._known.all(port.POD))
        await current.lead_to([at for at, _ in pods], {at: str(self._pods_dir / door) for at, door in pods if door is not None})
        return None


def selects(service: port.Object, pod: port.Object) -> bool:
    """Whether the Service selects this Pod. One without a selector selects none."""
    selector = service["spec"].get("selector")
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


def targets(service: port.Object, pods: informers.Objects) -> list[tuple[int, str | None]]:
    """The ports of the Service's ready Pods, with their doors, in the order of their names."""
    ready = [each for each in pods if selects(service, each) and podstates.is_ready(each)]
    found = [(ports.of(each), ports.door(each)) for each in sorted(ready, key=lambda pod: str(pod["metadata"]["name"]))]
    return [(at, door) for at, door in found if at is not None]


def _failed(name: str, error: Exception, delay_s: float) -> None:
    log.warning("service-not-served", name=name, again_in_s=round(delay_s, 2), **errors.details(error))
