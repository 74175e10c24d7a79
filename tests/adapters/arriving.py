"""The table of docs/datasets.md, "How each type arrives", as data."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
_ROW = re.compile(r"^\| ([^|`]+) \| ([^|]+) \| `(.+)` \| (fails: )?`(.+)` \|$", re.MULTILINE)


class Example(NamedTuple):
    """A row of the table. `json`: as the page writes it; of one that fails, words of the reason."""

    type: str
    text: str
    json: str
    fails: bool
    in_parquet: bool

    def array(self) -> Any:
        """The example: an array with one value."""
        return eval(self.text, {"pa": pa, "Decimal": Decimal, "float": float})

    def __str__(self) -> str:
        return self.type


def examples() -> list[Example]:
    """All rows of the table."""
    rows = PAGE.split("## How each type arrives")[1].split("\n## ")[0]
    return [Example(kind, text, json, bool(fails), "ot in Parquet" not in words) for kind, words, text, fails, json in _ROW.findall(rows)]
