"""What pages and programs that work with any kind have to know of each: made from the registry and the routes. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

import msgspec

from dyff.api.route import Route
from dyff.entities import consoles, kind, labels, registry

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def described(routes: Iterable[Route]) -> list[consoles.KindDescription]:
    """All kinds. `routes`: of the API; those of a kind have its plural as their group."""
    operations: dict[str, list[str]] = {row.plural: [] for row in registry.ROWS}
    for route in routes:
        if not route.hidden and not route.deprecated and route.group in operations:
            operations[route.group].append(route.operation)
    return [_description(row, sorted(operations[row.plural])) for row in registry.ROWS]


def _description(row: kind.Kind, operations: list[str]) -> consoles.KindDescription:
    texts = labels.ClaimPatch if row.page is not None else labels.DocumentationPatch
    return consoles.KindDescription(
        name=row.name,
        plural=row.plural,
        title=title(row),
        operations=operations,
        filters=[consoles.Filter(name=name, path=list(path)) for name, path in row.queries.items()],
        texts=[*_names(texts)],
        success=row.success,
        failure=row.failure,
        runs=row.run is not None,
        page=row.page is not None,
        request=row.creation.request.__name__ if row.creation is not None else None,
        logs=None if row.logs is None else "pods" if row.logs.pods else "stored",
        edits=[each.path for each in row.edits],
    )


@functools.cache
def _names(of: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.encode_name for field in msgspec.structs.fields(of))


def title(row: kind.Kind) -> str:
    """Its plural for people: `Safety cases` of the kind `SafetyCase`."""
    words = _CAPITAL.split(row.name)
    before = "".join(words[:-1])
    return " ".join([*words[:-1], row.plural[len(before) :]]).lower().capitalize()
