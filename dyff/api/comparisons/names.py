"""What the systems of a comparison are called, so that readers can tell them apart. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dyff.api.comparisons.terms import Source

_DIGITS = 8
"""Of an ID: enough to tell a few apart."""


def distinct(sources: Sequence[Source], names: Sequence[str | None]) -> list[str]:
    """A name for each source, all different. `names`: those of the systems; None where the reader may not see it."""
    found = [_plain(source, name) for source, name in zip(sources, names, strict=True)]
    for ids in ([each.service or each.key for each in sources], [each.key for each in sources]):
        counts = Counter(found)
        found = [name if counts[name] == 1 else f"{name} ({one[:_DIGITS]})" for name, one in zip(found, ids, strict=True)]
    return found


def _plain(source: Source, name: str | None) -> str:
    if name:
        return name
    return f"system {source.service[:_DIGITS]}" if source.service else f"measurement {source.key[:_DIGITS]}"
