"""The orchestrator on an embedded log and an embedded cluster."""

from __future__ import annotations

import anyio
import pytest

from dyff.cluster import port
from dyff.consumers import informer
from dyff.consumers.common import custom_resources
from dyff.consumers.orchestrator import role as orchestrator
from dyff.entities import custom_resource, registry
from dyff.kernel import errors, liveness
from tests.roles import world
from tests.roles.instead import Instead
from tests.roles.orchestrated import FAST, E, leading, with_quota


async def test_a_run_is_reserved_then_made_then_admitted(here):
    """The reservation is in the log before anything is done, and `Admitted` means that the resource is there."""
    seen = []

    async def create(kind, obj):
        seen.append(here.said(E[1]))
        return await here.cluster.create(kind, obj)

    async with leading(here, cluster=Instead(here.cluster, create=create)):
        await here.create(world.an_evaluation(E[1]))
        await here.until_status(E[1], "Admitted")
    assert seen == [("Schedulable", None, None)]
    assert await here.reported(E[1]) == [("Schedulable", None), ("Admitted", None)]
    resource = await here.resource("Evaluation", E[1])
    assert resource["metadata"]["finalizers"] == [custom_resource.FINALIZER]
    assert resource["spec"]["dataset"] == world.DATASET


async def test_what_runs_nothing_becomes_ready(here):
    """Services and mock models are ready once their dependencies are, and have no resource; what waits for an upload is left alone."""
    async with leading(here):
        await here.create(
            world.entity("Model", E[1], source={"kind": "Mock"}),
            world.entity("Model", E[2], "WaitingForUpload", source={"kind": "Upload"}),
            world.a_service(E[3], "Created", model={"id": E[2]}),
            world.a_dataset(E[4], "WaitingForUpload"),
        )
        await here.until_status(E[1], "Ready")
        await here.until_status(E[3], "Created", "UnsatisfiedDependency")
        assert here.said(E[3])[2] == f"Waiting for Model {E[2]}"
        await here.set_status("Model", E[2], "Ready")
        await here.until_status(E[3], "Ready")
    assert here.said(E[4]) == ("WaitingForUpload", None, None)
    assert (await here.cluster.list(custom_resources.KINDS["Model"])).items == ()


async def test_dependencies_are_waited_for_and_fail_who_needs_them(here):
    """A run waits until what it needs is ready; if that fails the run fails, and so does what needs the run."""
    await here.create(world.a_dataset(E[0], "WaitingForUpload"), world.a_dataset(E[9], "WaitingForUpload"))
    async with leading(here):
        await here.create(
            world.an_evaluation(E[1], dataset=E[0]),
            world.an_evaluation(E[2], dataset=E[9]),
            world.a_session(E[3], metadata={"preconditions": [{"id": E[2]}]}),
        )
        for entity_id in E[1:4]:
            await here.until_status(entity_id, "Created", "UnsatisfiedDependency")
        await here.set_status("Dataset", E[0], "Ready")
        await here.set_status("Dataset", E[9], "Deleted")
        await here.until_status(E[1], "Admitted")
        await here.until_status(E[2], "Failed", "FailedDependency")
        await here.until_status(E[3], "Error", "FailedDependency")


async def test_a_dependency_that_does_not_exist_fails(here):
    """What refers to nothing is not left waiting for ever."""
    async with leading(here):
        await here.create(world.an_evaluation(E[1], dataset="e" * 32))
        await here.until_status(E[1], "Failed", "FailedDependency")


