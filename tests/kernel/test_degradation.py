"""Troubles: what is reported, for how long, and what may end a server."""

from __future__ import annotations

import itertools

import anyio
import pytest

from dyff.kernel import degradation, errors


@pytest.fixture
def troubles():
    return degradation.Troubles()


def test_a_trouble_keeps_its_beginning_until_it_is_over(troubles):
    """Reported again, it has the new reason and the old time; once cleared, it begins again."""
    troubles.report("sweep", "refused")
    (first,) = troubles.current()
    troubles.report("sweep", "refused again")
    troubles.report("backup", "no space")
    found = {each.name: each for each in troubles.current()}
    assert (found["sweep"].since, found["sweep"].reason, found["sweep"].times) == (first.since, "refused again", 2)
    troubles.clear("sweep")
    troubles.clear("sweep")
    assert [each["name"] for each in troubles.reported()] == ["backup"]
    troubles.report("sweep", "refused")
    assert next(each for each in troubles.current() if each.name == "sweep").times == 1


ENDINGS = {
    "a diverged log": (errors.LogDiverged(), True, True),
    "a newer schema": (errors.NewerSchema(), True, True),
    "a disk that failed in a write": (errors.DiskFailed(), True, True),
    "wrong settings at the first start": (errors.Misconfigured(), False, True),
    "credentials that are refused later": (errors.Misconfigured(), True, False),
    "a backend that is away": (errors.Unavailable(), False, False),
    "an unknown outcome": (errors.OutcomeUnknown(), True, False),
    "an error of the file system": (PermissionError(), True, False),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_only_what_makes_serving_wrong_ends_a_running_server(name):
    """The case's name is the rule."""
    problem, was_ready, ends = ENDINGS[name]
    assert degradation.ends_server(problem, was_ready=was_ready) is ends


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    "problem", [errors.Misconfigured("refused"), errors.Unavailable("away"), OSError("no"), ZeroDivisionError("a bug")]
)
async def test_maintenance_that_fails_is_reported_and_tried_again_with_growing_delays(troubles, problem):
    """Whatever it raises: it is tried again ever more rarely, and once it succeeds, the trouble is over."""
    at: list[float] = []
    healthy = False

    async def act():
        at.append(anyio.current_time())
        if not healthy:
            raise type(problem)(*problem.args)

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: degradation.keep_doing(act, name="upkeep", every_s=10.0, troubles=troubles))
        await anyio.sleep(3000)
        (trouble,) = troubles.reported()
        assert trouble["name"] == "upkeep"
        assert trouble["times"] == len(at)
        assert trouble["reason"] in str(problem)
        pauses = [later - earlier for earlier, later in itertools.pairwise(at)]
        assert pauses[0] <= degradation.RETRY_FIRST_S
        assert max(pauses) <= degradation.RETRY_CEILING_S
        assert pauses[-1] > 20 * pauses[0]
        healthy = True
        await anyio.sleep(2 * degradation.RETRY_CEILING_S)
        assert troubles.current() == []
        assert at[-1] - at[-2] == pytest.approx(10.0)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("problem", [errors.LogDiverged("lost its end"), errors.Fenced("another leads")])
async def test_maintenance_passes_on_what_ends_the_server_and_what_the_caller_names(troubles, problem):
    """A diverged log is no trouble to work around, and neither is what restarts the role."""

    async def act():
        raise problem

    with pytest.raises(type(problem)):
        await degradation.keep_doing(act, name="upkeep", every_s=10.0, troubles=troubles, raised=(errors.Fenced,))
    assert troubles.current() == []
