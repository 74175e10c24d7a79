"""Values that no generator makes up from a schema, for `schemathesis run` (schemathesis.toml). Runs in an environment of its own."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Serialised Arrow schemas are taken from the examples in the document."""
    examples = raw_schema["components"]["schemas"]["DataSchema"]["properties"]["arrowSchema"]["examples"]
    schemathesis.openapi.format("arrow-schema", st.sampled_from(examples))
