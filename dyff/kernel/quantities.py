"""Kubernetes quantities (`500m`, `2Gi`, `1e3`) as exact numbers."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

_FORM = re.compile(r"\+?((?:[0-9]+(?:\.[0-9]*)?)|(?:\.[0-9]+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_EXPONENT_CHARS = len("e+99")
_BINARY = {f"{letter}i": Decimal(2) ** (10 * power) for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10) ** 3, "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9, "T": Decimal(10) ** 12, "P": Decimal(10) ** 15, "E": Decimal(10) ** 18,
}  # fmt: skip


def parse(text: str) -> Decimal:
    """The number that a quantity stands for, in its base unit (cores, bytes, pieces).

    Raises:
        ValueError: it is not a quantity.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 500m, 2 or 4Gi")
    number, suffix = Decimal(match[1]), match[2]
    if not suffix:
        return number
    if suffix[0] in "eE" and len(suffix) > 1:
        # Kubernetes has no quantities beyond 2**63; a number with a million digits could only be an attack.
        if len(suffix) > _EXPONENT_CHARS:
            raise ValueError(f"{text!r} is out of the range of quantities")
        return number * Decimal(10) ** int(suffix[1:])
    return number * (_BINARY.get(suffix) or _DECIMAL[suffix])


def parse_bytes(text: str) -> int:
    """A quantity of memory or storage in whole bytes, rounded up."""
    return int(parse(text).to_integral_value(ROUND_CEILING))  # not by a division, which fails for very large numbers
