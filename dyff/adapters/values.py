"""How values of Arrow become JSON: exactly, or not at all. Pure. docs/datasets.md has the table, and a test enforces it.

`converter` compiles a type once; then it converts whole columns. A value that JSON cannot express exactly is `Unsendable`, with the place
inside its column and the reason. `sendable` says of a schema what can never be sent.
"""

from __future__ import annotations

import binascii
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import pyarrow as pa

from dyff.adapters import times

Convert = Callable[[Any], list[Any]]
"""From an array of Arrow to JSON values; null is None. It raises `Unsendable`."""

_INTEGERS = {"date32": pa.int32(), "time32": pa.int32()}
_NOT_UTF8 = "the text is not valid UTF-8 ({reason} at byte {place}): store bytes in a binary column, or repair the text"
_INFINITE = "the number is infinite, which JSON does not have: replace it, or use null"
_SHOWN = 100


class Unsendable(ValueError):
    """A value cannot be sent exactly. `place`: inside its column, such as `.born[]`; `reason`: for people."""

    def __init__(self, reason: str, place: str = "") -> None:
        """The message names both."""
        super().__init__(reason)
        self.reason, self.place = reason, place

    def inside(self, outer: str) -> Unsendable:
        """Return the same problem, seen from one level further out."""
        return Unsendable(self.reason, outer + self.place)


def converter(kind: pa.DataType) -> Convert:
    """Compile the conversion of arrays of this type.

    Raises:
        Unsendable: by the function that is returned, if a value in the array cannot be sent.
    """
    if _is_plain(kind):
        return lambda array: array.to_pylist()
    if (text := _text_of(kind)) is not None:
        return _numbers(text, _INTEGERS.get(str(kind).partition("[")[0], pa.int64()))
    for is_kind, compiled in _COMPILERS:
        if is_kind(kind):
            return compiled(kind)
    return _never(no_form(kind))


def _is_plain(kind: pa.DataType) -> bool:
    """Whether each value of the type is a value of JSON already, so that Arrow's own fast conversion is enough."""
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_plain(kind.value_type)
    if types.is_struct(kind):
        return not repeated([field.name for field in kind]) and all(_is_plain(field.type) for field in kind)
    return types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind)


def _text_of(kind: Any) -> times.Text | None:
    """The text of the whole numbers that a date, time or span of time is stored as; None for other types."""
    types = pa.types
    if types.is_date32(kind):
        return times.day
    if types.is_date64(kind):
        return _day_of_ms
    if types.is_time(kind):
        return times.time_of_day(kind.unit)
    if types.is_timestamp(kind):
        return times.instant(kind.unit, kind.tz)
    return times.span(kind.unit) if types.is_duration(kind) else None


def _day_of_ms(value: int) -> str:
    days, rest = divmod(value, 86_400_000)
    if rest:
        raise ValueError(f"{value} ms is not a whole number of days")
    return times.day(days)


def _numbers(text: times.Text, stored: pa.DataType) -> Convert:
    def convert(array: Any) -> list[Any]:
        try:
            return [None if each is None else text(each) for each in array.view(stored).to_pylist()]
        except ValueError as error:
            raise Unsendable(str(error)) from error

    return convert


def _floats(_: Any) -> Convert:
    import pyarrow.compute as pc  # costs a tenth of a second, which a program that only reads schemas does not need

    def convert(array: Any) -> list[Any]:
        if pc.any(pc.is_inf(array)).as_py():
            raise Unsendable(_INFINITE)
        return array.to_pylist()  # type: ignore[no-any-return]

    return convert


def _texts(_: Any) -> Convert:
    def convert(array: Any) -> list[Any]:
        try:
            return array.to_pylist()  # type: ignore[no-any-return]
        except UnicodeDecodeError as error:
            raise Unsendable(_NOT_UTF8.format(reason=error.reason, place=error.start)) from error

    return convert


def _bytes(_: Any) -> Convert:
    return lambda array: [None if each is None else binascii.b2a_base64(each, newline=False).decode() for each in array.to_pylist()]


def _decimals(_: Any) -> Convert:
    return lambda array: [None if each is None else str(each) for each in array.to_pylist()]


def _intervals(_: Any) -> Convert:
    return lambda array: [None if each is None else list(each) for each in array.to_pylist()]


def _lists(kind: Any) -> Convert:
    import pyarrow.compute as pc

    inner = converter(kind.value_type)

    def convert(array: Any) -> list[Any]:
        inside = iter(_inside("[]", inner, array.flatten()))
        lengths: list[int | None] = pc.list_value_length(array).to_pylist()
        return [None if length is None else list(islice(inside, length)) for length in lengths]

    return convert


def _maps(kind: Any) -> Convert:
    """A map can have keys that are not text, and the same key twice, so it is a list of pairs."""
    pairs = pa.list_(pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)]))
    lists = _lists(pairs)
    return lambda array: [None if each is None else [[*pair.values()] for pair in each] for each in lists(array.cast(pairs))]


