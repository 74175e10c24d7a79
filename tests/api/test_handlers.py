"""What is computed once for all paths is what Litestar itself would compute for each."""

from __future__ import annotations

from dyff.api.handlers import Handlers


async def test_the_map_of_handlers_is_litestars_own(world):
    """By path and method, with the WebSockets."""
    found = world.app.route_handler_method_map
    assert found == dict(super(Handlers, world.app).route_handler_method_map)
    assert len(found) > 100
    assert any("websocket" in by_method for by_method in found.values())


async def test_what_a_handler_takes_is_litestars_own(world):
    """For each path of each handler, as its routes have them."""
    seen = 0
    for route in world.app.routes:
        for handler in getattr(route, "route_handlers", ()):
            ours, own = (make(handler, route.path_parameters) for make in (type(handler).create_kwargs_model, _litestars_model))
            assert vars_of(ours) == vars_of(own), route.path
            seen += 1
    assert seen > 100


def _litestars_model(handler, path_parameters):
    return super(type(handler), handler).create_kwargs_model(path_parameters)


def vars_of(model):
    return {name: str(getattr(model, name)) for name in model.__slots__ if name.startswith("expected") and "extract" not in name}
