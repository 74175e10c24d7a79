"""What is granted to each role is what it does: a role that does more fails here, not in someone's cluster."""

from __future__ import annotations

import functools
from typing import Any

import anyio
import pytest

from dyff.cluster import port
from dyff.consumers import informer
from dyff.consumers.orchestrator import role as orchestrator
from dyff.kernel import settings
from dyff.serve import roles
from tests.planning import world as planned
from tests.roles import operated, world

FAST = settings.Settings(orchestrator=settings.Orchestrator(resync_s=0.2, finished_retention_s=0.2))
VERBS = {"create": "create", "get": "get", "list": "list", "watch": "watch", "replace": "update", "patch": "patch", "delete": "delete"}
ID = world.an_id(1)


class Permitted:
    """The cluster as a role's service account may use it. `used`: what it did use; `refused`: what it must not."""

    def __init__(self, real: port.Cluster, role: str):
        self._real = real
        self.used: set[Any] = set()
        self.refused: set[Any] = set()
        (row,) = roles.parse(role)
        self.granted = {(each.group, resource, verb) for each in row.granted for resource in each.resources for verb in each.verbs}

    def __getattr__(self, name):
        verb = getattr(self._real, name)
        if name in ("logs", "follow"):
            return functools.partial(self._recorded, verb, [("", "pods", "get"), ("", "pods/log", "get")])
        if name in ("service_url", "pod_service_url"):
            return functools.partial(self._recorded, verb, [("", "services", "get")])
        return functools.partial(self._call, name, verb) if name in VERBS else verb

    def _call(self, name, verb, kind, *args, **kwargs):
        resource = kind.plural + ("/status" if kwargs.get("status") else "")
        return self._recorded(verb, [(kind.api_version.rpartition("/")[0], resource, VERBS[name])], kind, *args, **kwargs)

    def _recorded(self, verb, needed, *args, **kwargs):
        self.used |= set(needed)
        self.refused |= set(needed) - self.granted
        return verb(*args, **kwargs)


async def test_orchestrator_and_informer_do_what_they_may(tmp_path):
    """A run from its admission to the end of its resource."""
    async with world.installation(tmp_path) as here:
        leads, informs = Permitted(here.cluster, "orchestrator"), Permitted(here.cluster, "informer")
        async with (
            world.running(orchestrator, here.bus, leads, clock=here.clock, settings=FAST),
            world.running(informer, here.bus, informs, clock=here.clock),
        ):
            await here.create(world.a_dataset(), world.a_service(), world.an_evaluation(ID))
            await here.until_status(ID, "Admitted")
            await here.set_condition("Evaluation", ID, "Complete")
            await here.until_status(ID, "Complete")

            async def gone():
                return await here.resource("Evaluation", ID) is None

            await world.until(gone, what="the end of the resource")
    assert (leads.refused, informs.refused) == (set(), set())
    assert {verb for _, resource, verb in leads.used if resource == "evaluations"} >= {"list", "watch", "create", "patch", "delete"}


@pytest.mark.parametrize("made", [planned.an_evaluation, planned.a_session, planned.a_model])
async def test_the_operator_does_what_it_may(tmp_path, made):
    """A run of each kind to its end, and its deletion, on a cluster whose pods fail where they can."""
    async with operated.embedded(tmp_path) as cluster, operated.Operated.open(cluster) as there:
        permitted = Permitted(cluster, "operator")
        there.kubelet.plays.update(infer=1, client=1, fetch=1)
        async with there.operator(permitted, session_start_deadline_s=0.5):
            created = await there.create(made())
            kind = planned.table.BY_KIND[created["kind"]].kind

            async def ended():
                return planned.conditions.finished(await cluster.get(kind, created["metadata"]["name"]))

            await there.until("the end", ended)
            await cluster.patch(kind, created["metadata"]["name"], {"metadata": {"finalizers": []}})
            await cluster.delete(kind, created["metadata"]["name"])

            async def gone():
                return not await there.everything(planned.ID)

            with anyio.fail_after(30):
                await there.until("the end of everything", gone)
    assert permitted.refused == set()
