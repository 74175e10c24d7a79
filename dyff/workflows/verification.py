"""Checks that the outputs are exactly the requested ones. Reads the outputs of all attempts, one range of items at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from dyff.adapters.fitting import INDEX, REPLICATION, RESPONSES
from dyff.workflows import endings, items

FILE_BYTES = 64 * 2**20
RANGES_PER_FILE = 4
"""Checking a range takes three to four times its size in memory, because Arrow concatenates and copies what it sorts."""
_MAX_ROWS = 2**18
_ORDER = "__replication"


class Findings(msgspec.Struct):
    """The problems found so far. `strange`: rows that were not requested. `examples`: parts of sentences, by the field's name."""

    missing: int = 0
    duplicates: int = 0
    strange: int = 0
    examples: dict[str, str] = {}

    def add(self, kind: str, count: int, example: str) -> None:
        """Add `count` to the field `kind`. The first example of each kind is kept."""
        setattr(self, kind, getattr(self, kind) + count)
        self.examples = {kind: example, **self.examples}

    def code(self, missing_policy: str, duplicate_policy: str) -> int:
        """Return the exit code according to the published policies; 0 if the outputs are fine."""
        wrong = endings.WRONG_OUTPUT if self.strange else 0
        missing = endings.MISSING if self.missing and missing_policy != "Ignore" else 0
        return wrong | missing | (endings.DUPLICATES if self.duplicates and duplicate_policy == "Error" else 0)

    def sentence(self) -> str:
        """Describe all findings for people."""
        words = {"missing": "are missing", "duplicates": "are there twice or more", "strange": "were never asked for"}
        counts = {"missing": self.missing, "duplicates": self.duplicates, "strange": self.strange}
        found = [f"{count} outputs {words[kind]} ({self.examples[kind]})" for kind, count in counts.items() if count]
        return "; ".join(found) or "all outputs are there, once"


class Range(msgspec.Struct, frozen=True):
    """A range of the expected indices, sorted.

    `rows`: the filter for its rows, from its first index up to that of the next range. The first and the last range are open-ended.
    """

    expected: pa.Array[Any]
    rows: Any


def check_schema(dataset: pa.dataset.Dataset, output: pa.Schema) -> None:
    """Check that every file has the schema of the outputs. Blocking.

    Raises:
        Ending: a file has another schema.
        READ_ERRORS (of `trees`): a file is damaged.
    """
    for fragment in dataset.get_fragments():
        found = fragment.physical_schema
        if not found.equals(output, check_metadata=False):
            message = f"The output file {fragment.path} has not the output schema: it has {_columns(found)}, not {_columns(output)}."
            raise endings.Ending(endings.WRONG_OUTPUT, message)


