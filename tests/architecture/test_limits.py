"""docs/limits.md lists every bound, with the value that the code has."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec

from dyff.kernel import settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "limits.md").read_text()
LISTED = {name: value for value, name in re.findall(r"^\| [^|]+ \| ([^|]+) \| `([\w.]+)` \|$", PAGE, re.MULTILINE)}
IS_BOUND = re.compile(r"max|limit|timeout|quotas|retention|deadline|_bytes|_s$|_days$")
UNITS = {
    "": 1, "bytes": 1, "characters": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "s": 1, "h": 3600, "days": 1, "weeks": 604800,
}  # fmt: skip
"""Retention is a number of days; a constant that is a span of time is compared in seconds."""


def bounds(struct: type[msgspec.Struct] = settings.Settings, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Settings that are bounds, with their defaults."""
    for field in msgspec.structs.fields(struct):
        name = prefix + field.name
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from bounds(field.type, f"{name}.")
        elif IS_BOUND.search(name):
            yield name, field.default


def maxima() -> Iterator[str]:
    """Constants that are called a maximum, by their full name."""
    for path in sorted((ROOT / "dyff").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
            yield from (f"{module}.{each.id}" for each in targets if isinstance(each, ast.Name) and each.id.lstrip("_").startswith("MAX_"))


def number(value: str) -> float:
    """A value of the page as a number."""
    amount, _, unit = value.partition(" ")
    return float(amount.replace(",", "")) * UNITS[unit]


def test_every_setting_that_is_a_bound_is_listed():
    """A setting with a maximum, a limit, a time or a number of bytes in its name is on the page, with its default."""
    known = dict(bounds())
    assert len(known) > 20
    assert sorted(known.keys() - LISTED.keys()) == []
    wrong = {name: default for name, default in known.items() if isinstance(default, int | float) and number(LISTED[name]) != default}
    assert wrong == {}


def test_every_constant_that_is_a_maximum_is_listed():
    """A bound that is a constant is on the page, too."""
    assert sorted(set(maxima()) - LISTED.keys()) == []


def test_a_listed_constant_has_its_value():
    """The page names constants that exist, with the value that they have."""
    listed = {name: value for name, value in LISTED.items() if name.startswith("dyff.")}
    assert len(listed) > 200
    assert {name: value for name, value in listed.items() if number(value) != seconds_or_number(name)} == {}


def seconds_or_number(name: str) -> float:
    """The value of a constant, by its full name; of a span of time in seconds."""
    module, _, constant = name.rpartition(".")
    found = getattr(importlib.import_module(module), constant)
    return found.total_seconds() if isinstance(found, timedelta) else found


def test_no_setting_is_listed_that_does_not_exist():
    """What is not a constant is a setting."""
    known = dict(bounds())
    assert sorted(each for each in LISTED if not each.startswith("dyff.") and each not in known) == []
