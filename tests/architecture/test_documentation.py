from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from dyff.kernel import settings

ROOT = Path(__file__).parents[2]


def setting_names(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from setting_names(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def test_every_setting_has_a_heading():
    """docs/settings.md has one heading for each setting, and none for a setting that is not there."""
    headings = [
        line.removeprefix("### ").strip("`") for line in (ROOT / "docs/settings.md").read_text().splitlines() if line.startswith("### ")
    ]
    assert sorted(headings) == sorted(setting_names(settings.Settings))
