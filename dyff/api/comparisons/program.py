"""A program, not a library: `python -I -m dyff.api.comparisons.program` compares systems by the rows of their measurements.

It runs in a process of its own, because untrusted bytes can crash the reader or make it use unbounded memory and time, and because the
calculation can take seconds. It limits both for itself before it reads the first byte. Standard input consists of frames (see
`dyff.api.programs`): a `Task` as JSON, then for each system, in the order of the task, its Parquet files. Standard output has the line
`ready`, then one with an `Answer`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import msgspec
import pyarrow as pa
import pyarrow.parquet

from dyff import stats
from dyff.api import bounded
from dyff.api.comparisons import items
from dyff.api.comparisons.tasks import Answer, Found, Task
from dyff.stats import columns, drawing, joins

ADDRESS_SPACE_BYTES = 3 * 2**30
"""With numpy, scipy and Arrow, the program itself takes a third of it."""

CPU_S = 60
MAX_ROWS = 100_000
"""Of one measurement."""

DRAWN = 400_000_000
"""Random signs that all permutation tests of one task draw, as long as each has its fewest draws: some ten seconds."""

FEWEST_DRAWS = 1000
_AGREE = 1e-6
"""How far the quantity of a score may be from the mean of its column, of the larger of its size and 1."""


class _WithoutPandas:
    """Finds no pandas. Arrow imports it where it is installed, which takes longer than all the rest."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """As `importlib.abc.MetaPathFinder` has it."""
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


class _Unusable(Exception):
    """The rows of a system cannot be used; the message is the end of a sentence."""


def answer(task: Task, frames: Iterator[bytes]) -> Answer:
    """Compare what the frames have."""
    systems: list[Found] = []
    tables: list[pa.Table | None] = []
    for each in task.systems:
        try:
            table = _table([next(frames) for _ in range(each.files)], task.score)
            systems.append(Found(_checked(table, task.score, each.quantity).document()))
            tables.append(table)
        except (_Unusable, stats.Unfit) as error:
            systems.append(Found(problem=str(error)))
            tables.append(None)
        except Exception as error:  # of whatever kind: rows are what an account has stored
            systems.append(Found(problem=f"its rows cannot be read ({_named(error)})"))
            tables.append(None)
    if task.page is not None:
        return _items(task, systems, [each for each in tables if each is not None])
    made: dict[tuple[int, int], stats.Comparison] = {}
    problems: dict[tuple[int, int], str] = {}
    for pair in task.pairs:
        a, b = (tables[place] for place in pair)
        if a is None or b is None:
            problems[pair] = "the rows of one of them cannot be used"
            continue
        try:
            made[pair] = _compared(task, pair, a, b)
        except stats.Unfit as error:
            problems[pair] = str(error)
        except Exception as error:  # of whatever kind: what one hostile system has must not end the comparison of the others
            problems[pair] = f"their rows cannot be compared ({_named(error)})"
    corrected = dict(zip(made, stats.corrected(list(made.values())), strict=True))
    pairs = [Found(corrected[pair].document()) if pair in corrected else Found(problem=problems[pair]) for pair in task.pairs]
    return Answer(systems, pairs)


def _named(error: Exception) -> str:
    return "they take more memory than is allowed" if isinstance(error, MemoryError) else type(error).__name__


def _items(task: Task, systems: list[Found], tables: Sequence[pa.Table]) -> Answer:
    """A page of items, if the rows of all systems can be used."""
    if task.page is None or len(tables) < len(systems):
        return Answer(systems, [])
    try:
        rows = items.joined(tables, task.score, [each.replications for each in task.systems])
    except stats.Unfit as error:
        return Answer([Found(problem=str(error)), *systems[1:]], [])
    except Exception as error:  # of whatever kind: rows are what an account has stored
        return Answer([Found(problem=f"its rows cannot be compared ({_named(error)})"), *systems[1:]], [])
    is_boolean = all(pa.types.is_boolean(each.schema.field(task.score).type) for each in tables)
    return Answer(systems, [], items.page(rows, task.page, is_boolean=is_boolean))


def _compared(task: Task, pair: tuple[int, int], a: pa.Table, b: pa.Table) -> stats.Comparison:
    first, second = (task.systems[place].replications for place in pair)
    numbered = first != second and _has_only(a, first) and _has_only(b, second)
    most = DRAWN // len(task.pairs) // max(_units(a, "a"), _units(b, "b"))
    draws = min(drawing.DRAWS, max(FEWEST_DRAWS, most))
    replications = (first, second) if numbered else None
    return stats.compare(a, b, task.score, replications=replications, valence=task.valence, level=task.level, draws=draws)


def _units(table: pa.Table, side: str) -> int:
    """The signs that one draw of a test has at most: one for each cluster, or each item. Raises Unfit: these are no labels."""
    unit = joins.CLUSTER if joins.CLUSTER in table.column_names else joins.INDEX
    _, labels = columns.labels(table[unit], f"{unit} of {side}")
    return max(1, len(labels))


def _has_only(table: pa.Table, replications: Sequence[str]) -> bool:
    """Whether the replications of the rows are among these; a method can also have written others."""
    return joins.REPLICATION in table.column_names and {*table[joins.REPLICATION].unique().to_pylist()} <= {*replications}


def _table(files: Sequence[bytes], score: str) -> pa.Table:
    """The columns that a comparison needs.

    Raises:
        _Unusable: a column is missing, there are too many rows, or the bytes cannot be read.
    """
    known = (joins.INDEX, joins.REPLICATION, joins.CLUSTER, joins.ERROR, score)
    tables, rows = [], 0
    for data in files:
        try:
            metadata = pa.parquet.read_metadata(pa.BufferReader(data))
            names, rows = metadata.schema.to_arrow_schema().names, rows + metadata.num_rows
            missing = [name for name in (joins.INDEX, score) if name not in names]
            if missing:
                raise _Unusable(f"its rows have no column {missing[0]!r}, so they do not say what each item got")
            if rows > MAX_ROWS:
                raise _Unusable(f"it has more than {MAX_ROWS} rows")
            texts = [name for name in (joins.REPLICATION, joins.CLUSTER) if name in names]
            with pa.parquet.ParquetFile(pa.BufferReader(data), read_dictionary=texts) as file:
                tables.append(file.read([name for name in known if name in names], use_threads=False))
        except _Unusable:
            raise
        except Exception as error:  # of whatever kind: hostile bytes are no Parquet file
            raise _Unusable("its rows cannot be read as Parquet") from error
    if not rows:
        raise _Unusable("it has no rows")
    return pa.concat_tables(tables, promote_options="default")


def _checked(table: pa.Table, score: str, quantity: float) -> stats.Outcomes:
    """The outcomes of the rows, after checking that the score is the mean of its column.

    Raises:
        _Unusable: it is not, so a comparison of the rows would be about something else.
    """
    error = table[joins.ERROR] if joins.ERROR in table.column_names else None
    found = stats.mean(table[score], error=error)
    if abs(found.value - quantity) > _AGREE * max(1.0, abs(quantity)):
        shown = f"the score is {quantity:.6g}, and the mean of its column is {found.value:.6g}"
        raise _Unusable(f"{shown}: only a score that is the mean of its rows can be compared by them")
    return found.outcomes


def main() -> None:
    """Do one task."""
    bounded.limit(ADDRESS_SPACE_BYTES, CPU_S)
    sys.meta_path.insert(0, _WithoutPandas())
    bounded.ready()
    frames = bounded.frames()
    task = msgspec.json.decode(next(frames), type=Task)
    bounded.answer(msgspec.to_builtins(answer(task, frames)))


if __name__ == "__main__":
    main()