async def test_quota_is_given_back_when_the_pods_are_gone(here):
    """An ended run holds its slot as long as a pod of it may be running; then the next one gets it."""
    async with leading(here, with_quota(admitted=1)):
        await here.create(world.an_evaluation(E[1], born=1), world.an_evaluation(E[2], born=2), world.an_evaluation(E[3], account="other"))
        await here.until_status(E[1], "Admitted")
        await here.until_status(E[2], "Created", "QuotaLimit")
        assert here.said(E[2])[2] == "Account quota exceeded: 1/1"
        await here.until_status(E[3], "Admitted")
        await here.start_pod(E[1])
        await here.set_condition("Evaluation", E[1], "Complete")
        await here.set_status("Evaluation", E[1], "Complete")
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.3)
        assert here.said(E[2])[:2] == ("Created", "QuotaLimit")
        await here.end_pod()
        await here.until_status(E[2], "Admitted")
    assert here.said(E[2]) == ("Admitted", None, None)


async def test_what_no_quota_can_hold_fails_at_once(here):
    """Devices are counted like everything else: what fits waits its turn, what never can ends."""
    asks = [{"kind": "GPU", "gpu": {"hardwareTypes": ["nvidia.com/gpu-t4"], "count": count}} for count in (6, 4, 16)]
    async with leading(here, with_quota(accelerators={"nvidia.com/gpu-t4": 8})):
        await here.create(*(world.a_session(E[number], born=number, accelerator=asks[number - 1]) for number in (1, 2, 3)))
        await here.until_status(E[1], "Admitted")
        await here.until_status(E[2], "Created", "QuotaLimit")
        await here.until_status(E[3], "Error", "QuotaLimit")
    assert here.said(E[2])[2] == "Account quota exceeded: 6/8 nvidia.com/gpu-t4 in use, 4 more needed"


async def test_never_more_are_admitted_than_the_quota_says(here):
    """Of many that come at once exactly as many are admitted as fit, the oldest, and the others say why they wait."""
    await here.create(*(world.an_evaluation(E[number], born=20 - number) for number in range(1, 16)))
    async with leading(here, with_quota(admitted=5)):
        for number in range(11, 16):
            await here.until_status(E[number], "Admitted")
        for number in range(1, 11):
            await here.until_status(E[number], "Created", "QuotaLimit")
    assert len((await here.cluster.list(custom_resources.KINDS["Evaluation"])).items) == 5
    assert [await here.reported(E[number]) for number in range(1, 11)] == [[("Created", "QuotaLimit")]] * 10


async def test_a_new_leader_goes_on_where_the_old_one_was(here):
    """A restart neither forgets a reservation nor doubles one, and says nothing again."""
    await here.create(*(world.an_evaluation(E[number], born=number) for number in range(1, 5)))
    for _ in range(3):
        async with leading(here, with_quota(admitted=2)):
            for number, status in ((1, "Admitted"), (2, "Admitted"), (3, "Created"), (4, "Created")):
                await here.until_status(E[number], status)
            await here.until_status(E[4], "Created", "QuotaLimit")
    assert [await here.reported(E[number]) for number in range(1, 5)] == [
        *[[("Schedulable", None), ("Admitted", None)]] * 2,
        *[[("Created", "QuotaLimit")]] * 2,
    ]


async def test_what_was_reserved_before_a_crash_is_made_after_it(here):
    """A crash between the reservation and the creation loses nothing."""
    await here.create(world.an_evaluation(E[1]))
    await here.set_status("Evaluation", E[1], "Schedulable")
    async with leading(here):
        await here.until_status(E[1], "Admitted")
    assert await here.resource("Evaluation", E[1])