def _structs(kind: Any) -> Convert:
    names = [field.name for field in kind]
    if several := repeated(names):
        return _never(twice("field", *several[0]))
    import pyarrow.compute as pc

    fields = [(f".{field.name}", converter(field.type)) for field in kind]

    def convert(array: Any) -> list[Any]:
        valid = array.is_valid()
        # What is stored under a null is not a value.
        known = array if not array.null_count else chosen(array, pc.indices_nonzero(valid))
        columns = [_inside(place, inner, known.field(number)) for number, (place, inner) in enumerate(fields)]
        rows = iter([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] if columns else [{}] * len(known))
        return [next(rows) if is_known else None for is_known in valid.to_pylist()]

    return convert


def _dictionaries(kind: Any) -> Convert:
    """Only values that are referred to matter: a dictionary may have others that cannot be sent."""
    import pyarrow.compute as pc

    inner = converter(kind.value_type)

    def convert(array: Any) -> list[Any]:
        used = pc.drop_null(pc.unique(array.indices))
        values = dict(zip(used.to_pylist(), inner(chosen(array.dictionary, used)), strict=True))
        return [None if each is None else values[each] for each in array.indices.to_pylist()]

    return convert


def _runs(kind: Any) -> Convert:
    import pyarrow.compute as pc

    inner = converter(kind.value_type)
    return lambda array: inner(pc.call_function("run_end_decode", [array]))


def _unions(kind: Any) -> Convert:
    codes = {code: number for number, code in enumerate(kind.type_codes)}
    inner = [converter(kind.field(number).type) for number in range(kind.num_fields)]
    is_dense = kind.mode == "dense"

    def convert(array: Any) -> list[Any]:
        # Read from the buffers, because `type_codes` and `offsets` ignore that an array is a slice.
        buffers, length, start = array.buffers(), len(array), array.offset
        chosen_codes = pa.Array.from_buffers(pa.int8(), length, [None, buffers[1]], offset=start).to_pylist()
        offsets: Any = range(length)
        if is_dense:
            offsets = pa.Array.from_buffers(pa.int32(), length, [None, buffers[2]], offset=start).to_pylist()
        places = [(codes[code], offset) for code, offset in zip(chosen_codes, offsets, strict=True)]
        return [inner[number](array.field(number)[offset : offset + 1])[0] for number, offset in places]

    return convert


def _extensions(kind: Any) -> Convert:
    """The value of a type that is made of another; of those that have a form of their own, that form."""
    inner = converter(kind.storage_type)
    name = getattr(kind, "extension_name", "")
    if name == "arrow.uuid":
        return lambda array: [None if each is None else str(each) for each in array.to_pylist()]
    if name == "arrow.bool8":
        return lambda array: [None if each is None else each != 0 for each in inner(array.storage)]
    return lambda array: inner(array.storage)


def _never(reason: str) -> Convert:
    """The conversion of a type whose values cannot be sent, unless they are null."""

    def convert(array: Any) -> list[Any]:
        if array.null_count < len(array):
            raise Unsendable(reason)
        return [None] * len(array)

    return convert


def chosen(array: Any, places: Any) -> Any:
    """Return the values at these places."""
    try:
        return array.take(places)
    except pa.ArrowNotImplementedError:  # Arrow cannot do it for all of its types
        return pa.concat_arrays([array[:0], *(array.slice(place, 1) for place in places.to_pylist())])


def is_list(kind: pa.DataType) -> bool:
    """Return whether the type is any of Arrow's lists."""
    types = pa.types
    views = types.is_list_view(kind) or types.is_large_list_view(kind)
    return views or types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def is_text(kind: pa.DataType) -> bool:
    """Return whether the type is any of Arrow's texts."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether the type is any of Arrow's bytes."""
    types = pa.types
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind) or types.is_fixed_size_binary(kind)


_COMPILERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Convert]], ...] = (
    (lambda kind: isinstance(kind, pa.BaseExtensionType), _extensions),
    (is_text, _texts), (pa.types.is_floating, _floats), (is_list, _lists), (pa.types.is_struct, _structs),
    (pa.types.is_map, _maps), (is_bytes, _bytes), (pa.types.is_decimal, _decimals), (pa.types.is_dictionary, _dictionaries),
    (pa.types.is_run_end_encoded, _runs), (pa.types.is_union, _unions), (lambda kind: kind == pa.month_day_nano_interval(), _intervals),
)  # fmt: skip


def _inside(place: str, inner: Convert, array: Any) -> list[Any]:
    try:
        return inner(array)
    except Unsendable as error:
        raise error.inside(place) from error


def has_form(kind: pa.DataType) -> bool:
    """Return whether the type is known, whatever it contains."""
    return _is_plain(kind) or _text_of(kind) is not None or any(is_kind(kind) for is_kind, _ in _COMPILERS)


def repeated(names: Iterable[str]) -> list[tuple[str, int]]:
    """Return the names that are there more than once, with their number."""
    return [(name, count) for name, count in Counter(names).items() if count > 1]


def twice(what: str, name: str, count: int) -> str:
    """Say that something named `name` is there more than once."""
    return f"the {what} {name[:_SHOWN]!r} is there {count} times: rename all but one"


def no_form(kind: pa.DataType) -> str:
    """Say that values of the type cannot be sent."""
    return f"values of the type {named(kind)} have no form in JSON"


def named(kind: Any) -> str:
    """The type for people, shortened."""
    text = str(kind)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