def rows_per_file(dataset: pa.dataset.Dataset) -> int:
    """Return a power of two, chosen so that a file holds about `FILE_BYTES` before compression. Blocking."""
    rows = size_bytes = 0
    for fragment in dataset.get_fragments():
        for group in fragment.row_groups:
            rows, size_bytes = rows + group.num_rows, size_bytes + group.total_byte_size
    average = max(1, size_bytes // max(1, rows))
    return min(_MAX_ROWS, 1 << (max(1, FILE_BYTES // average).bit_length() - 1))


def ranges(expected: items.Indices, indices_at_once: int) -> Iterator[Range]:
    """Split the expected indices into ranges that together cover every possible index."""
    for start in range(0, max(1, len(expected)), indices_at_once):
        end = start + indices_at_once
        rows = pc.scalar(True)
        if start > 0:
            rows = rows & (pc.field(INDEX) >= expected.array[start])
        if end < len(expected):
            rows = rows & (pc.field(INDEX) < expected.array[end])
        yield Range(expected.array[start:end], rows)


def examine(
    dataset: pa.dataset.Dataset, part: Range, replications: list[str], findings: Findings, columns: list[str] | None = None
) -> pa.Table:
    """Return the rows of one range, sorted by index and replication; equal ones stay in the order of their files. Blocking.

    Problems are added to `findings`. `columns`: None for all.
    """
    table = dataset.to_table(filter=part.rows, columns=columns, use_threads=False, batch_readahead=1, fragment_readahead=1)
    order = pc.index_in(table[REPLICATION], value_set=pa.array(replications, table[REPLICATION].type))
    wanted = pc.and_(pc.is_valid(order), pc.is_in(table[INDEX], value_set=part.expected.cast(table[INDEX].type)))
    strange = table.filter(pc.invert(wanted)) if not pc.all(wanted, min_count=0).as_py() else None
    if strange is not None:
        findings.add("strange", strange.num_rows, f"such as index {strange[INDEX][0]} in replication {strange[REPLICATION][0]}")
    table = table.append_column(_ORDER, order)
    table = table.take(pc.sort_indices(table, sort_keys=[(INDEX, "ascending"), (_ORDER, "ascending")]))
    _count(table, part.expected, replications, findings, strange.num_rows if strange is not None else 0)
    return table.drop_columns(_ORDER)


def deduplicated(table: pa.Table) -> pa.Table:
    """Return only the first row of each output. `table`: sorted as by `examine`."""
    firsts = _first_of_each(table)
    return table if firsts.true_count == table.num_rows else table.filter(firsts)  # a copy costs as much memory again


def requested(part: Range, table: pa.Table, replications: list[str]) -> pa.Table:
    """Return only the rows that were requested."""
    is_index = pc.is_in(table[INDEX], value_set=part.expected.cast(table[INDEX].type))
    is_replication = pc.is_in(table[REPLICATION], value_set=pa.array(replications, table[REPLICATION].type))
    wanted = pc.and_(is_index, is_replication)
    return table if pc.all(wanted, min_count=0).as_py() else table.filter(wanted)


def unanswered(errors: pa.Table, table: pa.Table) -> pa.Table:
    """Return the recorded errors, each once, of the outputs that are missing in `table` or have no responses there."""
    index, replication, responses = (table.schema.get_field_index(name) for name in (INDEX, REPLICATION, RESPONSES))
    answered = table.filter(pc.is_valid(table[responses]))
    keys = pa.table({INDEX: answered[index].cast(pa.int64()), REPLICATION: answered[replication].cast(pa.string())})
    left = errors.join(keys, [INDEX, REPLICATION], join_type="left anti", use_threads=False)
    return deduplicated(left.sort_by([(INDEX, "ascending"), (REPLICATION, "ascending")]))


def _first_of_each(table: pa.Table) -> pa.BooleanArray:
    """True for each row whose index or replication differs from that of the previous row."""
    if table.num_rows < 2:
        return pa.array([True] * table.num_rows, pa.bool_())
    index, replication = table[INDEX].combine_chunks(), table[REPLICATION].combine_chunks()
    same = pc.and_(pc.equal(index[1:], index[:-1]), pc.equal(replication[1:], replication[:-1]))
    known = cast(pa.BooleanArray, pc.coalesce(same, pa.scalar(False)))  # null if a strange row has no replication
    return pa.concat_arrays([pa.array([True]), pc.invert(known)])


def _count(table: pa.Table, expected: pa.Array[Any], replications: list[str], findings: Findings, strange: int) -> None:
    firsts = _first_of_each(table)
    distinct = firsts.true_count
    if distinct < table.num_rows:
        twice = table.slice(pc.index(firsts, pa.scalar(False)).as_py(), 1)
        findings.add("duplicates", table.num_rows - distinct, f"such as index {twice[INDEX][0]} in replication {twice[REPLICATION][0]}")
    if strange or distinct < len(expected) * len(replications):
        _find_missing(table, expected, replications, findings)


def _find_missing(table: pa.Table, expected: pa.Array[Any], replications: list[str], findings: Findings) -> None:
    for replication in replications:
        present = table[INDEX].filter(pc.equal(table[REPLICATION], pa.scalar(replication))).combine_chunks().cast(pa.int64())
        missing = expected.filter(pc.invert(pc.is_in(expected, value_set=present)))
        if len(missing):
            findings.add("missing", len(missing), f"such as index {missing[0]} in replication {replication}")


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema) or "no columns"
