"""Documents of an ordinary form."""

from __future__ import annotations

import json

from dyff.query import port


def document(number: int, version: int = 1, **fields) -> port.Document:
    body = {
        "id": f"{number:032x}", "account": f"a{number % 3}", "status": "Complete", "creationTime": f"2026-01-01T00:00:00.{number:06}Z",
        "dataset": f"d{number % 10}", "labels": {"n": f"{number}"}, **fields,
    }  # fmt: skip
    return port.Document("evaluations", body["id"], version, json.dumps(body).encode())
