"""The settings ("knobs") of the evaluation client: their names, defaults, bounds and meanings, declared only here.

The request (`dyff.entities.kinds.evaluation`) and the custom resource (`dyff.entities.specs`) extend the struct below. The API and
its OpenAPI document, the CustomResourceDefinition, and what the steps read are therefore derived from it. A test compares the table
in `docs/sdk.md` with it. To add a knob, add a field here and a row there, and read the field in `dyff.workflows`.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from dyff.entities import identity

AdapterT = TypeVar("AdapterT")

_Count = Annotated[int, msgspec.Meta(ge=1, le=identity.MAX_COUNT)]
_NotNegative = Annotated[int, msgspec.Meta(ge=0, le=identity.MAX_COUNT)]


def _meaning(text: str) -> msgspec.Meta:
    """What a knob does, in Markdown, for the documentation. It is not part of the schemas."""
    return msgspec.Meta(extra={"meaning": text})


class ClientKnobs(msgspec.Struct, Generic[AdapterT], frozen=True, rename="camel"):
    """The knobs. `AdapterT`: a step of a pipeline, which has different forms in the API and in a custom resource."""

    bad_request_policy: Annotated[
        Literal["Abort", "Skip"],
        _meaning("When the service calls a request wrong (400, 422), or an item does not fit the input pipeline: end the run, or skip it"),
    ] = "Abort"
    transient_error_retry_limit: Annotated[
        _NotNegative,
        _meaning("More transient errors in a row than this end the run. Times the delay: how long a service may take to become ready"),
    ] = 120
    transient_error_retry_delay_seconds: Annotated[
        _Count,
        _meaning("The longest delay between two tries; the first is half a second, and it doubles"),
    ] = 30
    duplicate_output_policy: Annotated[
        Literal["Deduplicate", "Error", "Ignore"],
        _meaning("When an item has several outputs: keep one of them, end the run, or keep all"),
    ] = "Deduplicate"
    missing_output_policy: Annotated[
        Literal["Error", "Ignore"],
        _meaning("When items have no output: end the run as incomplete, or publish what there is"),
    ] = "Error"
    request_timeout_seconds: Annotated[
        _NotNegative,
        _meaning("The time for one request; then it counts as a transient error. 0: no limit"),
    ] = 30
    total_timeout_seconds: Annotated[
        _NotNegative,
        _meaning("The time for all requests; then the run ends as incomplete. 0: no limit but thirty days"),
    ] = 7200
    batch_size: Annotated[_Count, _meaning("The most rows in one file of raw outputs")] = 1000
    extra_options: Annotated[dict[str, identity.Text], _meaning("Options for clients other than Dyff's own, which ignores them")] = {}
    input_pipeline: Annotated[
        identity.Few[AdapterT] | None,
        _meaning("Adapters that change each item before the service's own input pipeline does. Absent: the item as it is"),
    ] = None
