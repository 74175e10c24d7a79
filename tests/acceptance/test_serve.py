"""`dyff serve` and the other commands, as a person uses them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time

import anyio
import apsw
import httpx
import jwt
import pytest
from dyff.client import Client

from dyff.accounts import embedded, tokens
from dyff.bus import envelope, topics
from dyff.kernel import settings
from tests import waiting
from tests.acceptance.conftest import DYFF, plain_environment, run
from tests.roles import log

pytestmark = pytest.mark.acceptance


def root_of(server) -> str:
    return server.endpoint.removesuffix("/v0")


def test_health_and_ready_describe_each_role(server):
    """Both answer without a token; each role is named with what it is doing."""
    for path in ("/health", "/ready"):
        answer = httpx.get(root_of(server) + path)
        assert (answer.status_code, answer.json()["status"], answer.json()["alive"]) == (200, "ok", True)
        assert set(answer.json()["roles"]) >= {"api", "aggregator", "sink", "orchestrator", "informer", "operator"}


def test_the_api_describes_itself(server):
    """There are an OpenAPI document and a docs page."""
    document = httpx.get(server.endpoint + "/openapi.json").json()
    assert "/v0/evaluations" in document["paths"] or "/evaluations" in document["paths"]
    assert "text/html" in httpx.get(server.endpoint + "/docs").headers["content-type"]


def test_a_second_server_on_the_same_directory_is_refused(server, dyff):
    """One server at a time uses a data directory; the message says what to do."""
    result = dyff("serve", "--data-dir", str(server.directory), "--port", "0")
    assert result.returncode == 3
    assert "in use by another Dyff server" in result.stderr
    assert "--data-dir" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_taken_port_is_a_clear_error(tmp_path, dyff):
    """The message names the port and what to do, without a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = dyff("serve", "--data-dir", str(tmp_path / "data"), "--port", port)
    assert result.returncode != 0
    last = json.loads(result.stderr.splitlines()[-1])
    assert (last["event"], port in last["reason"], "exception" in last) == ("ended", True, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_stops_cleanly(fresh, number):
    """SIGTERM, Ctrl-C and a terminal that is closed end it with exit code 0, soon, and leave no process."""
    fresh.program = DYFF
    fresh.start()
    started = time.monotonic()
    fresh._process.send_signal(number)
    assert fresh._process.wait(20) == 0
    assert time.monotonic() - started < 12
    assert fresh.processes() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_start_that_waits_stops_cleanly(fresh, number):
    """It is orderly before there are roles, too: what is open is closed, the exit code is 0, and the log says what was received."""
    fresh.start()
    assert fresh.stop() == 0
    fresh.log.write_text("")
    with contextlib.closing(sqlite3.connect(fresh.directory / "cluster.sqlite", isolation_level=None)) as locked:
        locked.execute("BEGIN EXCLUSIVE")
        arguments = [DYFF, "serve", "--data-dir", str(fresh.directory), "--port", "0"]
        with fresh.log.open("a") as log, subprocess.Popen(arguments, stderr=log, env=plain_environment()) as process:
            end = time.monotonic() + 60
            while "start: cluster" not in fresh.log.read_text():
                assert (process.poll(), time.monotonic() < end) == (None, True), fresh.log.read_text()
                time.sleep(0.05)  # real time: another process writes its log
            process.send_signal(number)
            assert process.wait(30) == 0
    (line,) = [each for each in map(json.loads, fresh.log.read_text().splitlines()) if each["event"] == "stopping"]
    assert line["signal"] == number.name
    assert fresh.processes() == []


def test_tokens_are_made_while_it_runs_and_refused_when_revoked(server, account):
    """`dyff token create` prints a token and nothing else; a revoked one is refused at once."""
    token = server.command("token", "create", "--account", account)
    assert len(token.split()) == 1
    headers = {"authorization": f"Bearer {token}"}
    assert httpx.get(server.endpoint + "/evaluations", headers=headers).status_code == 200
    import jwt

    identity = jwt.decode(token, options={"verify_signature": False})["jti"]
    server.command("token", "revoke", identity, "--account", account)
    assert httpx.get(server.endpoint + "/evaluations", headers=headers).status_code == 401


def test_no_token_reaches_the_log(server, token):
    """What a client sends as a token is nowhere in the server's log."""
    httpx.get(server.endpoint + "/evaluations", headers={"authorization": f"Bearer {token}"})
    httpx.get(server.endpoint + "/evaluations", headers={"authorization": f"Bearer {token}x"})
    assert token.split(".")[2][:20] not in server.log.read_text()


def test_an_unknown_role_is_named_with_the_known_ones(dyff, tmp_path):
    """A wrong role ends with the list of roles."""
    result = dyff("serve", "--role", "apj", "--data-dir", str(tmp_path))
    assert result.returncode == 2
    assert "aggregator" in result.stderr


def test_what_was_accepted_is_there_after_kill_9(fresh):
    """An account and its token, and the log, survive SIGKILL."""
    fresh.start()
    account = fresh.command("account", "create", "--name", "me")
    token = fresh.command("token", "create", "--account", account)
    headers = {"authorization": f"Bearer {token}"}
    body = {"account": account, "name": "mock", "artifact": {"kind": "Mock"}, "source": {"kind": "Mock"}, "resources": {"storage": "1Mi"}}
    created = httpx.post(fresh.endpoint + "/models", json=body, headers=headers)
    assert created.status_code == 201, created.text
    fresh.kill()
    fresh.start()
    end = time.monotonic() + 15
    while (model := httpx.get(f"{fresh.endpoint}/models/{created.json()['id']}", headers=headers).json()).get("status") != "Ready":
        assert time.monotonic() < end, model
        waiting.a_blocking_moment(0.05)
    assert os.path.exists(fresh.directory)


async def test_changes_of_accounts_are_in_the_log(fresh):
    """What `dyff account` and `dyff token` do, while the server runs and while it is down, reaches the log, through a SIGKILL too."""
    fresh.start()
    account = fresh.command("account", "create", "--name", "me")
    fresh.kill()
    token = fresh.command("token", "create", "--account", account)
    fresh.start()
    fresh.command("account", "suspend", account)
    outbox = apsw.Connection(str(fresh.directory / "accounts.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    end = time.monotonic() + 15
    while outbox.execute("SELECT count(*) FROM outbox").get:
        assert time.monotonic() < end, "the outbox is not emptied"
        waiting.a_blocking_moment(0.05)
    outbox.close()
    assert fresh.stop() == 0
    async with log.opened(fresh.directory / "bus.sqlite", partitions=4) as bus:
        records = await log.records(bus, topics.ACCOUNTS)
    reported = {dict(each.headers)["dyff-id"]: json.loads(each.value)["change"] for each in records}
    changes = list(reported.values())
    wanted = ["CreateAccount", "AddAccountKey", "SetAccountStatus"]
    assert sorted(wanted, key=changes.index) == wanted
    assert all(token.split(".")[2].encode() not in each.value and b"$2b$" not in each.value for each in records)


def test_a_deleted_dataset_goes_for_good(fresh, prompts, tmp_path):
    """After the retention time its files are removed and its ID is not found, also by a view that is rebuilt from the log."""
    chosen = tmp_path / "settings.yaml"
    chosen.write_text("retention: {deleted_days: 0, sweep_s: 0.2}")
    fresh.start("--config", str(chosen))
    account = fresh.command("account", "create", "--name", "me")
    token = fresh.command("token", "create", "--account", account, "--role", "Admin")
    client = Client(api_token=token, endpoint=fresh.endpoint)
    kept, gone = [client.datasets.create_arrow_dataset(prompts, account=account, name="prompts") for _ in range(2)]
    for each in (kept, gone):
        client.datasets.upload_arrow_dataset(each, prompts)
    folders = [fresh.directory / "objects" / "objects" / "datasets" / each.id for each in (kept, gone)]
    assert all(folder.is_dir() for folder in folders)
    client.datasets.delete(gone.id)

    def until_gone() -> None:
        end = time.monotonic() + 15
        headers = {"authorization": f"Bearer {token}"}
        while httpx.get(f"{fresh.endpoint}/datasets/{gone.id}", headers=headers).status_code != 404:
            assert time.monotonic() < end, "it is still found"
            waiting.a_blocking_moment(0.05)

    until_gone()
    assert [folder.is_dir() for folder in folders] == [True, False]
    assert fresh.stop() == 0
    for file in fresh.directory.glob("query.sqlite*"):
        file.unlink()
    fresh.start()
    until_gone()
    assert [each.id for each in Client(api_token=token, endpoint=fresh.endpoint).datasets.query(account=account)] == [kept.id]


async def test_a_role_that_gives_up_is_one_line(fresh):
    """A server that a role ends, here because a newer release wrote the log, says why in one line, with the exit code of that reason."""
    fresh.start()
    assert fresh.stop() == 0
    async with log.opened(fresh.directory / "bus.sqlite", partitions=4) as bus:
        marker = envelope.marker_message(9, 0)
        await bus.publish(topics.EVENTS, [marker])
    result = run("serve", "--data-dir", str(fresh.directory), "--port", "0")
    last = json.loads(result.stderr.splitlines()[-1])
    assert (result.returncode, last["exit_code"]) == (2, 2), last
    assert last["reason"].startswith("role aggregator gave up: ")
    assert "Traceback" not in result.stderr


def test_a_token_from_a_clock_that_is_ahead_is_accepted_up_to_the_setting(server, token):
    """Half of the leeway ahead is accepted, twice the leeway is refused with a message that says by how much."""

    async def secret():
        async with embedded.EmbeddedAccounts.open(server.directory / "accounts.sqlite") as accounts:
            return await accounts.signing_secret()

    key, leeway_s = anyio.run(secret), settings.Api().clock_leeway_s
    claims = jwt.decode(token, key, algorithms=[tokens.ALGORITHM])

    def answered(ahead_s):
        start = int(time.time() + ahead_s)
        ahead = jwt.encode({**claims, "iat": start, "nbf": start}, key, algorithm=tokens.ALGORITHM)
        return httpx.get(server.endpoint + "/datasets", headers={"Authorization": f"Bearer {ahead}"})

    assert answered(leeway_s / 2).status_code == 200
    refused = answered(leeway_s * 2)
    assert (refused.status_code, "ahead of this server's" in refused.text) == (401, True)
