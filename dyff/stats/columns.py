"""Reads columns: Arrow arrays, numpy arrays, pandas series and plain sequences. Null (None) means that an item has no value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from dyff.stats.unfit import Unfit

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Column: TypeAlias = "Sequence[Any] | NDArray[Any] | pa.Array[Any] | pa.ChunkedArray[Any]"
    Floats: TypeAlias = NDArray[np.float64]
    Codes: TypeAlias = NDArray[np.int64]
    Mask: TypeAlias = NDArray[np.bool_]


LARGEST = 1e150
"""Numbers are at most so far from 0: the squares of larger ones, which variances have, are no floating-point numbers any more."""


def numbers(values: Column, name: str) -> tuple[Floats, Mask]:
    """Read a column of numbers or booleans.

    Returns:
        The numbers (undefined where there is none), and where there are some.

    Raises:
        Unfit: it is no such column, or has NaN, infinity, or a number beyond `LARGEST`.
    """
    import numpy as np

    array, there = _arrow_numbers(values, name) if _is_arrow(values) else _plain_numbers(values, name)
    wrong = np.flatnonzero(there & ~np.isfinite(array))
    if wrong.size:
        row = int(wrong[0])
        what = "NaN" if math.isnan(array[row]) else "infinite"
        more = f" ({wrong.size} rows are)" if wrong.size > 1 else ""
        raise Unfit(f"{name}: row {row} is {what}{more}. Make it null (None) if the item has no verdict, and mark failures with error=")
    large = np.flatnonzero(there & (np.abs(array) > LARGEST))
    if large.size:
        raise Unfit(f"{name}: row {int(large[0])} is {array[large[0]]:g}; numbers beyond {LARGEST:g} cannot be calculated with")
    return array, there


def complete(values: Column, name: str) -> Floats:
    """Read a column of numbers without nulls.

    Raises:
        Unfit: see `numbers`; or a row is null.
    """
    array, there = numbers(values, name)
    _refuse_nulls(there, name)
    return array


def flags(values: Column, name: str) -> Mask:
    """Read a column of booleans. Null is false.

    Raises:
        Unfit: it has other values than true and false.
    """
    import numpy as np

    array, there = numbers(values, name)
    wrong = np.flatnonzero(there & (array != 0) & (array != 1))
    if wrong.size:
        raise Unfit(f"{name}: row {int(wrong[0])} is {array[wrong[0]]:g}; give booleans")
    flagged: Mask = there & (array == 1)
    return flagged


def binary(values: Floats, name: str) -> None:
    """Check that all are 0 or 1.

    Raises:
        Unfit: there are other values.
    """
    import numpy as np

    wrong = np.flatnonzero((values != 0) & (values != 1))
    if wrong.size:
        raise Unfit(f"{name} has the value {values[wrong[0]]:g}; give booleans, or 0 and 1 (dyff.stats.mean takes other numbers)")


def labels(values: Column, name: str, *, nulls: bool = False) -> tuple[Codes, list[Any]]:
    """Read a column of labels: any values that can be compared.

    Args:
        values: the column.
        name: of the argument.
        nulls: whether there may be nulls.

    Returns:
        The number of the label of each row, -1 if it is null; and the labels, in the order of their first rows.

    Raises:
        Unfit: a label is null or NaN, or cannot be compared.
    """
    import numpy as np

    if _is_arrow(values):
        codes, found = _arrow_labels(values, name)
    else:
        codes, found = _plain_labels(sequence(values, name), name)
    if any(isinstance(each, float) and math.isnan(each) for each in found):
        raise Unfit(f"{name} has NaN; make it null (None), or give it a name")
    if not nulls:
        _refuse_nulls(np.asarray(codes >= 0), name)
    return codes, found


def same_length(**lengths: int | None) -> None:
    """Check that all columns have the length of the first one. None: it was not given.

    Raises:
        Unfit: one has another length.
    """
    (first, wanted), *others = [(name, length) for name, length in lengths.items() if length is not None]
    for name, length in others:
        if length != wanted:
            raise Unfit(f"{name} has {length} rows and {first} has {wanted}; give one for each row of {first}, in the same order")


def sequence(values: Any, name: str) -> Sequence[Any]:
    """Return the elements of a plain column.

    Raises:
        Unfit: it is no column.
    """
    if hasattr(values, "to_numpy"):  # a pandas Series
        values = values.to_numpy()
    if hasattr(values, "ndim") and hasattr(values, "tolist"):
        if values.ndim != 1:
            raise Unfit(f"{name} has {values.ndim} dimensions; give one column")
        listed: list[Any] = values.tolist()  # of a masked array, None is where it is masked
        return listed
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise Unfit(f"{name} is of the type {type(values).__name__}; give an Arrow or numpy array, or a list")
    return values


def _is_arrow(values: Any) -> bool:
    """Whether it is an Arrow array, found without importing pyarrow."""
    return type(values).__module__.partition(".")[0] == "pyarrow" and hasattr(values, "null_count")


def _arrow_numbers(values: Any, name: str) -> tuple[Floats, Mask]:
    import numpy as np
    import pyarrow as pa

    kind, is_a = values.type, pa.types
    if not (is_a.is_boolean(kind) or is_a.is_integer(kind) or is_a.is_floating(kind) or is_a.is_decimal(kind) or is_a.is_null(kind)):
        raise Unfit(f"{name} has the Arrow type {kind}; give numbers or booleans")
    there = ~np.asarray(values.is_null(), dtype=np.bool_)
    array = np.array(values.cast(pa.float64(), safe=False), dtype=np.float64)
    return array, there


def _arrow_labels(values: Any, name: str) -> tuple[Codes, list[Any]]:
    import numpy as np
    import pyarrow as pa

    whole: Any = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_decode()
    try:
        encoded = whole.dictionary_encode()
    except pa.ArrowNotImplementedError:
        raise Unfit(f"{name} has the Arrow type {whole.type}; give texts or numbers") from None
    codes = np.array(encoded.indices.fill_null(-1), dtype=np.int64)
    return codes, encoded.dictionary.to_pylist()


def _plain_numbers(values: Any, name: str) -> tuple[Floats, Mask]:
    import numpy as np

    plain = values.to_numpy() if hasattr(values, "to_numpy") else values
    if isinstance(plain, np.ndarray) and plain.dtype.kind in "biuf" and plain.ndim == 1:
        return np.array(plain, dtype=np.float64), ~np.ma.getmaskarray(plain)
    elements = sequence(values, name)
    array = np.fromiter((_number(each, row, name) for row, each in enumerate(elements)), dtype=np.float64, count=len(elements))
    there = np.fromiter((not _is_null(each) for each in elements), dtype=np.bool_, count=len(elements))
    return array, there


def _number(value: Any, row: int, name: str) -> float:
    if _is_null(value):
        return 0.0
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        raise Unfit(f"{name}: row {row} is of the type {type(value).__name__}; give numbers or booleans, and None for no verdict")
    return float(value)


def _plain_labels(elements: Iterable[Any], name: str) -> tuple[Codes, list[Any]]:
    import numpy as np

    known: dict[Any, int] = {}
    codes = []
    for row, each in enumerate(elements):
        try:
            codes.append(-1 if _is_null(each) else known.setdefault(each, len(known)))
        except TypeError:
            raise Unfit(f"{name}: row {row} is of the type {type(each).__name__}; give texts or numbers") from None
    return np.array(codes, dtype=np.int64), list(known)


def _is_null(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType"  # that of pandas, which need not be installed


def _refuse_nulls(there: Mask, name: str) -> None:
    import numpy as np

    wrong = np.flatnonzero(~there)
    if wrong.size:
        raise Unfit(f"{name}: row {int(wrong[0])} is null ({wrong.size} of {there.size} are); every row needs one")
