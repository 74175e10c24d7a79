"""Litestar's handlers and its map of them, made for many paths at once.

What Litestar asks of a handler for each of its paths, and of the map before each new one, is here computed once: start-up, and each test
that builds the application, has two hundred paths and a dozen handlers.
"""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar._kwargs import KwargsModel
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute, WebSocketRoute
from litestar.types.internal_types import PathParameterDefinition, RouteHandlerMapItem


class Handler(HTTPRouteHandler):
    """Of requests to many paths, of one application."""

    _registered: Litestar | None = None

    def on_registration(self, app: Litestar) -> None:
        """Resolve what it inherits; Litestar calls this for each path."""
        if self._registered is not app:
            super().on_registration(app)
            self._registered = app
            self._models: dict[frozenset[str], KwargsModel] = {}

    def create_kwargs_model(self, path_parameters: dict[str, PathParameterDefinition]) -> KwargsModel:
        """What the handler takes, which depends on the names of the parameters in the path only."""
        names = frozenset(path_parameters)
        if names not in self._models:
            self._models[names] = super().create_kwargs_model(path_parameters)
        return self._models[names]


class Handlers(Litestar):
    """An application in which a path belongs to one handler."""

    _mapped = 0

    @property
    def route_handler_method_map(self) -> dict[str, RouteHandlerMapItem]:
        """The handlers by path and method: what was known before, and the routes that were added since."""
        if not self._mapped:
            self._by_path: dict[str, RouteHandlerMapItem] = {}
        for route in self.routes[self._mapped :]:
            by_method: Any = self._by_path.setdefault(route.path, {})
            if isinstance(route, HTTPRoute):
                for handler in route.route_handlers:
                    by_method.update(dict.fromkeys(handler.http_methods, handler))
            else:
                by_method["websocket" if isinstance(route, WebSocketRoute) else "asgi"] = route.route_handler
        self._mapped = len(self.routes)
        return self._by_path
