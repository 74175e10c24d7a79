"""An InferenceService is a description: it is checked, and nothing runs."""

from __future__ import annotations

import pytest

from dyff.entities import registry
from dyff.operator import plan
from tests.planning import world
from tests.planning.world import ID, World

KIND = registry.RESOURCE_BY_KIND["InferenceService"]
REQUEST = plan.Request("InferenceService", f"infer-{ID}")


@pytest.mark.parametrize(
    ("spec", "want", "reason", "words"),
    [
        ({}, "Complete", "NothingToRun", "create an InferenceSession to run it"),
        ({"nodes": 2}, "Failed", "NotSupported", "node"),
        ({"image": None}, "Failed", "NotSupported", "image"),
        ({"replicas": 0}, "Failed", "SchemaError", "replicas"),
    ],
)
def test_it_ends_at_once(spec, want, reason, words):
    """Successfully, unless no session could ever run it; its message says what is wrong or what to do next. It has no parts."""
    there = World(world.a_service(**spec)).settle()
    found = there.condition(KIND, want)
    assert (found["status"], found["reason"]) == ("True", reason)
    assert words in found["message"]
    assert there.names() == {"InferenceService infer-ID"}
    assert there.decide(REQUEST) == plan.Plan()
