"""Changes of valid bodies: where a body can be changed, and what can be put there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

Place = tuple[str | int, ...]


def places(body: Any, path: Place = ()) -> list[Place]:
    """The paths to everything inside `body`."""
    inside = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [place for key, each in inside for place in ((*path, key), *places(each, (*path, key)))]


def values(words: Sequence[str]) -> st.SearchStrategy[Any]:
    """JSON values of every type, and `words`, which mean something somewhere."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 2**33),
        # JSON schemas call 1.0 an integer, and we do not.
        st.floats(allow_nan=False, allow_infinity=False).filter(lambda drawn: not drawn.is_integer()),
        st.text(max_size=8),
        st.just([]),
        st.just({}),
        st.sampled_from(words),
    )
