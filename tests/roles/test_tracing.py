"""Traces through the log: what the roles record, and that nothing else depends on it."""

from __future__ import annotations

import msgspec
import pytest

from dyff.bus import envelope, port, topics
from dyff.consumers import sink
from dyff.consumers.aggregator import role as aggregator
from dyff.kernel.telemetry import trace_context, traces
from dyff.query.embedded import EmbeddedQuery
from tests.narrowing import sure
from tests.roles import log
from tests.roles.aggregated import folded
from tests.roles.test_verification import current, found, installation, verified

CREATED = trace_context.Context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "v=1")
EDITED = trace_context.Context("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


def within(command, context):
    return msgspec.structs.replace(command, trace=context)


def an_evaluation():
    return log.an_evaluation(creationTime="2026-11-25T00:00:00.000001Z")


async def test_a_state_keeps_the_trace_of_its_creation_and_has_that_of_its_last_command(bus):
    """In headers, which a replay writes byte for byte; the entity itself has nothing of it."""
    traced, plain = an_evaluation(), an_evaluation()
    async with log.running(aggregator.run, bus, clock=log.CLOCK):
        await log.publish(bus, within(log.create(traced), CREATED), log.create(plain))
        await log.publish(bus, within(log.status(traced, "Admitted"), EDITED), within(log.status(plain, "Admitted"), EDITED))
        await folded(bus)
        await log.publish(bus, log.status(traced, "Complete"))
        await folded(bus)
    of_traced = [(state.creation, state.trace) for key, state in await log.states(bus) if key == traced["id"]]
    assert of_traced == [(CREATED, CREATED), (CREATED, EDITED), (CREATED, None)]
    latest = await log.latest(bus)
    assert (latest[plain["id"]].creation, latest[plain["id"]].trace) == (None, EDITED)
    assert latest[traced["id"]].entity == traced | {
        "status": "Complete",
        "lastTransitionTime": latest[traced["id"]].entity["lastTransitionTime"],
    }


@pytest.mark.parametrize("value", [b"", b"\xff", b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01", b"x" * 100_000])
async def test_a_wrong_trace_in_the_log_changes_nothing(bus, value):
    """The command is folded as one without a trace."""
    entity = an_evaluation()
    message = envelope.command_message(log.create(entity))
    async with log.running(aggregator.run, bus, clock=log.CLOCK):
        await bus.publish(topics.EVENTS, [msgspec.structs.replace(message, headers=(*message.headers, ("traceparent", value)))])
        await folded(bus)
    state = (await log.latest(bus))[entity["id"]]
    assert (state.entity, state.trace) == (entity, None)


async def test_a_verification_does_not_compare_traces(tmp_path):
    """In an upgrade, a release that knows no traces can have folded an event that has one."""
    entity = an_evaluation()
    async with installation(tmp_path) as (bus, view):
        await log.publish(bus, within(log.create(entity), CREATED))
        await current(bus, view)
    with_trace = await verified(tmp_path)
    async with log.opened(tmp_path / "log.db") as bus:
        (record,) = [each for each in await log.records(bus, topics.STATE) if each.key == entity["id"].encode()]
        headers = trace_context.compared(record.headers)
        assert len(record.headers) - len(headers) == 4
        await bus.publish(topics.STATE, [port.Message(record.key, record.value, headers, record.partition)])
    without = await verified(tmp_path)
    assert found(with_trace) == found(without) == set()
    assert with_trace.roots == without.roots


async def test_each_command_has_a_span_in_its_trace_with_a_link_to_the_batch(bus, tmp_path):
    """Folding and writing, in the trace of the command, below the span that published it. A command of another trace links the entity's."""
    spans: list[traces.Span] = []
    tracer = traces.Tracer(spans.append)
    entity = an_evaluation()
    async with (
        EmbeddedQuery.open(tmp_path / "view.sqlite") as view,
        log.running(aggregator.run, bus, clock=log.CLOCK, tracer=tracer.of("aggregator")),
        log.running(sink.run, bus, view, tracer=tracer.of("sink")),
    ):
        await log.publish(bus, within(log.create(entity), CREATED), log.create(an_evaluation()))
        await log.publish(bus, within(log.status(entity, "Complete"), EDITED))
        await current(bus, view)
    by_name = {(each.name, each.context.trace_id): each for each in spans}
    created, edited = by_name["fold CreateEntity", CREATED.trace_id], by_name["fold UpdateEntityStatus", EDITED.trace_id]
    assert (created.parent, edited.parent) == (CREATED.span_id, EDITED.span_id)
    assert (created.attributes["dyff.outcome"], created.attributes["dyff.entity.id"]) == ("applied", entity["id"])
    assert edited.links[1] == CREATED
    life = by_name["Evaluation", CREATED.trace_id]
    assert (life.context, life.parent) == (traces.life(CREATED, entity["id"]), CREATED.span_id)
    assert (life.attributes["dyff.status"], life.start_ns) == ("Complete", traces.ns_of(entity["creationTime"]))
    batches = {each.context: each for each in spans if each.name in ("write states", "write documents")}
    for each in spans:
        if each.name.startswith(("fold", "write view")):
            begun = each.context.child(sure(each.parent)).parent
            assert trace_context.Context(begun, each.context.state) in batches[each.links[0]].links
    assert {each.attributes["dyff.role"] for each in spans} == {"aggregator", "sink"}
    assert [
        each.attributes["dyff.entity.id"] for each in spans if each.name == "write view" and each.context.trace_id == EDITED.trace_id
    ] == [entity["id"]]


async def test_the_life_of_an_entity_that_failed_is_an_error(bus):
    """With its status, its reason and its message; what has ended before does not end again."""
    spans: list[traces.Span] = []
    entity = an_evaluation()
    async with log.running(aggregator.run, bus, clock=log.CLOCK, tracer=traces.Tracer(spans.append)):
        await log.publish(bus, within(log.create(entity), CREATED))
        attributes = {"status": "Failed", "reason": "RunnerFailed", "message": "exit code 1"}
        await log.publish(bus, log.edit(entity, "UpdateEntityStatus", attributes), log.status(entity, "Deleted"))
        await folded(bus)
    (life,) = [each for each in spans if each.name == "Evaluation"]
    assert life.error == "Failed: RunnerFailed exit code 1"
    assert life.attributes["dyff.reason"] == "RunnerFailed"
