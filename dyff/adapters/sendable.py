"""What the schema of a dataset shows before any value is read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from dyff.adapters import values

Form = tuple[Any, ...]
_SHOWN = 200


class Problem(NamedTuple):
    """What cannot be sent. `column`: its name; `place`: inside it, such as `.born[]`; `kind`: the type there; `reason`: for people."""

    column: str
    place: str
    kind: str
    reason: str

    def __str__(self) -> str:
        """A part of a sentence for people."""
        where = f"the column {(self.column + self.place)[:_SHOWN]!r} ({self.kind}): "
        return f"{where if self.kind else ''}{self.reason}"


def problems(schema: pa.Schema) -> list[Problem]:
    """Return what can never be sent to a service, unless it is null: one problem for each place, in the order of the schema.

    A column that is there several times comes first, with an empty `kind`. All this matters only for columns that a pipeline uses.
    """
    found = [Problem(name, "", "", values.twice("column", name, count)) for name, count in values.repeated(schema.names)]
    for field in schema:
        found += [Problem(field.name, place, values.named(kind), reason) for place, kind, reason in _impossible(field.type)]
    return found


def form(kind: Any) -> Form:
    """Return the form in which values of a type arrive. Types with the same form can be mixed without changing a value.

    So two files of a dataset may store a column in different ways, such as times in microseconds and in nanoseconds.
    """
    types = pa.types
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return form(kind.value_type)
    if values.is_list(kind):
        return ("list", form(kind.value_type))
    if types.is_map(kind):
        return ("map", form(kind.key_type), form(kind.item_type))
    if types.is_struct(kind):
        return ("struct", *((field.name, form(field.type)) for field in kind))
    for name, is_kind in _FORMS.items():
        if is_kind(kind):
            return (name,)
    if types.is_timestamp(kind):
        return ("timestamp", kind.tz is not None)
    return (str(kind),)


_FORMS: dict[str, Callable[[Any], bool]] = {
    "text": values.is_text, "bytes": values.is_bytes, "integer": pa.types.is_integer, "float": pa.types.is_floating,
    "date": pa.types.is_date, "time": pa.types.is_time, "duration": pa.types.is_duration,
}  # fmt: skip


def _impossible(kind: Any, place: str = "") -> Iterator[tuple[str, Any, str]]:
    """The place, the type and the reason of each part of a type that can never be sent."""
    if isinstance(kind, pa.BaseExtensionType):
        yield from _impossible(kind.storage_type, place)
    elif pa.types.is_struct(kind) and (several := values.repeated([field.name for field in kind])):
        yield place, kind, values.twice("field", *several[0])
    elif not values.has_form(kind):
        yield place, kind, values.no_form(kind)
    else:
        for step, inner in _parts(kind):
            yield from _impossible(inner, place + step)


def _parts(kind: Any) -> list[tuple[str, Any]]:
    """The types that a type consists of, with the step to each."""
    types = pa.types
    if types.is_struct(kind):
        return [(f".{field.name}", field.type) for field in kind]
    if types.is_map(kind):
        return [("[].key", kind.key_type), ("[].value", kind.item_type)]
    if types.is_union(kind):
        return [("", kind.field(number).type) for number in range(kind.num_fields)]
    if values.is_list(kind):
        return [("[]", kind.value_type)]
    return [("", kind.value_type)] if types.is_dictionary(kind) or types.is_run_end_encoded(kind) else []
