"""What the tests of the published client share."""

from __future__ import annotations

import time
from typing import Any, TypeVar

from dyff.schema import requests

from tests import waiting

T = TypeVar("T")


def given(model: type[T], **fields: Any) -> T:
    """A request as a person writes it: the published models take the JSON of their parts."""
    return model(**fields)


def evaluation_request(account, dataset, service, **more):
    """The request of an evaluation in a session of its own."""
    session = given(requests.EvaluationInferenceSessionRequest, inferenceService=service.id)
    return given(requests.EvaluationCreateRequest, account=account, dataset=dataset.id, inferenceSession=session, **more)


def changed(get, want):
    """Wait until `get()` is `want`: the published client does not say which of its writes a read must see."""
    end = time.monotonic() + 30
    while (found := get()) != want:
        assert time.monotonic() < end, found
        waiting.a_blocking_moment(0.1)
