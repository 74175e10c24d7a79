"""Makes a page of samples, or finds one value, in the program that reads them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlencode

import msgspec

from dyff.adapters.fitting import INDEX, REPLICATION, RESPONSES
from dyff.api.samples import asked, cells, matching, order, remote
from dyff.api.samples.tables import Lookup, Row, keys

SEARCHED_AT_ONCE = 2048
"""Samples whose values are searched together."""

Found = dict[int, list[Row]]
"""Rows by index."""

_ALL_GONE = "its files were not all looked at, since there are very many: ask again, and more of it is shown"


def answered(request: asked.Request, files: remote.Files) -> asked.Answer:
    """The answer to a request.

    Raises:
        Exception: a file cannot be read.
    """
    reader = Reader(request, files)
    return reader.page() if request.place is None else reader.value(request.place)


class Reader:
    """Reads for one request."""

    def __init__(self, request: asked.Request, files: remote.Files) -> None:
        """`files`: open the files that the request names."""
        self._request, self._files, self._where = request, files, request.where
        self._outputs = Lookup(files, request.outputs)
        self._errors = None if request.errors is None else Lookup(files, request.errors)
        self._items = None if request.items is None else Lookup(files, request.items)
        self._exchanges = None if request.exchanges is None else Lookup(files, request.exchanges)
        self._scores = [Lookup(files, each) for each in request.measurements]
        self._texts = None if request.where.text is None else matching.Texts(request.where.text)

    def page(self) -> asked.Page:
        """The page."""
        found: list[Any] = []
        looked, size, until, after = 0, 0, time.monotonic() + asked.LOOK_S, self._request.after
        samples = self._keys()
        at_once = SEARCHED_AT_ONCE if self._is_search else self._request.limit
        while chunk := list(islice(samples, at_once)):
            rows = _Rows()
            wanted = self._wanted(chunk, rows)
            self._fill(rows, _indices([key for key in chunk if key in wanted][: self._request.limit - len(found)]))
            for key in chunk:
                looked, after = looked + 1, (key.index, key.place + 1)
                if key not in wanted:
                    continue
                found.append(sample := self._sample(key, rows))
                size += len(msgspec.json.encode(sample))
                if len(found) == self._request.limit or size >= asked.PAGE_BYTES:
                    is_end = key is chunk[-1] and next(samples, None) is None
                    return self._page(found, None if is_end else after, looked)
            if time.monotonic() > until and len(chunk) == at_once:
                return self._page(found, after, looked)
        return self._page(found, None, looked)

    @property
    def _is_search(self) -> bool:
        return self._where.text is not None or self._where.score is not None

    def _page(self, found: list[Any], after: tuple[int, int] | None, looked: int) -> asked.Page:
        missing = [("item", _ALL_GONE)] if self._items is not None and self._items.is_partial else []
        missing += [("scores", _ALL_GONE)] if any(each.is_partial for each in self._scores) else []
        columns = {each.table.id: [name for name in each.names() if name not in (INDEX, REPLICATION)] for each in self._scores}
        return asked.Page(samples=found, next=after, looked=looked, missing=missing, columns=columns, groups=self._files.learned)

    def _keys(self) -> Iterator[order.Key]:
        """The samples that can be wanted, as far as their keys say."""
        where, (start, passed) = self._where, self._request.after or (-(2**63), 0)
        begin = start if where.index is None else max(start, where.index)
        errors = () if self._request.errors is None else keys(self._files, self._request.errors, begin)
        for key in order.merged(keys(self._files, self._request.outputs, begin), errors, self._request.replications):
            if where.index is not None and key.index > where.index:
                return
            if key.index == start and key.place < passed:
                continue
            yield key

    def _wanted(self, chunk: Sequence[order.Key], rows: _Rows) -> set[order.Key]:
        where = self._where
        found = [
            key for key in chunk if where.replication in (None, key.replication) and (where.errors is None or where.errors == key.has_error)
        ]
        if where.score is not None:
            found = self._with_score(found, rows)
        if self._texts is not None:
            found = self._with_text(found, self._texts, rows)
        return set(found)

    def _with_score(self, chunk: list[order.Key], rows: _Rows) -> list[order.Key]:
        column, tables = str(self._where.score), self._fill_scores(rows, _indices(chunk))
        named = [found for (_, found), each in zip(tables, self._scores, strict=True) if column in each.names()]
        return [key for key in chunk if any(self._fits(row, key, column) for found in named for row in found.get(key.index, ()))]

    def _fits(self, row: Row, key: order.Key, column: str) -> bool:
        array = row.array(column)
        if array is None or not _is_of(row, key):
            return False
        found = cells.cell(column, array, str, asked.CUT_BYTES)
        return found["kind"] in ("json", "text") and not found["cut"] and matching.fits(found["value"], self._where)

    def _with_text(self, chunk: list[order.Key], texts: matching.Texts, rows: _Rows) -> list[order.Key]:
        self._fill_values(rows, _indices(chunk))
        # Whose replication a row is takes longer to find out than whether it has the text, and few rows have it.
        some = {index for table in rows.searched() for index, found in table.items() if any(map(texts.has, found))}
        return [key for key in chunk if key.index in some and any(map(texts.has, rows.of(key)))]

    def _fill(self, rows: _Rows, indices: list[int]) -> None:
        """Read what is not there yet."""
        if rows.outputs is None:
            self._fill_values(rows, indices)
        if rows.scores is None:
            self._fill_scores(rows, indices)
        if self._exchanges is not None:
            rows.exchanges = self._exchanges.rows(indices)

    def _fill_values(self, rows: _Rows, indices: list[int]) -> None:
        rows.outputs = self._outputs.rows(indices)
        rows.errors = {} if self._errors is None else self._errors.rows(indices)
        rows.items = {} if self._items is None else self._items.rows(indices)

    def _fill_scores(self, rows: _Rows, indices: list[int]) -> list[tuple[str, Found]]:
        rows.scores = [(each.table.id, each.rows(indices)) for each in self._scores]
        return rows.scores

    def _sample(self, key: order.Key, rows: _Rows) -> dict[str, Any]:
        exchanges = None
        if rows.exchanges is not None:
            exchanges = [{"row": self._row("exchange", row, key, number)} for number, row in enumerate(rows.exchanges_of(key))]
        return {
            "index": key.index,
            "replication": key.replication,
            "number": self._request.replications.index(key.replication) if key.replication in self._request.replications else None,
            "item": self._first("item", rows.items.get(key.index), key),
            "responses": self._responses(rows.output_of(key), key),
            "error": self._first("error", rows.errors_of(key), key),
            "exchanges": exchanges,
            "scores": [
                {"measurement": name, "row": self._row("score", row, key, number, name)}
                for name, found in rows.scores or ()
                for number, row in enumerate(_of(found.get(key.index), key)[: asked.MAX_ROWS])
            ],
        }

    def _first(self, part: str, rows: list[Row] | None, key: order.Key) -> list[cells.Cell] | None:
        return self._row(part, rows[0], key) if rows else None

    def _row(self, part: str, row: Row, key: order.Key, number: int = 0, measurement: str = "") -> list[cells.Cell]:
        names = dict.fromkeys(islice((name for name in row.batch.schema.names if name not in (INDEX, REPLICATION)), asked.MAX_COLUMNS))
        address, cut = self._address(part, key, number, measurement), self._request.cut_bytes
        given = {name: text for name, text in row.given.items() if name not in (INDEX, REPLICATION, *names)}
        return [
            *(cells.cell(name, _shown(part, row.array(name)), address, cut) for name in names),
            *(cells.given(name, text, address, cut) for name, text in given.items()),
        ]

    def _responses(self, row: Row | None, key: order.Key) -> list[list[cells.Cell]] | None:
        array = None if row is None else row.array(RESPONSES)
        if array is None or not array[0].is_valid:
            return None
        inside = array.flatten()
        fields = [(field.name, inside.field(place)) for place, field in enumerate(islice(inside.type, asked.MAX_COLUMNS))]
        return [
            [
                cells.cell(name, values.slice(number, 1), self._address("response", key, number), self._request.cut_bytes)
                for name, values in fields
            ]
            for number in range(min(len(inside), asked.MAX_RESPONSES))
        ]

    def _address(self, part: str, key: order.Key, number: int = 0, measurement: str = "") -> cells.Address:
        def address(column: str) -> str:
            given: dict[str, Any] = {"part": part, "column": column, "replication": key.replication}
            given |= {"number": number} if number else {}
            given |= {"measurement": measurement} if measurement else {}
            return f"{self._request.url}/{key.index}/value?{urlencode(given)}"

        return address

    def value(self, place: asked.Place) -> asked.Value:
        """The value at a place."""
        key = order.Key(place.index, place.replication, 0, 0, False)
        rows = _Rows()
        self._fill(rows, [place.index])
        if place.part == "response":
            row = rows.output_of(key)
            array = None if row is None else row.array(RESPONSES)
            inside = array.flatten() if array is not None and array[0].is_valid else None
            found = None
            if inside is not None and place.number < len(inside) and inside.type.get_field_index(place.column) >= 0:
                found = inside.field(inside.type.get_field_index(place.column)).slice(place.number, 1)
        else:
            found = rows.at(place, key)
        return asked.Value(kind="none", data=b"there is no such value") if found is None else cells.whole(_shown(place.part, found))


class _Rows(msgspec.Struct):
    """Rows by index; None as long as they are not read. `scores`: with the IDs of measurements."""

    outputs: Found | None = None
    errors: Found = {}
    items: Found = {}
    exchanges: Found | None = None
    scores: list[tuple[str, Found]] | None = None

    def output_of(self, key: order.Key) -> Row | None:
        same = _of((self.outputs or {}).get(key.index), key)
        return same[key.twin] if key.twin < len(same) else None

    def errors_of(self, key: order.Key) -> list[Row]:
        return _of(self.errors.get(key.index), key)

    def exchanges_of(self, key: order.Key) -> list[Row]:
        return _of((self.exchanges or {}).get(key.index), key)[: asked.MAX_ROWS]

    def searched(self) -> list[Found]:
        """The tables that are searched for a text."""
        return [self.items, self.outputs or {}, self.errors]

    def of(self, key: order.Key) -> list[Row]:
        """All that is searched for a text."""
        output = self.output_of(key)
        return [*self.items.get(key.index, ()), *([output] if output is not None else ()), *self.errors_of(key)]

    def at(self, place: asked.Place, key: order.Key) -> Any:
        """The array of a value that is not of a response; None if there is none."""
        scores = dict(self.scores or ()).get(place.measurement, {})
        rows = {
            "item": self.items.get(key.index, []),
            "error": self.errors_of(key),
            "exchange": self.exchanges_of(key),
            "score": _of(scores.get(key.index), key),
        }[place.part]
        return rows[place.number].array(place.column) if place.number < len(rows) else None


def _shown(part: str, array: Any) -> Any:
    """A value as it is shown: bytes of an exchange are text, if they can be."""
    return cells.readable(array) if part == "exchange" else array


def _indices(chunk: Sequence[order.Key]) -> list[int]:
    return sorted({key.index for key in chunk})


def _of(rows: list[Row] | None, key: order.Key) -> list[Row]:
    return [row for row in rows or () if _is_of(row, key)]


def _is_of(row: Row, key: order.Key) -> bool:
    """Whether a row is about the replication of a sample; one that names none is about all."""
    if REPLICATION not in row.given and row.batch.schema.get_field_index(REPLICATION) < 0:
        return True
    return row.text(REPLICATION) == key.replication