async def test_what_was_made_before_a_crash_is_adopted(here):
    """A crash between the creation and `Admitted` makes no second resource: the one that is there is taken."""
    await here.create(world.an_evaluation(E[1]))
    await here.set_status("Evaluation", E[1], "Schedulable")
    made = await here.cluster.create(custom_resources.KINDS["Evaluation"], registry.resource_for(world.an_evaluation(E[1])))
    async with leading(here):
        await here.until_status(E[1], "Admitted")
    assert (await here.resource("Evaluation", E[1]))["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_refused_resource_is_an_error_with_the_clusters_words(here):
    """What the cluster will never take ends with its reason, and gives its quota back."""

    async def create(kind, obj):
        if obj["metadata"]["name"] == f"eval-{E[1]}":
            raise errors.InvalidFields(errors.Problem(("spec", "dataset"), "must be blue"))
        return await here.cluster.create(kind, obj)

    async with leading(here, with_quota(admitted=1), cluster=Instead(here.cluster, create=create)):
        await here.create(world.an_evaluation(E[1], born=1), world.an_evaluation(E[2], born=2))
        await here.until_status(E[1], "Error", "AdmissionFailed")
        await here.until_status(E[2], "Admitted")
    assert await here.resource("Evaluation", E[1]) is None


async def test_an_entity_that_cannot_be_run_is_a_schema_error(here):
    """An entity without what its kind needs ends by itself and holds up nobody."""
    async with leading(here):
        await here.create(
            world.an_evaluation(E[1], inferenceSession={}), world.an_evaluation(E[2]), world.an_evaluation(E[3], dataset=None)
        )
        await here.until_status(E[1], "Failed", "SchemaError")
        await here.until_status(E[2], "Admitted")


async def test_a_cluster_that_does_not_answer_is_asked_again(here):
    """While the cluster is out of reach the reservation stands; when it is back the resource is made."""
    refusals = [errors.Unavailable()] * 3

    async def create(kind, obj):
        if refusals:
            raise refusals.pop()
        return await here.cluster.create(kind, obj)

    async with leading(here, cluster=Instead(here.cluster, create=create)):
        await here.create(world.an_evaluation(E[1]))
        await here.until_status(E[1], "Admitted")
    assert not refusals
    assert await here.reported(E[1]) == [("Schedulable", None), ("Admitted", None)]


async def test_a_reservation_counts_while_its_resource_cannot_be_created(here):
    """`Schedulable` holds quota from the log on: while the cluster does not answer, no other run gets the place."""
    answers = anyio.Event()

    async def create(kind, obj):
        if not answers.is_set():
            raise errors.Unavailable()
        return await here.cluster.create(kind, obj)

    async with leading(here, with_quota(admitted=1), cluster=Instead(here.cluster, create=create)):
        await here.create(world.an_evaluation(E[1], born=1), world.an_evaluation(E[2], born=2))
        await here.until_status(E[1], "Schedulable")
        await here.until_status(E[2], "Created", "QuotaLimit")
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.5)
        assert (here.said(E[1])[0], here.said(E[2])[:2]) == ("Schedulable", ("Created", "QuotaLimit"))
        answers.set()
        await here.until_status(E[1], "Admitted")
    assert await here.reported(E[2]) == [("Created", "QuotaLimit")]


async def test_a_late_watch_is_not_a_lost_resource(here):
    """A resource that was made but that the watch has not reported yet does not count as vanished."""

    async def watch(kind, resource_version, *, timeout_s, labels=None):
        await anyio.sleep_forever()
        yield

    async with leading(here, cluster=Instead(here.cluster, watch=watch)):
        await here.create(world.an_evaluation(E[1]))
        await here.until_status(E[1], "Admitted")
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.5)
    assert here.said(E[1]) == ("Admitted", None, None)


async def test_a_second_leader_takes_over(here):
    """A new orchestrator fences the old one, which ends when it next has something to say; nothing is said twice."""
    old_ended = anyio.Event()

    async def old(*, task_status):
        with pytest.RaisesGroup(errors.Fenced, flatten_subgroups=True):
            await orchestrator.run(here.bus, here.cluster, clock=here.clock, settings=FAST, task_status=task_status)
        old_ended.set()

    async with anyio.create_task_group() as group:
        await group.start(old)
        async with leading(here):
            await here.create(world.an_evaluation(E[1]))
            await here.until_status(E[1], "Admitted")
            with anyio.fail_after(world.DEADLINE_S):
                await old_ended.wait()
    assert await here.reported(E[1]) == [("Schedulable", None), ("Admitted", None)]


