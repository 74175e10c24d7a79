"""Waiting for what was created, with both clients."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import anyio
import httpx
import pytest

from dyff.sdk import AsyncClient, errors
from tests.narrowing import sure
from tests.sdk.conftest import got

MODEL = {
    "id": "a" * 32,
    "account": "me",
    "kind": "Model",
    "status": "Ready",
    "name": "m",
    "artifact": {"kind": "Mock"},
    "source": {"kind": "Mock"},
}
RETRIED = "trying again at 12:00: item 3, which has failed 4 times; the last time: status 500"
SESSION = {
    "id": "a" * 32,
    "account": "me",
    "kind": "InferenceSession",
    "status": "Admitted",
    "inferenceService": {
        "id": "b" * 32,
        "account": "me",
        "name": "mock",
        "interface": {"endpoint": "v1/completions", "outputSchema": {}},
    },
}


def a_session(ready, **session):
    """A server with one session; `ready`: what it says each time that it is asked."""
    answers = iter(ready)

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/ready"):
            answer = next(answers)
            return httpx.Response(200 if answer else 202, json={"ready": answer})
        if request.url.path.endswith("/progress"):
            return httpx.Response(404, json={"detail": "nothing is known"})
        return httpx.Response(200, json={**SESSION, **session})

    return handler


async def test_waiting_for_a_session_is_over_when_it_answers_inference(connect):
    """A session runs until it is ended, so its end is not what anybody waits for."""
    client = connect(a_session([False, False, True]))
    assert (await got(client.inferencesessions.wait("a" * 32, timeout_s=20.0, progress=False))).status == "Admitted"


async def test_waiting_for_a_session_that_has_ended_fails(connect):
    """One that has ended will never be ready, and the error says why it ended."""
    client = connect(a_session([False], status="Terminated", reason="Expired"))
    with pytest.raises(errors.WorkflowFailed, match="Expired"):
        await got(client.inferencesessions.wait("a" * 32, progress=False))


async def test_a_session_that_is_late_goes_on(connect):
    """The time is over, not the session."""
    client = connect(a_session(iter(lambda: False, None)))
    with pytest.raises(errors.WaitTimeout, match="it continues"):
        await got(client.inferencesessions.wait("a" * 32, timeout_s=0.1, progress=False))


async def test_a_wait_ends_with_the_reason_of_a_failure(connect):
    """A workflow that failed raises with its status, reason and message."""
    failed = {**MODEL, "status": "Error", "reason": "FetchFailed", "message": "no such repository"}
    client = connect(lambda request: httpx.Response(200, json=failed))
    with pytest.raises(errors.WorkflowFailed, match=r"ended as Error \(FetchFailed\): no such repository"):
        await got(client.models.wait("a" * 32, progress=False))


async def test_a_wait_that_is_over_says_what_the_workflow_waits_for(connect):
    """A time-out names the status, the reason and the message."""
    waiting = {**MODEL, "status": "Created", "reason": "QuotaLimit", "message": "Account quota exceeded: 8/8"}
    client = connect(lambda request: httpx.Response(200, json=waiting))
    with pytest.raises(errors.WaitTimeout, match="still Created after 0 s, QuotaLimit: Account quota exceeded: 8/8"):
        await got(client.models.wait("a" * 32, timeout_s=0, progress=False))


@pytest.mark.parametrize("reported", ["it runs", RETRIED])
async def test_a_wait_that_is_over_says_what_is_being_retried(connect, reported):
    """The status does not have it: the progress of the run does. Nothing is said twice."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/progress"):
            return httpx.Response(200, json={"stage": "Inference", "message": RETRIED})
        return httpx.Response(200, json={**MODEL, "status": "Admitted", "reason": "Running", "message": reported})

    with pytest.raises(errors.WaitTimeout) as caught:
        await got(connect(handler).models.wait("a" * 32, timeout_s=0, progress=False))
    assert ("Running: it runs; " in str(caught.value), str(caught.value).count(RETRIED)) == (reported == "it runs", 1)


