"""Lists of answers: ordinary lists that look short in a console and are a table in a notebook."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from dyff.entities import showing

T = TypeVar("T")

_COLUMNS = ("id", "name", "status", "reason", "account", "creationTime", "created", "expires", "subject")
"""Fields that become columns, if some element has them."""


class Listing(list[T]):
    """A list. Only how it is displayed differs: the first elements, and how many more there are."""

    def __repr__(self) -> str:
        first = ", ".join(map(repr, self[: showing.ITEMS]))
        more = len(self) - showing.ITEMS
        return f"[{first}, and {more} more]" if more > 0 else f"[{first}]"

    def _repr_html_(self) -> str:
        first: list[Any] = self[: showing.ROWS]
        columns = [name for name in _COLUMNS if any(getattr(each, name, None) is not None for each in first)]
        rows = ([_cell(each, name) for name in columns] if columns else [repr(each)] for each in first)
        more = len(self) - len(first)
        return showing.table(columns or ["item"], rows) + (f"<p>and {more} more</p>" if more > 0 else "")


def _cell(value: Any, name: str) -> str:
    found = getattr(value, name, None)
    return "" if found is None else found[: showing.CHARS] if isinstance(found, str) else showing.brief(found)


def read(value: Any, form: type[T]) -> Listing[T]:
    """Convert decoded JSON to a list of `form`."""
    return Listing(msgspec.convert(value, list[form]))  # type: ignore[valid-type]


class Token(str):
    """A token: a string that does not appear where values are displayed, as at the end of a notebook's cell. `print` shows it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<a token; print() shows it>"
