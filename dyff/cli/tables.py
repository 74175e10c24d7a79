"""Tables and lists of fields for people: how wide texts are on a terminal, and what is cut to fit. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence

GAP = "  "
DOTS = "..."
MIN_WIDTH = 12
"""A column is not cut to fewer characters than this."""

_WIDE = frozenset("WF")
_WHOLE = re.compile(r"[0-9a-f]{32}|\d{4}-\d\d-\d\dT[\d:.]+Z")
"""An ID or a time: half of it is of no use."""

Paint = Callable[[str, str, str], str]
"""Colours a cell: the name of its column, its text, and the same padded; returns what is printed."""


def width(text: str) -> int:
    """How many columns of a terminal a text takes: two for each wide character, none for one that combines with the one before."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in _WIDE else 1 for each in text)


def cut(text: str, most: int) -> str:
    """A text in at most `most` columns. One that is longer ends in dots."""
    if width(text) <= most:
        return text
    kept, left = [], most - len(DOTS)
    for each in text:
        left -= width(each)
        if left < 0:
            break
        kept.append(each)
    return "".join(kept).rstrip() + DOTS


def padded(text: str, to: int) -> str:
    """A text with spaces up to `to` columns."""
    return text + " " * (to - width(text))


def lines(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    most: int | None = None,
    optional: Collection[str] = (),
    paint: Paint = lambda _name, _text, whole: whole,
) -> list[str]:
    """The lines of a table. Columns without a value are left out.

    `heads`: the names of the columns. `most`: the width of the terminal; then the columns of `optional` are left out if they do not fit,
    and the widest others are cut, but never an ID or a time. None for no limit.
    """
    used = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    wide = {at: max(width(heads[at]), *(width(row[at]) for row in rows)) for at in used}
    if most is not None:
        used = _fitting(heads, rows, used, wide, most, optional)
    shown = [[heads[at].upper() for at in used], *([cut(row[at], wide[at]) for at in used] for row in rows)]
    painted = [
        [paint(heads[at], text, padded(text, wide[at])) if number else padded(text, wide[at]) for at, text in zip(used, cells, strict=True)]
        for number, cells in enumerate(shown)
    ]
    return [GAP.join(cells).rstrip() for cells in painted]


def _fitting(
    heads: Sequence[str], rows: Sequence[Sequence[str]], used: list[int], wide: dict[int, int], most: int, optional: Collection[str]
) -> list[int]:
    """The columns that are shown; their widths are reduced in `wide`."""

    def over() -> int:
        return sum(wide[at] for at in used) + len(GAP) * (len(used) - 1) - most

    for name in optional:
        if over() > 0:
            used = [at for at in used if heads[at] != name]
    can_be_cut = [at for at in used if not any(_WHOLE.fullmatch(row[at]) for row in rows)]
    while over() > 0 and (wider := [at for at in can_be_cut if wide[at] > max(MIN_WIDTH, width(heads[at]))]):
        wide[max(wider, key=wide.__getitem__)] -= 1
    return used


def fields(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names with their values, one on each line; further lines of a value are below its first."""
    longest = max((width(name) for name, _ in pairs), default=0)
    margin = " " * (longest + len(GAP))
    return [f"{padded(name, longest)}{GAP}{text.replace(chr(10), chr(10) + margin)}" for name, text in pairs]


_AGES = ((86_400, "d"), (3_600, "h"), (60, "m"))


def age(seconds: float) -> str:
    """A time ago in a few letters: `5s`, `3m`, `2h`, `40d`. Clocks that differ a little make no negative ones."""
    for unit, name in _AGES:
        if seconds >= unit:
            return f"{int(seconds // unit)}{name}"
    return f"{max(0, int(seconds))}s"
