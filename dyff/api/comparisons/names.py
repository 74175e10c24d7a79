"""What the systems of a comparison are called, so that readers can tell them apart. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dyff.api.comparisons.terms import Source
from dyff.api.dossiers import carrying
from dyff.entities import analysis_data, codecs

_DIGITS = 8
"""Of an ID: enough to tell a few apart."""


def distinct(sources: Sequence[Source], names: Sequence[str | None]) -> list[str]:
    """A name for each source, all different. `names`: those of the systems; None where the reader may not see it."""
    found = [_plain(source, name) for source, name in zip(sources, names, strict=True)]
    for ids in ([each.service or each.key for each in sources], [each.key for each in sources]):
        counts = Counter(found)
        found = [name if counts[name] == 1 else f"{name} ({one[:_DIGITS]})" for name, one in zip(found, ids, strict=True)]
    return found


def of_cases(plain: Sequence[str | None], cases: Sequence[codecs.Json | None]) -> list[str | None]:
    """The names of systems, or what safety cases about them say instead. `plain`: None where it is not known. `cases`: None for none.

    A case carries the title of its system. Where several systems have one title, as those of one model do, it is the title of the case.
    """
    found = [name or _title_of_system(case) for name, case in zip(plain, cases, strict=True)]
    counts = Counter(found)
    return [(_title(case) or name) if counts[name] > 1 else name for name, case in zip(found, cases, strict=True)]


def _title_of_system(case: codecs.Json | None) -> str | None:
    system = carrying.carried(case or {}).get(analysis_data.SYSTEM) or {}
    return _text((system.get("documentation") or {}).get("title"))


def _title(case: codecs.Json | None) -> str | None:
    return _text((((case or {}).get("metadata") or {}).get("documentation") or {}).get("title"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _plain(source: Source, name: str | None) -> str:
    if name:
        return name
    return f"system {source.service[:_DIGITS]}" if source.service else f"measurement {source.key[:_DIGITS]}"
