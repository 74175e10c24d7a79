"""Which samples are wanted: texts in Arrow arrays, and values of scores."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dyff.adapters import values
from dyff.api.samples import asked
from dyff.api.samples.tables import Row

_KEPT = 8


class Texts:
    """Looks for one text in rows. Rows of one batch are looked at together, which takes a hundredth of the time."""

    def __init__(self, text: str) -> None:
        """`text`: lower and upper case are the same."""
        self._text = text
        self._masks: dict[int, tuple[pa.RecordBatch, list[bool]]] = {}

    def has(self, row: Row) -> bool:
        """Whether any value of the row has the text."""
        if any(text is not None and self._text.lower() in text.lower() for text in row.given.values()):
            return True
        key = id(row.batch)
        if key not in self._masks:
            self._masks[key] = (row.batch, self._mask(row.batch))  # the batch is kept, so that no other has its identity
            while len(self._masks) > _KEPT:
                del self._masks[next(iter(self._masks))]
        return self._masks[key][1][row.at]

    def _mask(self, batch: pa.RecordBatch) -> list[bool]:
        found = [False] * batch.num_rows
        for column in batch.columns:
            for place in pc.indices_nonzero(contains(column, self._text)).to_pylist():
                found[place] = True
        return found


def contains(array: Any, text: str) -> Any:
    """For each value whether a text in it, at any depth, has `text`; lower and upper case are the same. Null has none."""
    kind, types = array.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return contains(array.storage, text)
    if types.is_string_view(kind):
        array = array.cast(pa.large_string())
    if values.is_text(kind):
        return pc.fill_null(pc.match_substring(array, text, ignore_case=True), False)
    if types.is_dictionary(kind):
        return pc.fill_null(contains(array.dictionary, text).take(array.indices), False)
    if types.is_map(kind):
        array = array.cast(pa.list_(pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])))
    if types.is_map(kind) or types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _in_lists(array, text)
    if types.is_struct(kind) and kind.num_fields:
        found = contains(array.field(0), text)
        for number in range(1, kind.num_fields):
            found = pc.or_(found, contains(array.field(number), text))
        return pc.and_(found, array.is_valid())
    return pa.repeat(pa.scalar(False), len(array))


def _in_lists(array: Any, text: str) -> Any:
    inside = contains(array.flatten(), text)
    parents = pc.list_parent_indices(array).filter(inside).cast(pa.int64())
    return pc.is_in(pa.array(range(len(array)), pa.int64()), value_set=parents)


def fits(value: Any, where: asked.Where) -> bool:
    """Whether the value of a score is wanted. `value`: JSON."""
    if value is None:
        return False
    if where.least is not None or where.most is not None:
        if not isinstance(value, int | float):
            return False
        low, high = where.least, where.most
        if (low is not None and value < low) or (high is not None and value > high):
            return False
    return where.value is None or _is(value, where.value)


def _is(value: Any, text: str) -> bool:
    """Whether a value is the one that is written as `text`."""
    if isinstance(value, bool):
        return text == ("true" if value else "false")
    if isinstance(value, int | float):
        try:
            return value == float(text)
        except ValueError:
            return False
    return bool(value == text)
