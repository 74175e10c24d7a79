"""Items without responses, and the reasons. They are data: users find them next to the outputs, in `.dyff/errors.parquet`."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

_COLUMNS: dict[str, pa.DataType] = {
    "_index_": pa.int64(), "_replication_": pa.string(), "error": pa.string(), "status": pa.int64(), "message": pa.string(),
    "received": pa.string(),
}  # fmt: skip
SCHEMA = pa.schema(_COLUMNS)

BAD_REQUEST = "BadRequest"
"""The service refused the item."""
INPUT_PIPELINE = "InputPipeline"
"""The item does not fit the input pipeline, so it was never sent."""
INPUT_VALUE = "InputValue"
"""The item has a value that cannot be sent exactly, or is too large, so it was never sent. It has no output row."""
TRANSIENT_ERRORS = "TransientErrors"
"""The service answered for other items but failed every time for this one. It has no output row."""

UNFIT_ANSWER = "UnfitAnswer"
"""The service's answers could not be read, or did not fit the output pipeline or the output schema. It has no output row."""
REFUSED = "Refused"
"""The service answered as if the endpoint were wrong or not allowed, although it served other items. It has no output row."""

_GIVEN_UP = frozenset({INPUT_VALUE, TRANSIENT_ERRORS, UNFIT_ANSWER, REFUSED})


class Failure(msgspec.Struct, frozen=True):
    """Why an item has no responses.

    `error`: one of the above. `status`: that of the service's answer, or None if there was none. `received`: the beginning of that
    answer as text; None if there was none, or if the message has it.
    """

    error: str
    message: str
    status: int | None = None
    received: str | None = None

    @property
    def is_given_up(self) -> bool:
        """Whether the item has no output row, so that it counts as missing."""
        return self.error in _GIVEN_UP

    def row(self, index: int, replication: str) -> dict[str, Any]:
        """Return the row to record in `errors.parquet`."""
        message = self.message.encode(errors="backslashreplace").decode()
        return {"_index_": index, "_replication_": replication, **msgspec.structs.asdict(self), "message": message}
