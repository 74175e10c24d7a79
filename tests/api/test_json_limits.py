"""Hostile JSON is refused before it is decoded, and its cost is bounded; what is in strings does not count."""

from __future__ import annotations

import json
import time

import pytest

from dyff.api import json_limits
from tests.entities import bodies
from tests.narrowing import sure

MANY = json_limits.MAX_VALUES + 1
REFUSED = {
    "lists": b"[" + b",".join([b"[]"] * MANY) + b"]",
    "objects": b'{"a":' * MANY + b"1" + b"}" * MANY,
    "numbers": b"[" + b",".join([b"1"] * MANY) + b"]",
    "exponents": b"[" + b",".join([b"1e308"] * 2000) + b"]",
    "negative exponents": b"[" + b",".join([b"5E-324"] * 2000) + b"]",
    "digits": b"[" + b",".join([b"0.12345678901234567890123"] * 2000) + b"]",
    "strings and values": b"[" + b",".join([b'"\\\\\\"",[]'] * MANY) + b"]",
    "after an escape": b'["\\\\",' + b",".join([b"1e308"] * 2000) + b"]",
}
ACCEPTED = {
    "a dataset of 10,000 files": json.dumps([{"path": f"x/{n}", "kind": "k", "digest": {"md5": "a" * 24}} for n in range(10_000)]).encode(),
    "a text": json.dumps(["[{,1e308" * 200_000]).encode(),
    "a text with escapes": json.dumps(['\\"[,1e308' * 200_000]).encode(),
    "hexadecimal digits": json.dumps(["1e308123456789012345678901234567890"] * 20_000).encode(),
    "ordinary numbers": json.dumps([n / 7.0 for n in range(900)] + [n / 8 for n in range(50_000)]).encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("case", REFUSED)
def test_costly_json_is_refused(case):
    """Too many values, or too many numbers that are slow to decode."""
    assert "has more than" in sure(json_limits.problem(REFUSED[case]))


@pytest.mark.parametrize("case", ACCEPTED)
def test_large_json_that_is_cheap_may_be_decoded(case):
    """Long texts and many files are no attack."""
    assert json_limits.problem(ACCEPTED[case]) is None


HEAVY = {
    "quotes": b'"' * 10**7,
    "backslashes": b"\\" * 10**7,
    "escapes": b'["' + b'\\"' * (5 * 10**6) + b"," * 300_000,
    "exponents": b"1e308," * 10**6,
}


@pytest.mark.parametrize("case", HEAVY)
def test_the_check_itself_is_cheap(case):
    """Less than decoding ten megabytes may take, whatever they are."""
    begun = time.process_time()
    json_limits.problem(HEAVY[case])
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("case", ["exponents", "digits"])
@pytest.mark.asyncio(loop_scope="module")
async def test_requests_are_limited(shared_api, case):
    """In bodies a 422, in parameters of a query a 400; each says what is too much."""
    body = bodies.DATASET | {"schema": bodies.DATASET["schema"] | {"jsonSchema": {"a": 0}}}
    text = json.dumps(body).encode().replace(b'{"a": 0}', b'{"a": %b}' % REFUSED[case])
    response = await shared_api.post("/v0/datasets", content=text)
    assert (response.status_code, "has more than 1000 numbers" in response.text) == (422, True)
    response = await shared_api.get("/v0/datasets", params={"query": REFUSED[case].decode()})
    assert (response.status_code, "has more than 1000 numbers" in response.text) == (400, True)
