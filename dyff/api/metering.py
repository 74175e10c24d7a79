"""Counts what the API answers and refuses."""

from __future__ import annotations

from http import HTTPMethod

from dyff.api import connections
from dyff.api.route import Route, Socket
from dyff.kernel import errors
from dyff.kernel.telemetry import metrics, names

ABORTED = "aborted"
"""In place of a status."""

_METHODS = frozenset(HTTPMethod)


class Metering:
    """The metrics of requests of one server."""

    def __init__(self, measured: metrics.Metrics) -> None:
        """Every limit is there from the start, so that its first rejection is seen as an increase."""
        self._requests, self._durations = measured.counter(names.HTTP_REQUESTS), measured.histogram(names.HTTP_DURATION)
        self._rejections = measured.counter(names.REJECTIONS)
        for limit in names.LIMITS:
            self._rejections.cell(limit)
        self._known: dict[tuple[int, int], tuple[metrics.Cell, metrics.Distribution]] = {}
        self.watch = connections.Watch(self.refused)

    def answered(self, route: Route, status: int, seconds: float) -> None:
        """Count a request of a route. `seconds`: until its answer, or until a streamed one begins."""
        counted, durations = self._known.get((id(route), status)) or self._learn(route, status)
        counted.value += 1.0
        durations.observe(seconds)

    def aborted(self, route: Route) -> None:
        """Count a request that got no answer, because the server stops."""
        self._requests.add(route.method, route.template, ABORTED)

    def failed(self, error: Exception) -> None:
        """Count a request that a limit refused; any other error is none of that."""
        limit = error.limit if isinstance(error, errors.DyffError) else None
        if limit is not None:
            self._rejections.add(limit)

    def conversed(self, stream: Socket, status: int) -> None:
        """Count a request for a WebSocket."""
        self._requests.add("GET", stream.template, str(status))

    def unrouted(self, method: str, status: int) -> None:
        """Count a request that belongs to no route. Its path and its method are whatever the client sent."""
        self._requests.add(method if method in _METHODS else metrics.OTHER, metrics.OTHER, str(status))

    def refused(self, status: int, limit: str | None) -> None:
        """Count a connection or request that was refused before it was known what it wanted."""
        self._requests.add(metrics.OTHER, metrics.OTHER, str(status))
        if limit is not None:
            self._rejections.add(limit)

    async def read(self) -> list[metrics.Sample]:
        """The open connections."""
        return [metrics.Sample(names.HTTP_CONNECTIONS, len(self.watch.connections))]

    def _learn(self, route: Route, status: int) -> tuple[metrics.Cell, metrics.Distribution]:
        counted = self._requests.cell(route.method, route.template, str(status))
        return self._known.setdefault((id(route), status), (counted, self._durations.child(route.method, route.template)))
