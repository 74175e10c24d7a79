"""The orchestrator, with settings that do not make a test wait, and hands in its cluster."""

from __future__ import annotations

from dyff.consumers.orchestrator import role as orchestrator
from dyff.kernel import settings
from tests.roles import world

FAST = settings.Settings(orchestrator=settings.Orchestrator(resync_s=0.2))
E = [world.an_id(number) for number in range(20)]


def leading(here, given=FAST, cluster=None, **options):
    """The orchestrator, while the context lasts."""
    return world.running(orchestrator, here.bus, cluster or here.cluster, clock=here.clock, settings=given, **options)


def with_quota(**quotas):
    return settings.Settings(quotas=settings.Quotas(**quotas), orchestrator=FAST.orchestrator)
