"""Reads a Croissant document with the reader of MLCommons, in an environment that has it and nothing of ours.

Arguments: the document, and `ID=PATH` for each file that is here already. Prints errors, warnings, and the records of each record set.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """As JSON: texts of bytes, numbers of numpy, times as ISO 8601."""
    if isinstance(value, dict):
        return {key.rpartition("/")[2]: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def main() -> None:
    """Read it."""
    mlcroissant: Any = importlib.import_module("mlcroissant")

    mapping = dict(each.split("=", 1) for each in sys.argv[2:])
    dataset = mlcroissant.Dataset(jsonld=json.loads(Path(sys.argv[1]).read_text()), mapping=mapping)
    issues = dataset.metadata.ctx.issues
    records = {each.id: [plain(row) for row in dataset.records(each.id)] for each in dataset.metadata.record_sets}
    json.dump({"errors": list(issues.errors), "warnings": list(issues.warnings), "records": records}, sys.stdout)


if __name__ == "__main__":
    main()
