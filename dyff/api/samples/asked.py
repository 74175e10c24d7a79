"""What the server asks of the program that reads samples, and what that answers. Plain values: both sides import it, and no Arrow."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

PARTS = ("item", "response", "error", "exchange", "score")
"""Where a cell is."""

CUT_BYTES = 2 * 2**10
"""What a page has of a value."""

WHOLE_BYTES = 256 * 2**10
"""What one sample has of a value."""

MAX_VALUE_BYTES = 16 * 2**20
"""A larger value is not given on its own."""

PAGE_BYTES = 4 * 2**20
"""A page ends with the sample that reaches this size, as JSON."""

MAX_ROWS = 20
"""The rows of one measurement that a sample has, and its exchanges."""

MAX_COLUMNS = 1000
"""The cells of a row."""

MAX_RESPONSES = 100
"""The responses of a sample."""

LOOK_S = 1.0
"""How long a page is looked for, after which it may have fewer samples than were asked for."""

Group = tuple[int, int, int]
"""A row group: its rows, and the least and the largest index. The latter are all of 64 bits if they are not known."""


class File(msgspec.Struct, frozen=True, array_like=True):
    """A Parquet file. `number`: by which the program asks for its bytes. `groups`: None if they are not known yet."""

    number: int
    path: str
    size: int
    groups: tuple[Group, ...] | None = None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Files with the same columns. `id`: of the measurement, or empty. `unique`: an index is in one row only. `is_sorted`: by index,
    also across files.
    """

    files: tuple[File, ...]
    id: str = ""
    unique: bool = False
    is_sorted: bool = False


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Which samples are wanted; None for any.

    `index`, `replication`, `errors`: whether there is an error. `text`: in lower case. `score`: a column of measurements, with `least`,
    `most` and `value`, as text; without these, any value but null.
    """

    index: int | None = None
    replication: str | None = None
    errors: bool | None = None
    text: str | None = None
    score: str | None = None
    least: float | None = None
    most: float | None = None
    value: str | None = None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One value. `part`: of `PARTS`. `number`: of the response, the row or the exchange. `measurement`: its ID, of a score."""

    part: Literal["item", "response", "error", "exchange", "score"]
    column: str
    index: int
    replication: str
    number: int = 0
    measurement: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A page, or the one value at `place`.

    `url`: of the samples. `outputs`: sorted. `errors`, `items`, `exchanges`: None if there are none, or they are not to be read.
    `replications`: IDs in order. `after`: an index, and how many samples of it came before. `cut_bytes`: of a value in the answer.
    """

    url: str
    outputs: Table
    errors: Table | None = None
    items: Table | None = None
    exchanges: Table | None = None
    measurements: tuple[Table, ...] = ()
    replications: tuple[str, ...] = ()
    where: Where = Where()
    limit: int = 25
    after: tuple[int, int] | None = None
    cut_bytes: int = CUT_BYTES
    place: Place | None = None


class Read(msgspec.Struct, frozen=True, tag="read"):
    """The program asks for bytes of a file: `start <= position < end`."""

    file: int
    start: int
    end: int


class Page(msgspec.Struct, frozen=True, tag="page", kw_only=True):
    """A page. `samples`: JSON. `next`: where the next page begins; None at the end. `looked`: outputs that were looked at.

    `missing`: pairs of what is not shown and why. `groups`: of files whose footers were read, by number.
    """

    samples: list[Any]
    next: tuple[int, int] | None
    looked: int
    missing: list[tuple[str, str]] = []
    columns: dict[str, list[str]] = {}
    groups: dict[int, tuple[Group, ...]] = {}


class Value(msgspec.Struct, frozen=True, tag="value", kw_only=True):
    """One value. `kind`: `text`, `json` or `bytes`; `none` if there is no such value, and `data` is then why. `media_type`: of bytes."""

    kind: str
    data: bytes
    media_type: str = ""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The files cannot be read. `problem`: a sentence."""

    problem: str


Answer = Read | Page | Value | Failed