async def test_a_suspended_account_starts_nothing(here):
    """While its account is suspended a run waits and says so; afterwards it goes on."""
    suspended = {"acme"}

    async def is_suspended(account):
        return account in suspended

    async with leading(here, suspended=is_suspended):
        await here.create(world.an_evaluation(E[1]), world.an_evaluation(E[2], account="other"))
        await here.until_status(E[1], "Created", "AccountSuspended")
        await here.until_status(E[2], "Admitted")
        suspended.clear()
        await here.until_status(E[1], "Admitted")


async def test_a_suspension_between_the_reservation_and_the_start_is_obeyed(here):
    """What was let in when the orchestrator died, and whose account was suspended since, starts when that is over."""
    suspended = {"acme"}

    async def is_suspended(account):
        return account in suspended

    await here.create(world.an_evaluation(E[1], "Schedulable"))
    async with leading(here, suspended=is_suspended):
        await here.until_status(E[1], "Schedulable", "AccountSuspended")
        assert await here.resource("Evaluation", E[1]) is None
        suspended.clear()
        await here.until_status(E[1], "Admitted")
    assert await here.reported(E[1]) == [("Schedulable", "AccountSuspended"), ("Admitted", None)]


async def test_a_resource_of_someone_else_is_left_alone(here):
    """What people make by hand, with the operator alone, is no concern of the orchestrator."""
    foreign = registry.resource_for(world.an_evaluation(E[5]))
    foreign["metadata"]["finalizers"] = []
    await here.cluster.create(custom_resources.KINDS["Evaluation"], foreign)
    async with leading(here):
        await here.create(world.an_evaluation(E[1]))
        await here.until_status(E[1], "Admitted")
    assert await here.resource("Evaluation", E[5])


async def test_a_quota_that_is_no_quantity_is_reported_at_the_start(here):
    """A fault of the settings ends the process with the setting's name instead of failing every run."""
    with pytest.raises(errors.Misconfigured, match="quotas"):
        await orchestrator.run(here.bus, here.cluster, clock=here.clock, settings=with_quota(cpu="lots"))


async def test_orchestrator_and_informer_together_take_a_run_to_its_end(here):
    """From creation to the end, with the cluster's verdict, and the quota for the next."""
    async with leading(here, with_quota(admitted=1)), world.running(informer, here.bus, here.cluster, clock=here.clock):
        await here.create(*(world.an_evaluation(E[number], born=number) for number in (1, 2, 3)))
        for number in (1, 2, 3):
            await here.until_status(E[number], "Admitted")
            await here.set_condition("Evaluation", E[number], "Complete" if number != 2 else "Failed", reason="Why")
            await here.until_status(E[number], "Complete" if number != 2 else "Failed", "Why")
    assert {pod["metadata"]["name"] for pod in (await here.cluster.list(port.POD)).items} == set()


async def test_its_signs_report_a_pass_that_does_not_end(here):
    """While the cluster does not answer a creation the pass stands still; when it does, nothing waits any more."""
    signs, hanging, proceed = liveness.Signs(), anyio.Event(), anyio.Event()

    async def create(kind, obj):
        hanging.set()
        await proceed.wait()
        return await here.cluster.create(kind, obj)

    async def waiting():
        return [(sign.name, sign.mark) for sign in await signs.read() if sign.waiting is not None]

    async with leading(here, cluster=Instead(here.cluster, create=create), signs=signs):
        await here.create(world.an_evaluation(E[1]))
        with anyio.fail_after(world.DEADLINE_S):
            await hanging.wait()
        stands = await waiting()
        assert [name for name, _ in stands] == ["rounds"]
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.5)
        assert await waiting() == stands
        proceed.set()
        await here.until_status(E[1], "Admitted")
        await world.until(lambda: _is_idle(waiting), what="an end of the pass")
    assert {"rounds", "watch of Pod", "watch of Evaluation", "mirror of dyff.workflows.state/0"} <= {
        each.name for each in await signs.read()
    }


async def _is_idle(waiting):
    return not await waiting()
