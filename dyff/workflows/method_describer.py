"""Says what a function with the published decorator declares. `dyff method` copies this file next to the code, and runs it in the sandbox.

It imports nothing of Dyff: it runs in the environment of analyses.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from typing import Any

REQUEST = "request.json"
"""The file with the request, in the folder of the output."""


def describe(arguments: dict[str, str]) -> Iterator[Any]:
    """Write the request that the decorator makes, and yield no rows. `arguments`: `name`, of the function, with dots.

    Raises:
        TypeError: the function does not have the decorator.
    """
    import pyarrow

    module, _, name = arguments["name"].rpartition(".")
    found = getattr(importlib.import_module(module), name)
    if not hasattr(found, "create_request"):
        raise TypeError(f"{name} does not have the decorator 'method' of dyff.schema.annotations")
    made = found.create_request(account="account", modules=["module"]).model_dump_json(by_alias=True, exclude_none=True)
    with open(os.environ["DYFF_AUDIT_ANALYSIS_CONFIG_FILE"]) as file:
        own = json.load(file)["spec"]["id"]
    with open(os.path.join(os.environ["DYFF_AUDIT_LOCAL_STORAGE_ROOT"], own, REQUEST), "w") as file:
        file.write(made)
    yield pyarrow.record_batch([pyarrow.array([], pyarrow.int64())], names=["nothing"])
