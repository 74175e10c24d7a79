"""Items without responses, and the reasons. They are data: users find them next to the outputs, in `.dyff/errors.parquet`."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

_COLUMNS: dict[str, pa.DataType] = {
    "_index_": pa.int64(), "_replication_": pa.string(), "error": pa.string(), "status": pa.int64(), "message": pa.string(),
}  # fmt: skip
SCHEMA = pa.schema(_COLUMNS)

BAD_REQUEST = "BadRequest"
"""The service refused the item."""
INPUT_PIPELINE = "InputPipeline"
"""The item does not fit the input pipeline, so it was never sent."""
TRANSIENT_ERRORS = "TransientErrors"
"""The service answered for other items but failed every time for this one. It has no output row."""


class Failure(msgspec.Struct, frozen=True):
    """Why an item has no responses. `error`: one of the above. `status`: that of the service's answer, or None if there was none."""

    error: str
    message: str
    status: int | None = None

    def row(self, index: int, replication: str) -> dict[str, Any]:
        """Return the row to record in `errors.parquet`."""
        return {"_index_": index, "_replication_": replication, **msgspec.structs.asdict(self)}
