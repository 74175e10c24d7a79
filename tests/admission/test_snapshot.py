"""How stored entities look to admission."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dyff.admission import snapshot
from dyff.entities import costs
from tests.roles import world

ID, OTHER = world.an_id(1), world.an_id(2)
GPU = {"kind": "GPU", "gpu": {"hardwareTypes": ["nvidia.com/gpu-t4"], "count": 2}}
HUB = {"kind": "HuggingFaceHub"}


@pytest.mark.parametrize(
    ("entity", "runs", "cost", "dependencies"),
    [
        (world.an_evaluation(ID), True, {costs.SLOT: 1, "cpu": 2, "memory": 2 * 2**30}, (world.DATASET, world.SERVICE)),
        (world.an_evaluation(ID, inferenceSessionReference=OTHER), True, {costs.SLOT: 1}, (world.DATASET, world.SERVICE)),
        (world.a_session(ID), True, {costs.SLOT: 1, "cpu": 1, "memory": 2**30}, (world.SERVICE,)),
        (world.a_session(ID, accelerator=GPU, replicas=3), True, {costs.SLOT: 1, "nvidia.com/gpu-t4": 6}, (world.SERVICE,)),
        (world.entity("Model", ID, source=HUB), True, {costs.SLOT: 1, "cpu": 1, "memory": 2**30}, ()),
        (world.entity("Model", ID, source={"kind": "Mock"}), False, {}, ()),
        (world.a_service(ID, model={"id": OTHER}), False, {}, (OTHER,)),
        (
            world.an_evaluation(ID, metadata={"preconditions": [{"id": OTHER}, {"id": world.DATASET}]}),
            True,
            {costs.SLOT: 1, "cpu": 2, "memory": 2 * 2**30},
            (world.DATASET, world.SERVICE, OTHER),
        ),
    ],
)
def test_an_entity_as_admission_sees_it(entity, runs, cost, dependencies):
    """What an entity would use and what it needs follow from its kind; what runs nothing uses nothing."""
    seen = snapshot.waiting(entity)
    assert (seen.id, seen.account, seen.created) == (ID, "acme", entity["creationTime"])
    assert (seen.runs, dict(seen.cost), seen.dependencies) == (runs, cost, dependencies)
    assert all(isinstance(amount, Decimal) for amount in seen.cost.values())


@pytest.mark.parametrize(
    "broken", [{"inferenceSession": {}}, {"dataset": ...}, {"metadata": {"preconditions": [1]}}, {"creationTime": ...}]
)
def test_an_entity_that_cannot_be_read_is_refused_with_the_field(broken):
    """What is missing or of another form raises, so that the entity can be ended with a reason."""
    entity = {key: value for key, value in {**world.an_evaluation(ID), **broken}.items() if value is not ...}
    with pytest.raises((KeyError, TypeError)):
        snapshot.waiting(entity)
