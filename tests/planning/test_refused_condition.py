"""When the condition `Refused` of a resource ends."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from dyff.cluster import conditions
from dyff.operator import plan, reasons, refusals
from tests.planning import world

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize(("ended", "want"), [(conditions.complete("Complete"), "False"), (conditions.failed("Refused", "no"), "True")])
def test_a_resource_that_completes_is_not_refused_any_more(ended, want):
    """One that fails keeps the condition, which can be why."""
    there = world.World(world.a_model())
    observed = there.observe(next(each for each in there.requests() if each.kind == "Model"))
    refused = conditions.status_patch(observed.present, {refusals.REFUSED: conditions.Condition(True, reasons.REFUSED, "no")}, NOW)
    observed = msgspec.structs.replace(observed, resource={**observed.present, "status": refused})
    decided = plan.Plan((), conditions.status_patch(observed.present, ended, NOW))
    patch = refusals.cleared(observed, decided, NOW).status_patch
    (found,) = [each for each in (patch or {})["conditions"] if each["type"] == refusals.REFUSED]
    assert found["status"] == want
