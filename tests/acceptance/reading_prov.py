"""Reads a document in PROV-JSON with the package `prov`, in an environment that has it and nothing of ours.

Argument: the document. Prints how many entities and relations it has, and the value of each entity that has one, by its whole name.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def main() -> None:
    """Read it."""
    model: Any = importlib.import_module("prov.model")
    document = model.ProvDocument.deserialize(sys.argv[1], format="json")
    entities = list(document.get_records(model.ProvEntity))
    values = {each.identifier.uri: next(iter(each.value)) for each in entities if each.value}
    relations = len(list(document.get_records(model.ProvRelation)))
    json.dump({"entities": len(entities), "relations": relations, "values": values}, sys.stdout)


if __name__ == "__main__":
    main()
