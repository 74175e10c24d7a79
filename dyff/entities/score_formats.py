"""How the quantity of a score is written: a small, safe part of Python's format strings.

Authors of methods choose the format, and the server applies it. So only the names `quantity` and `unit` are allowed, without attributes
or indices, and the width is bounded: `{quantity:999999999.1f}` would take a gigabyte.
"""

from __future__ import annotations

import re
from string import Formatter

MAX_CHARS = 255
_SPEC = re.compile(r"(.?[<>=^])?[-+ ]?z?#?0?[0-9]{0,2}([,_]?(\.[0-9]{1,2})?[eEfFgG%]?|(\.[0-9]{1,2})?n)")
_ADVICE = "write for example {quantity:.2f} or {quantity:.0f} {unit}"


def problem(text: str) -> str | None:
    """What is wrong with a format; None if nothing is."""
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(text) if name is not None]
    except ValueError as error:
        return f"is not a format string ({error}); {_ADVICE}"
    for name, spec, conversion in fields:
        if name not in ("quantity", "unit"):
            return f"can have the names 'quantity' and 'unit' only, not {name[:64]!r}; {_ADVICE}"
        if conversion or (spec and (name == "unit" or not _SPEC.fullmatch(spec))):
            return f"has a part that scores cannot have ({name}{'!' + conversion if conversion else ''}:{(spec or '')[:64]}); {_ADVICE}"
    if not any(name == "quantity" for name, _, _ in fields):
        return f"does not mention quantity; {_ADVICE}"
    return None


def written(text: str, quantity: float, unit: str | None) -> str:
    """A quantity in the given format, which has no `problem`."""
    return text.format(quantity=quantity, unit=unit)
