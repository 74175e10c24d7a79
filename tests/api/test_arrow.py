"""Arrow schemas of requests are read in bounded programs: the server survives every schema and never reads one itself."""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
from collections import OrderedDict

import pyarrow as pa
import pytest

from dyff.api import arrow, programs
from dyff.kernel import errors
from tests.entities import bodies


@pytest.fixture
async def schemas(monkeypatch):
    """With nothing cached."""
    monkeypatch.setattr(arrow, "_known", OrderedDict())
    subject = arrow.Schemas()
    yield subject
    await subject.close()


async def verdict(schemas, schema):
    text = schema if isinstance(schema, str) else bodies.arrow(schema)
    found = (await schemas.verdicts([text]))[text]
    return found.problem, found.as_rows


async def test_the_verdict_is_what_arrow_says(schemas):
    """No schema at all; a schema without the column, with another type, with the right one."""
    for text in ("", "no base64", base64.b64encode(b"no schema").decode(), base64.b64encode(b"\xff" * 100).decode()):
        assert await verdict(schemas, text) == (arrow._INVALID, arrow._INVALID)
    for fields in ([], [("a", pa.string())], [("_index_", pa.int32())], [("_index_", pa.list_(pa.int64()))]):
        assert await verdict(schemas, pa.schema(fields)) == (None, arrow._NO_INDEX)
    assert await verdict(schemas, pa.schema([("_index_", pa.int64()), ("x", pa.map_(pa.string(), pa.float64()))])) == (None, None)


async def test_broken_schemas_are_only_broken_schemas(schemas):
    """Changed and cut bytes get the verdict that Arrow gives, or end a program that is replaced."""
    given = pa.schema([("_index_", pa.int64()), ("x", pa.struct([("y", pa.list_(pa.timestamp("us", "UTC")))]))]).serialize().to_pybytes()
    chance = random.Random(7)
    for _ in range(200):
        changed = bytearray(given[: chance.choice([len(given), chance.randrange(len(given))])])
        for _ in range(chance.randrange(4)):
            if changed:
                changed[chance.randrange(len(changed))] = chance.randrange(256)
        await verdict(schemas, base64.b64encode(changed).decode())
    assert await verdict(schemas, pa.schema([("_index_", pa.int64())])) == (None, None)


async def test_programs_are_kept_and_results_cached(schemas, monkeypatch):
    """One program answers all, and a schema that was read once needs none."""
    started = []
    start = programs.start

    async def counted(*given):
        started.append(given)
        return await start(*given)

    monkeypatch.setattr(programs, "start", counted)
    await schemas.warm()
    for name in ("a", "b", "a"):
        await verdict(schemas, pa.schema([(name, pa.int64())]))
    assert len(started) == 1
    await schemas.close()
    await verdict(schemas, pa.schema([("a", pa.int64())]))
    assert len(started) == 1


READY = "import os, sys, time; print('ready', flush=True); sys.stdin.buffer.read(9); "
PROGRAMS = {
    "crashes": "os.abort()",
    "never answers": "time.sleep(1000)",
    "floods": "sys.stdout.write('x' * 10**8)",
    "lies": "print('[]', flush=True)",
}


@pytest.mark.parametrize("case", PROGRAMS)
async def test_a_program_that_a_schema_has_taken_over_is_ended(schemas, monkeypatch, case):
    """It costs the schema, within a bounded time, and is not remembered; the next schema gets a new program."""
    real = arrow._PROGRAM
    monkeypatch.setattr(arrow, "_PROGRAM", [sys.executable, "-I", "-c", READY + PROGRAMS[case]])
    monkeypatch.setattr(arrow, "ANSWER_S", 1.0)
    assert "more memory or time than is allowed" in (await verdict(schemas, pa.schema([("a", pa.int64())])))[0]
    monkeypatch.setattr(arrow, "_PROGRAM", real)
    monkeypatch.setattr(arrow, "ANSWER_S", 20.0)
    assert await verdict(schemas, pa.schema([("a", pa.int64())])) == (None, arrow._NO_INDEX)


async def test_a_program_that_dies_is_replaced(schemas):
    """A schema does not pay for an earlier one."""
    await schemas.warm()
    (program,) = schemas._idle
    program._process.kill()
    await program._process.wait()
    assert await verdict(schemas, pa.schema([("a", pa.int64())])) == (None, arrow._NO_INDEX)


async def test_without_programs_nothing_is_known(schemas, monkeypatch):
    """A create is a 503 that can be repeated; at the start of the server a missing program is only logged."""
    monkeypatch.setattr(arrow, "_PROGRAM", ["/nowhere/python"])
    await schemas.warm()
    with pytest.raises(errors.Unavailable):
        await verdict(schemas, pa.schema([("a", pa.int64())]))


def test_the_server_does_not_load_arrow():
    """Neither the API nor its role imports it, so no schema can be read there."""
    code = "import sys, dyff.api.role, dyff.serve.roles; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=False).returncode == 0
