"""How answers look in a Python console and in a notebook: short, without secrets, and escaped. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

CHARS = 80
"""Longer texts are cut."""
ROWS = 20
"""Longer lists are cut in a notebook."""
ITEMS = 3
"""Longer lists are cut in a console."""
LINE_CHARS = 240
"""Longer lines of logs are cut."""

HIDDEN = "(hidden)"
_EVERYWHERE = "schemaVersion"
"""A field that says nothing to people."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The base of structs that people look at. `hidden`: the fields whose values are secret. `links`: those that are signed URLs."""

    hidden: ClassVar[frozenset[str]] = frozenset()
    links: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in _fields(self))})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, _As(text)) for name, text in _fields(self)]

    def _repr_html_(self) -> str:
        return f"<b>{_escaped(type(self).__name__)}</b>{table(('field', 'value'), _fields(self))}"


def harmless(text: str) -> str:
    """`text` on one line of a terminal, at most `LINE_CHARS` of it. Characters that could move the cursor are escaped."""
    cut = f"{text[:LINE_CHARS]}..." if len(text) > LINE_CHARS else text
    return "".join(each if each.isprintable() or each == "\t" else repr(each)[1:-1] for each in cut)


class _As:
    """Looks like a given text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def brief(value: Any) -> str:
    """Describe a value in at most about a line: a list or an object by its size, a long text by its beginning."""
    if isinstance(value, str):
        more = len(value) - CHARS
        return repr(value) if more <= 0 else f"{value[:CHARS]!r} and {more} more characters"
    if isinstance(value, Mapping):
        return f"{{{_count(len(value), 'key')}}}" if value else "{}"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return f"[{_count(len(value), 'item')}]" if value else "[]"
    if isinstance(value, msgspec.Struct):
        entity_id = getattr(value, "id", None)
        return f"{type(value).__name__}({f'id={brief(entity_id)}' if isinstance(entity_id, str) else '...'})"
    return repr(value)[: 2 * CHARS]


def unsigned(url: str) -> str:
    """Return a URL without what makes a signed one a credential: its query, its fragment, and a user with a password."""
    bare, question, _ = url.partition("#")[0].partition("?")
    scheme, slashes, rest = bare.partition("//")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}" + ("?..." if question else "")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table. Everything in it is escaped."""
    head = "".join(f"<th style='text-align:left'>{_escaped(each)}</th>" for each in columns)
    body = "".join(f"<tr>{''.join(f'<td style={_LEFT!r}>{_escaped(each)}</td>' for each in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_LEFT = "text-align:left"


def _fields(shown: Any) -> Iterator[tuple[str, str]]:
    """The names and texts of the fields that say something: those without a value, and empty ones, are left out."""
    kind = type(shown)
    for name in kind.__struct_fields__:
        value = getattr(shown, name)
        if value is None or value in ("", [], {}) or name == _EVERYWHERE:
            continue
        if name in kind.hidden:
            yield name, HIDDEN
        elif name in kind.links:
            yield name, brief(unsigned(value))
        else:
            yield name, brief(value)


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
