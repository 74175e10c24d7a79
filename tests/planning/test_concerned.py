"""Whose look a change deserves."""

from __future__ import annotations

import pytest

from dyff.cluster import port
from dyff.operator import plan
from dyff.operator.kinds import table
from tests import kinds
from tests.planning import world
from tests.planning.world import ID, World

EVALUATION = plan.Request("Evaluation", f"eval-{ID}")
SESSION = plan.Request("InferenceSession", f"eval-{ID}-infer")


@pytest.fixture
def there():
    """An evaluation whose session and client run."""
    there = World(world.an_evaluation()).settle().serve()
    there.run_pod(port.JOB, f"eval-{ID}-client")
    there.run_pod(port.DEPLOYMENT, f"eval-{ID}-infer")
    return there


@pytest.mark.parametrize(
    ("kind", "name", "want"),
    [
        (kinds.EVALUATION, f"eval-{ID}", (EVALUATION,)),
        (kinds.INFERENCE_SESSION, f"eval-{ID}-infer", (SESSION, EVALUATION)),
        (port.JOB, f"eval-{ID}-client", (EVALUATION,)),
        (port.CONFIG_MAP, f"eval-{ID}-client", (EVALUATION,)),
        (port.DEPLOYMENT, f"eval-{ID}-infer", (SESSION,)),
        (port.SERVICE, f"eval-{ID}-infer", (SESSION,)),
    ],
    ids=lambda value: value.kind if isinstance(value, port.Kind) else "",
)
def test_a_part_concerns_its_owner(there, kind, name, want):
    """A change of a part is a reason to look at the resource that it belongs to; of a resource, also at itself."""
    assert table.concerned(there.get(kind, name)) == want


@pytest.mark.parametrize(("component", "want"), [("client", EVALUATION), ("infer", SESSION)])
def test_a_pod_concerns_the_resource_that_it_names(there, component, want):
    """A pod's owner is a Job or a ReplicaSet, so it names the resource itself."""
    [pod] = there.pods(component)
    assert table.concerned(pod) == (want,)


def test_what_is_not_ours_concerns_nobody():
    """Objects of others are ignored."""
    meta = {"name": "web", "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "uid": "1", "controller": True}]}
    assert table.concerned({"kind": "Pod", "metadata": meta}) == ()
    assert table.concerned({"kind": "Job", "metadata": {"name": "backup"}}) == ()
