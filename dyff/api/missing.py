"""What a path that is not a route was probably meant to be, for the answer 404. Pure.

Most of these are from clients whose endpoint lacks the `/v0`, or has it twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dyff.kernel import suggestions

BASE = "v0"
MAX_PATH_CHARS = 500
"""Longer paths get no suggestion."""

MAX_SEGMENTS = 12
"""Paths with more segments get none, either."""

_DOCS = "/v0/docs lists all"


def detail(path: str, known: Sequence[str]) -> str:
    """The sentence for the answer. `path`: as requested, decoded. `known`: the paths of all routes, such as `/v0/datasets/{id:str}`."""
    segments = [each for each in path.split("/") if each]
    if len(path) > MAX_PATH_CHARS or len(segments) > MAX_SEGMENTS:
        return f"there is no such route; {_DOCS}"
    routes = [_split(each) for each in known]
    right = next((each for each in _corrected(segments) if each != segments and _is_route(each, routes)), None)
    if right is not None:
        meant = "/" + "/".join(right)
        if BASE not in segments[:1] or right[0] not in segments:
            return f"there is no such route: the API is under /{BASE}, so this is {meant}. The endpoint of a client ends in /{BASE}"
        return f"there is no such route; did you mean {meant}? The endpoint of a client ends in /{BASE}, once"
    near = _nearest(segments, routes)
    if near is not None:
        return f"there is no such route; did you mean {near}? {_DOCS}"
    return f"there is no such route; {_DOCS}" if segments[:1] == [BASE] else f"there is no such route: the API is under /{BASE}; {_DOCS}"


def _split(path: str) -> list[str]:
    return path.strip("/").split("/")


def _corrected(segments: list[str]) -> Iterator[list[str]]:
    """The path with `v0` before what is left after some of its first segments are removed, from none to all but one."""
    for first in range(max(len(segments), 1)):
        rest = segments[first:]
        yield [BASE, *rest]
        yield [BASE, *(each.lower() for each in rest[:1]), *rest[1:]]


def _is_route(segments: list[str], routes: list[list[str]]) -> bool:
    return any(
        (len(segments) == len(route) or (len(segments) > len(route) and route[-1].endswith(":path}"))) and _fits(segments, route)
        for route in routes
    )


def _fits(segments: list[str], route: list[str]) -> bool:
    return all(known == given or known.startswith("{") for given, known in zip(segments, route, strict=False))


def _nearest(segments: list[str], routes: list[list[str]]) -> str | None:
    """The path with its first unknown segment replaced by the most similar one there; None if none is similar."""
    if segments[:1] != [BASE]:
        segments = [BASE, *segments]
    for place in range(1, len(segments)):
        fitting = [route for route in routes if len(route) > place and _fits(segments[:place], route)]
        there = {route[place] for route in fitting}
        if segments[place] in there or any(each.startswith("{") for each in there if segments[place] not in there):
            continue
        near = suggestions.nearest(segments[place].lower(), sorted(each for each in there if not each.startswith("{")))
        return None if near is None else "/" + "/".join([*segments[:place], near, *segments[place + 1 :]])
    return None