@pytest.mark.parametrize("wanted", [True, False])
async def test_progress_is_lines_elsewhere_and_nothing_when_asked(connect, capsys, wanted):
    """Where output is no terminal, a wait writes a line for each new stage; silent means silent."""
    statuses = iter(["Created", "Admitted", "Ready"])

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/progress"):
            return httpx.Response(200, json={"stage": "fetch", "done": 3, "total": 10, "rate": 2.0})
        return httpx.Response(200, json={**MODEL, "status": next(statuses)})

    await got(connect(handler).models.wait("a" * 32, progress=wanted))
    lines = capsys.readouterr().out.splitlines()
    want = [
        "  Created, fetch: 3 of 10 items, 2.0 items/s, 4 s left",
        "  Admitted, fetch: 3 of 10 items, 2.0 items/s, 4 s left",
        "  Ready",
    ]
    assert lines == (want if wanted else [])


async def test_a_wait_shows_what_the_run_waits_for(connect, capsys):
    """A pause or a retry that the progress reports is part of the line."""
    statuses = iter(["Admitted", "Ready"])

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/progress"):
            return httpx.Response(200, json={"stage": "Inference", "done": 3, "total": 10, "rate": 0.0, "message": "no calls until noon"})
        return httpx.Response(200, json={**MODEL, "status": next(statuses)})

    await got(connect(handler).models.wait("a" * 32))
    assert capsys.readouterr().out.splitlines()[0] == "  Admitted, Inference: 3 of 10 items; no calls until noon"


@pytest.mark.parametrize("known", [True, False])
async def test_a_wait_shows_what_keeps_a_run_from_starting(connect, capsys, known):
    """Quota, a dependency, a pod or an image: reason and message of the status, whether or not the server knows a progress."""
    waiting = {"status": "Created", "reason": "QuotaLimit", "message": "Account quota\nexceeded: 8/8"}
    states = iter([waiting, {"status": "Ready"}])

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/progress"):
            return httpx.Response(200 if known else 404, json={"stage": "Created", "done": None, "total": None, "rate": None})
        return httpx.Response(200, json={**MODEL, **next(states)})

    await got(connect(handler).models.wait("a" * 32))
    assert capsys.readouterr().out.splitlines() == ["  Created, QuotaLimit; Account quota exceeded: 8/8", "  Ready"]


async def test_a_run_that_makes_progress_says_no_more(connect, capsys):
    """The message of the status is noise while items are done."""
    states = iter([{"status": "Admitted", "reason": "Inference", "message": "the client is running"}, {"status": "Ready"}])

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/progress"):
            return httpx.Response(200, json={"stage": "Inference", "done": 3, "total": 10, "rate": 2.0})
        return httpx.Response(200, json={**MODEL, **next(states)})

    await got(connect(handler).models.wait("a" * 32))
    assert capsys.readouterr().out.splitlines()[0] == "  Admitted, Inference: 3 of 10 items, 2.0 items/s, 4 s left"


LINE = f"  no longer waiting; Model {'a' * 32} continues: client.models.wait({'a' * 32!r}) waits again"
SCRIPT = """
import httpx, json, sys
from dyff.sdk import Client
entity = json.loads(sys.argv[1])
asked = []
def handler(request):
    asked.append(request.method)
    if len(asked) == 3:
        print("waiting", flush=True)
    return httpx.Response(200, json={} if request.url.path.endswith("progress") else entity)
client = Client(endpoint="http://server/v0", api_token="t", http=httpx.MockTransport(handler))
try:
    client.models.wait(entity["id"])
except KeyboardInterrupt:
    print("interrupted", set(asked))
"""


def test_ctrl_c_ends_the_waiting_only(as_in_a_terminal):
    """Ctrl-C is a KeyboardInterrupt as ever; a line says that the run goes on; nothing but reads was sent."""
    entity = json.dumps({**MODEL, "status": "Created"})
    with subprocess.Popen([sys.executable, "-c", SCRIPT, entity], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in sure(process.stdout):
            if "waiting" in line:
                break
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert out.splitlines()[-2:] == [LINE, "interrupted {'GET'}"]
    assert err == ""


async def test_a_cancelled_wait_ends_at_once(capsys):
    """On an event loop, too, a wait that is cancelled says that the run goes on."""
    handler = httpx.MockTransport(lambda request: httpx.Response(200, json={**MODEL, "status": "Created"}))
    async with AsyncClient(endpoint="http://server/v0", api_token="t", http=handler) as client:
        with anyio.move_on_after(0.1) as scope:
            await client.models.wait("a" * 32)
    assert scope.cancelled_caught
    assert LINE in capsys.readouterr().out.splitlines()
