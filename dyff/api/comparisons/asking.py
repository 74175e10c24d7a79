"""Reads which systems a request is about. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from dyff.entities import comparisons
from dyff.kernel import errors


def several(given: str | None, name: str) -> list[str]:
    """The IDs in the parameter `name`, with commas between them.

    Raises:
        InvalidFields: it is missing, or they are too few, too many, or not different.
    """
    return checked([each.strip() for each in (given or "").split(",") if each.strip()], name)


def checked(found: list[str], name: str) -> list[str]:
    """The same, after checking that they are different, and not too many.

    Raises:
        InvalidFields: they are not.
    """
    if not 2 <= len(found) <= comparisons.MAX_SYSTEMS:
        raise invalid(name, f"must be from 2 to {comparisons.MAX_SYSTEMS} IDs; these are {len(found)}")
    if len(set(found)) < len(found):
        raise invalid(name, "must be different IDs: one is there twice")
    return found


def places(given: str, asked: Sequence[str]) -> tuple[int, int]:
    """The places of the two IDs of the parameter `between` among all that were asked for.

    Raises:
        InvalidFields: they are not two, or one is not among them.
    """
    found = [each.strip() for each in given.split(",")]
    if len(found) != 2 or found[0] == found[1] or any(each not in asked for each in found):
        raise invalid("between", "must be two different IDs of those in ids, with a comma between them")
    return asked.index(found[0]), asked.index(found[1])


def invalid(name: str, text: str) -> errors.InvalidFields:
    """What is wrong with a parameter."""
    return errors.InvalidFields(errors.Problem(("query", name), text))
