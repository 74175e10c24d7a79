"""Samples of an evaluation as the API answers them (docs/console-data.md). Tolerant: unknown fields are ignored."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from dyff.entities import showing


class Cell(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A value of a column.

    `kind`: `text`, `json` or `bytes`; `none` if the value has no form in JSON, and `value` is then the reason. `value`: None for bytes; if
    `cut`, only the beginning, as text. `bytes`: the whole length, None if that is not known. `url`: the path of the whole value; None
    if `value` is the whole. `mediaType`: of bytes; None for others.
    """

    name: str
    kind: Literal["text", "json", "bytes", "none"]
    value: Any = None
    bytes: int | None = None
    cut: bool = False
    url: str | None = None
    mediaType: str | None = None


class Scored(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A row of a measurement, by its ID."""

    measurement: str
    row: list[Cell]


class Exchanged(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """What was sent to the service for an item, and what came back."""

    row: list[Cell]


class Sample(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """An item of a dataset in one replication, and what became of it.

    `number`: of the replication, from 0; None if it is none of the evaluation's. `item`: None if it is not shown. `responses`: None if the
    service gave none. `error`: why; None if there is none. `exchanges`: None in a page, or if none were kept.
    """

    index: int
    replication: str
    number: int | None = None
    item: list[Cell] | None = None
    responses: list[list[Cell]] | None = None
    error: list[Cell] | None = None
    exchanges: list[Exchanged] | None = None
    scores: list[Scored] = []


class LeftOut(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """What samples do not show, and why."""

    what: str
    why: str


class ScoredBy(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A measurement whose rows are shown, with its columns."""

    id: str
    name: str
    columns: list[str]


class Samples(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A page of samples. `next`: the parameter `after` of the next page; None at the end. `looked`: outputs that were looked at."""

    samples: list[Sample]
    next: str | None = None
    looked: int = 0
    missing: list[LeftOut] = []
    replications: list[str] = []
    measurements: list[ScoredBy] = []
