"""`dyff audit-log` and the audit log of an installed server."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time

import httpx
import pytest

from tests import waiting
from tests.acceptance.conftest import DYFF, plain_environment
from tests.acceptance.test_log_output import fill_up, parsed, until
from tests.narrowing import sure

pytestmark = pytest.mark.acceptance

MODEL = {"name": "mock", "artifact": {"kind": "Mock"}, "source": {"kind": "Mock"}, "resources": {"storage": "1Mi"}}


def entries(server, *flags: str) -> list[dict]:
    return [json.loads(line) for line in server.command("audit-log", *flags).splitlines()]


def test_what_people_and_operators_do_is_found(fresh):
    """A create, a refusal, a read of tokens and the commands are there while the server runs, each by its filters, without a secret."""
    fresh.start()
    account = fresh.command("account", "create", "--name", "me")
    token = fresh.command("token", "create", "--account", account)
    headers = {"authorization": f"Bearer {token}"}
    made = httpx.post(fresh.endpoint + "/models", json=MODEL | {"account": account}, headers=headers).json()["id"]
    httpx.put(f"{fresh.endpoint}/models/{made}/delete", headers={"authorization": f"Bearer {token}x"})
    httpx.get(f"{fresh.endpoint}/accounts/{account}/tokens", headers=headers)
    until(lambda: entries(fresh, "--action", "accounts.*"))  # a server writes a moment later, a command at once
    fresh.command("account", "suspend", account)
    httpx.get(fresh.endpoint + "/models", headers=headers)
    until(lambda: len(entries(fresh, "--action", "models.*")) == 3)
    assert [(each["action"], each["outcome"]) for each in entries(fresh)] == [
        ("server.start", "ok"),
        ("operator.account.create", "ok"),
        ("operator.token.create", "ok"),
        ("models.create", "ok"),
        ("models.delete", "refused"),
        ("accounts.list_tokens", "ok"),
        ("operator.account.suspend", "ok"),
        ("models.query", "refused"),
    ]
    (created,) = entries(fresh, "--entity", made, "--outcome", "ok")
    assert (created["account"], created["account_name"], created["kind"], created["status"]) == (account, "me", "Model", 201)
    (issued,) = entries(fresh, "--action", "operator.token.create")
    assert issued["target"] == created["token"]
    assert {each["action"] for each in entries(fresh, "--account", "me")} == {"models.create", "accounts.list_tokens"}
    assert entries(fresh, "--until", created["time"])[-1]["action"] == "operator.token.create"
    assert "me" in fresh.command("audit-log", "--table", "--action", "models.create")
    folder = fresh.directory / "audit"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert token.split(".")[1].encode() not in file.read_bytes()
        assert token.split(".")[2].encode() not in file.read_bytes()


def test_it_survives_kill_9_and_is_continued(fresh):
    """What was answered a moment before a SIGKILL is there; the next start continues the same files."""
    fresh.start()
    assert httpx.get(fresh.endpoint + "/models").status_code == 401
    until(lambda: entries(fresh, "--action", "models.query"))
    fresh.kill()
    fresh.start()
    assert fresh.stop() == 0
    found = [each["action"] for each in entries(fresh)]
    assert found == ["server.start", "models.query", "server.start", "server.stop"]


def test_following_shows_what_happens(fresh):
    """`--follow` prints a new entry while both run, and ends with its reader."""
    fresh.start()
    command = [DYFF, "audit-log", "--follow", "--action", "models.*", "--data-dir", str(fresh.directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=plain_environment()) as following:
        httpx.get(fresh.endpoint + "/models")
        assert json.loads(sure(following.stdout).readline())["action"] == "models.query"
        following.terminate()


def test_standard_output_has_it_where_that_is_set(make_server):
    """With `audit.output: stdout` it is a stream of JSON lines; no file is made, a command writes to standard error."""
    server = make_server("data", {"DYFF_AUDIT__OUTPUT": "stdout"})
    server.start()
    httpx.get(server.endpoint + "/models")
    until(lambda: "models.query" in server.out.read_text())
    created = subprocess.run(
        [DYFF, "account", "create", "--name", "me", "--data-dir", str(server.directory)],
        capture_output=True, text=True, check=True, env=plain_environment() | server.settings,
    )  # fmt: skip
    assert json.loads(created.stderr)["entity"] == created.stdout.strip()
    assert server.stop() == 0
    assert [json.loads(line)["action"] for line in server.out.read_text().splitlines()] == ["server.start", "models.query", "server.stop"]
    assert not (server.directory / "audit").exists()
    read = subprocess.run(
        [DYFF, "audit-log", "--file", str(server.out), "--outcome", "refused"], capture_output=True, text=True, check=True,
        env=plain_environment(),
    )  # fmt: skip
    assert [json.loads(line)["action"] for line in read.stdout.splitlines()] == ["models.query"]


def test_a_command_that_is_refused_makes_no_data_directory(tmp_path):
    """The audit log is not a reason to make one."""
    place = tmp_path / "data"
    subprocess.run([DYFF, "account", "create", "--name", "", "--data-dir", str(place)], capture_output=True, check=False)
    assert not place.exists()


def test_a_full_disk_stops_nothing(make_server, disk):
    """Entries wait in memory, `/ready` is degraded with the reason; when there is space, they are written and it is over."""
    server = make_server("data", {"DYFF_AUDIT__DIRECTORY": str(disk / "audit")})
    server.start()
    fill_up(disk / "ballast")
    root = server.endpoint.removesuffix("/v0")

    def troubles() -> list[str]:
        assert httpx.get(server.endpoint + "/models").status_code == 401
        answer = httpx.get(root + "/ready")
        assert answer.status_code == 200
        return [each["name"] for each in answer.json()["degraded"]]

    until(lambda: troubles() == ["audit log"])
    made = 3
    for _ in range(made):
        assert httpx.get(server.endpoint + "/datasets").status_code == 401
    os.truncate(disk / "ballast", 0)
    until(lambda: troubles() == [])
    assert server.stop() == 0
    assert len(entries(server, "--action", "datasets.query")) == made
    numbers = [each["seq"] for each in entries(server) if each["writer"] == entries(server)[0]["writer"]]
    assert numbers == list(range(1, len(numbers) + 1))
    parsed(server.log.read_text())


def test_a_folder_that_cannot_be_written_stops_nothing(make_server, tmp_path):
    """The server starts and serves, and says so."""
    (tmp_path / "file").write_text("")
    server = make_server("data", {"DYFF_AUDIT__DIRECTORY": str(tmp_path / "file" / "audit")})
    server.start()
    end = time.monotonic() + 30
    while not (found := httpx.get(server.endpoint.removesuffix("/v0") + "/ready").json()["degraded"]):
        assert time.monotonic() < end
        waiting.a_blocking_moment(0.2)
    assert [each["name"] for each in found] == ["audit log"]
    assert "Not a directory" in found[0]["reason"]
    assert server.stop() == 0
