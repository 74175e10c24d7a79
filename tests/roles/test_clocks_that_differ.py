"""The log's clock differs from ours by more than a command's life: everything accepted still takes effect."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dyff.bus import expiry
from dyff.consumers import informer
from dyff.consumers.orchestrator import role as orchestrator
from dyff.kernel import clock, settings
from dyff.objects import local
from tests.roles import world
from tests.roles.orchestrated import E

APART = {"ahead": timedelta(minutes=25), "behind": timedelta(minutes=-25)}


class LogClock(clock.SystemClock):
    """The clock of a broker."""

    def __init__(self, apart):
        self._apart = apart

    def now(self):
        return super().now() + self._apart


@pytest.mark.parametrize("side", APART)
@pytest.mark.parametrize("known", [True, False], ids=["difference-known", "not-known-yet"])
async def test_what_controllers_decide_takes_effect(tmp_path, side, known):
    """Admission, endings, removing and forgetting, whether the difference is known before the first command or not."""
    offset_s = APART[side].total_seconds()
    async with world.installation(tmp_path, version=2, log_clock=LogClock(APART[side])) as here:
        here.bus.clock_offset_s = lambda: offset_s if known else None
        objects = local.LocalObjects.open(tmp_path / "objects")
        given = settings.Settings(retention=settings.Retention(deleted_days=0.0, sweep_s=0.05))
        async with (
            world.running(orchestrator, here.bus, here.cluster, clock=here.clock, settings=given, objects=objects),
            world.running(informer, here.bus, here.cluster, clock=here.clock),
        ):
            await here.create(world.a_dataset(), world.a_service(), world.an_evaluation(E[1]))
            await here.until_status(E[1], "Admitted")
            await here.set_condition("Evaluation", E[1], "Complete")
            await here.until_status(E[1], "Complete")
            await here.set_status("Evaluation", E[1], "Deleted")
            await here.set_status("Dataset", world.DATASET, "Deleted")
            await world.until(lambda: here.folded.get(world.DATASET) is None and not here.folded.deleted(), what="forgetting and removing")


@pytest.mark.parametrize("side", APART)
def test_an_expiry_is_in_the_logs_clock(side):
    """With a known difference a command lives for its time there; without one it does not expire, and can be encoded."""
    now = clock.SystemClock().now()
    assert expiry.after(now, APART[side].total_seconds()) == now + APART[side] + expiry.LIFE
    assert expiry.after(now, None) == expiry.NEVER
    assert clock.parse_iso(clock.iso(expiry.NEVER)) == expiry.NEVER
