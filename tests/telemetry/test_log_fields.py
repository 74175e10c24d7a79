"""The fields of log lines: what the current task works on."""

from __future__ import annotations

import io
import json
import logging

import anyio
import pytest
import structlog

from dyff.kernel import logs
from dyff.kernel.telemetry import log_fields, trace_context

CONTEXT = trace_context.Context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
ALL = {"trace_id": CONTEXT.trace_id, "entity_id": "e", "account": "a"}


@pytest.fixture
def written():
    """What is logged, as JSON."""
    before, stream = structlog.get_config(), io.StringIO()
    logs.configure("debug", stream, "json")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.configure(**before)
    logging.basicConfig(force=True)


def fields(line: dict) -> dict:
    return {name: line[name] for name in ("trace_id", "entity_id", "account", "client") if name in line}


def test_a_line_has_what_the_task_works_on(written):
    """Ours, those of libraries, and what becomes known later; afterwards none."""
    about = log_fields.About(CONTEXT, client="1.2.3.4")
    with log_fields.during(about):
        structlog.get_logger().info("one")
        about.entity, about.account = "e", "a"
        logging.getLogger("library").warning("two")
    structlog.get_logger().info("three")
    one, two, three = map(fields, written())
    assert one == {"trace_id": CONTEXT.trace_id, "client": "1.2.3.4"}
    assert two == ALL | {"client": "1.2.3.4"}
    assert three == {}


def test_what_the_line_itself_says_counts(written):
    """A line about another entity than that of the task."""
    with log_fields.during(log_fields.About(CONTEXT, "e", "a")):
        structlog.get_logger().info("x", entity_id="other")
    assert fields(written()[0]) == ALL | {"entity_id": "other"}


async def test_each_task_has_its_own(written):
    """Tasks that run at the same time do not mix; what a task starts inherits from it."""
    ready = anyio.Event()

    async def work(name: str, last: bool) -> None:
        log_fields.begin(log_fields.About(entity=name))
        if last:
            ready.set()
        await ready.wait()
        await anyio.to_thread.run_sync(lambda: structlog.get_logger().info("x", said=name))

    async with anyio.create_task_group() as group:
        group.start_soon(work, "one", False)
        group.start_soon(work, "two", True)
    assert [line["said"] for line in written() if line["said"] != line["entity_id"]] == []
    assert log_fields.current() is None


def test_records_and_objects_name_their_entity():
    """A state by the trace of its creation, an event by its own; an object by its labels."""
    other = CONTEXT.child("1" * 16)
    headers = trace_context.to_headers(CONTEXT, trace_context.CREATION, trace_context.CREATION_STATE)
    assert log_fields.of_record(b"e", (*headers, *trace_context.to_headers(other)), "a").trace == CONTEXT
    assert log_fields.of_record(b"e", trace_context.to_headers(other)).fields() == {"trace_id": CONTEXT.trace_id, "entity_id": "e"}
    assert log_fields.of_record(b"\xff", ()).fields() == {"entity_id": "\ufffd"}
    obj = {"metadata": {"labels": {"dyff.io/id": "e", "dyff.io/account": "a"}, "annotations": trace_context.to_annotations(CONTEXT)}}
    assert log_fields.of_object(obj).fields() == ALL
    assert log_fields.of_object(None).fields() == log_fields.of_object({"metadata": {}}).fields() == {}
