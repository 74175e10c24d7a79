"""`dyff migrate`, and who starts on what: through the installed command, as an operator uses it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import apsw
import httpx
import pytest

from dyff.bus import topics
from dyff.bus.embedded import EmbeddedBus
from dyff.bus.kafka import Connection, KafkaBus
from dyff.bus.schema import BusStore
from dyff.kernel import clock, errors, ids, mongo, schema
from dyff.kernel.schema_mongo import MongoStore
from dyff.kernel.schema_sqlite import SqliteStore
from tests.acceptance.conftest import DYFF, plain_environment
from tests.acceptance.deployment import Process, engines

pytestmark = pytest.mark.acceptance

OLD = Path(__file__).parents[1] / "histories" / "0.1.0" / "data"
OLD_ACCOUNT, OLD_DATASET = "9b3e4f7560a1478a8f785056df3c80c3", "0229bb21c376499fa3a048898c02756c"
WITH_API = "api,orchestrator,informer,operator"
"""One process has all roles that use the local cluster."""

KILLED_AFTER_S = (0.35, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0, 1.2)
"""From before anything was done until after all was."""


class Installation:
    """A folder, settings, and the command on both."""

    def __init__(self, folder: Path, settings: dict[str, str], stores: list[str]) -> None:
        self.folder, self.settings, self.stores = folder, settings | {"DYFF_DATA_DIR": str(folder / "data")}, stores

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        environment = plain_environment() | self.settings
        return subprocess.Popen([DYFF, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        process = self.begin(*arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def output(self, *arguments: str) -> str:
        code, out, err = self.run(*arguments)
        assert code == 0, err
        return out

    def kill_in_the_middle(self, after_s: float, *arguments: str) -> None:
        process = self.begin(*arguments)
        try:
            process.communicate(timeout=after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def done(self) -> list[str]:
        """The stores that have gone through the first step, as `status` tells."""
        lines = [line.split() for line in self.output("migrate", "status").splitlines()]
        return sorted(words[0] for words in lines if words[1:3] == ["done", "0001_baseline.pre"])

    def record(self, name: str, store: str) -> None:
        """What a newer release would record in one store."""
        anyio.run(self._record, schema.Step(name, "", _nothing), store)

    async def _record(self, step: schema.Step, store: str) -> None:
        at = "2030-01-01T00:00:00.000000Z"
        if store == "accounts:sqlite":
            sync = schema.Step(step.name, "", lambda _: None)
            await SqliteStore(store, self.folder / "data" / "accounts.sqlite").apply(sync, at, "9.0.0")
        elif store == "bus" and "DYFF_BUS__KAFKA__PREFIX" in self.settings:
            async with KafkaBus.open(_kafka(self.settings)) as bus:
                await BusStore(bus, 4).apply(step, at, "9.0.0")
        elif store == "bus":
            async with EmbeddedBus.open(self.folder / "data" / "bus.sqlite", clock=clock.SystemClock(), ids=ids.RandomIds()) as bus:
                await BusStore(bus, 4).apply(step, at, "9.0.0")
        else:
            chosen = f"DYFF_{store.partition(':')[0].upper()}__MONGODB__"
            connection = mongo.Connection(uri=self.settings[f"{chosen}URI"], database=self.settings[f"{chosen}DATABASE"])
            async with mongo.Database.open(connection, "the test") as database:
                await MongoStore(store, database).apply(step, at, "9.0.0")


async def _nothing(_: object) -> None:
    pass


def _kafka(settings: dict[str, str]) -> Connection:
    return Connection(
        bootstrap_servers=settings["DYFF_BUS__KAFKA__BOOTSTRAP_SERVERS"], prefix=settings["DYFF_BUS__KAFKA__PREFIX"], request_timeout_s=10.0
    )


async def _topics_there(settings: dict[str, str]) -> list[str]:
    found = []
    async with KafkaBus.open(_kafka(settings)) as bus:
        for spec in (topics.SCHEMA_SPEC, *topics.specs(4)):
            with suppress(errors.NotFound):
                found.append((await bus.topic(spec.name)).name)
    return found


@pytest.fixture(params=["embedded", pytest.param("engines", marks=pytest.mark.engines)])
def installation(request, tmp_path):
    """Everything here, as release 0.1.0 left it, and everything but the local cluster on engines, where nothing was stored yet."""
    if request.param == "embedded":  # only a server makes a data directory; this is one of a release without a record of migrations
        recorded(tmp_path / "data")
        return Installation(tmp_path, {}, ["accounts:sqlite", "bus"])
    return Installation(tmp_path, engines(tmp_path), ["accounts:mongodb", "bus", "query:mongodb"])


def test_a_fresh_installation_is_migrated_once(installation):
    """A dry run tells and changes nothing; then it is done and recorded; then there is nothing to do, in either phase."""
    dry = installation.output("migrate", "pre", "--dry-run")
    assert sorted({line.split()[0] for line in dry.splitlines() if line.split()[1] == "due"}) == installation.stores
    assert installation.done() == []
    pre = installation.output("migrate", "pre")
    assert sorted({line.split()[0] for line in pre.splitlines() if line.split()[1] == "done"}) == installation.stores
    assert installation.done() == installation.stores
    assert "0003_fold_2.post" in installation.output("migrate", "post")
    for arguments in (["pre"], ["pre", "--dry-run"], ["post"], ["post", "--dry-run"]):
        assert installation.output("migrate", *arguments).strip() == "nothing to do"
    assert " due " not in installation.output("migrate", "status")


def test_post_comes_after_pre(installation):
    """Before anything is removed everything must be added: the message says which command comes first."""
    code, _, err = installation.run("migrate", "post")
    assert (code, "run 'dyff migrate pre' first" in err, "Traceback" in err) == (2, True, False)
    assert installation.done() == []


def test_two_at_once_do_it_once(installation):
    """In a data directory the second learns that the first has it; on engines both succeed."""
    both = [installation.begin("migrate", "pre") for _ in range(2)]
    ended = [each.communicate(timeout=60) for each in both]
    codes = sorted(each.returncode for each in both)
    assert codes[0] == 0, ended
    assert codes[1] in ((0,) if "accounts:mongodb" in installation.stores else (0, 3)), ended
    assert installation.done() == installation.stores
    assert installation.output("migrate", "pre").strip() == "nothing to do"


def test_killed_between_two_stores_it_is_run_again(installation):
    """`kill -9` when the first step was done: that is recorded, and the next run does the others only."""
    process = installation.begin("migrate", "pre")
    first = process.stdout.readline().split()[:3]
    process.kill()
    process.communicate()
    done = installation.done()
    assert first[0] in done
    again = [line.split()[:3] for line in installation.output("migrate", "pre").splitlines()]
    assert again
    assert first not in again
    assert installation.done() == installation.stores


def test_killed_at_any_moment_it_is_run_again(installation):
    """`kill -9`, earlier and later, again and again on the same stores: the next run does what is left."""
    for after_s in KILLED_AFTER_S:
        installation.kill_in_the_middle(after_s, "migrate", "pre")
    installation.output("migrate", "pre")
    assert installation.done() == installation.stores


@pytest.mark.engines
def test_a_role_does_not_start_on_engines_that_were_not_migrated(tmp_path):
    """It says what to run, makes nothing, and starts when that was run; the setting makes it do so by itself."""
    installation = Installation(tmp_path, engines(tmp_path), ["accounts:mongodb", "bus", "query:mongodb"])
    for role in ("aggregator", "sink", WITH_API):
        code, _, err = installation.run("serve", "--role", role, "--port", "0")
        assert code == 2, err
        last = err.strip().splitlines()[-1]
        assert json.loads(last)["event"] == "ended"
        assert "0001_baseline.pre" in last
        assert "run 'dyff migrate pre' first" in last
        assert "Traceback" not in err
    code, _, err = installation.run("account", "create", "--name", "x")
    assert (code, "dyff migrate pre" in err) == (2, True)
    for command in ("verify", "replay"):
        code, _, err = installation.run(command)
        assert (code, "dyff migrate pre" in err) == (2, True), err
    assert installation.done() == []
    assert anyio.run(_topics_there, installation.settings) == []
    for settings, migrate in (({}, True), ({"DYFF_MIGRATIONS__AT_START": "everywhere"}, False)):
        (folder := tmp_path / str(migrate)).mkdir()
        other = Installation(folder, engines(folder) | settings, installation.stores)
        if migrate:
            other.output("migrate", "pre")
        process = Process("aggregator", "aggregator", folder, other.settings)
        process.begin()
        process.wait_ready()
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_a_release_is_refused_what_a_newer_one_has_changed(installation):
    """After the newer release's `post`: exit code 2, and one sentence that names the store and the step. After its `pre`, all goes on."""
    installation.output("migrate", "pre")
    bus = "all" if "accounts:sqlite" in installation.stores else "aggregator"
    roles = {"bus": bus, "query:mongodb": "sink", "accounts:mongodb": WITH_API, "accounts:sqlite": "all"}
    for store in installation.stores:
        installation.record("0099_next.pre", store)
    assert "0099_next.pre" in installation.output("migrate", "status")
    assert installation.output("migrate", "pre").strip() == "nothing to do"
    installation.output("account", "list")
    for store in installation.stores:
        installation.record("0099_next.post", store)
        for arguments in (["serve", "--role", roles[store], "--port", "0"], ["migrate", "pre"], ["migrate", "post"]):
            code, _, err = installation.run(*arguments)
            last = err.strip().splitlines()[-1]
            assert code == 2, err
            assert "newer release" in last
            assert "0099_next.post" in last
            assert "Traceback" not in err
        if store == installation.stores[0]:
            assert "0099_next.post" in installation.run("account", "list")[2]
    assert f"{installation.stores[0]}  " in installation.output("migrate", "status")


def test_other_partitions_are_refused(installation):
    """The message says why their number cannot be changed, and what to set."""
    installation.output("migrate", "pre")
    installation.settings["DYFF_BUS__PARTITIONS"] = "8"
    role = "all" if "accounts:sqlite" in installation.stores else "aggregator"
    for arguments in (["migrate", "pre"], ["migrate", "status"], ["serve", "--role", role]):
        code, _, err = installation.run(*arguments)
        assert (code, "set bus.partitions to 4 again" in err, "Traceback" in err) == (2, True, False), err


def recorded(folder: Path) -> None:
    """Make the data directory of release 0.1.0, with what is in it."""
    folder.mkdir(mode=0o700)
    for each in OLD.iterdir():
        connection = apsw.Connection(str(folder / f"{each.stem}.sqlite"))
        connection.execute(each.read_text())
        connection.close()


@pytest.mark.parametrize("migrated", [False, True], ids=["by serve", "by migrate"])
def test_a_data_directory_of_0_1_0_is_adopted(fresh, migrated):
    """What release 0.1.0 stored is served and can be changed, the record is made, and events of before and after fold to what is stored."""
    recorded(fresh.directory)
    listed = fresh.command("account", "list")
    assert json.loads(listed)["id"] == OLD_ACCOUNT
    if migrated:
        assert "0001_baseline.pre" in fresh.command("migrate", "pre")
    fresh.start()
    token = fresh.command("token", "create", "--account", OLD_ACCOUNT)
    answer = httpx.get(f"{fresh.endpoint}/datasets/{OLD_DATASET}", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["name"]) == (200, "old")
    admin = fresh.command("token", "create", "--account", OLD_ACCOUNT, "--role", "Admin")
    labels: dict[str, Any] = {"json": {"labels": {"seen": "again"}}, "headers": {"Authorization": f"Bearer {admin}"}}
    assert httpx.patch(f"{fresh.endpoint}/datasets/{OLD_DATASET}/labels", **labels).status_code == 200
    assert fresh.stop() == 0
    fresh.command("verify")  # old events by the old fold, the new one by the new
    output = fresh.command("migrate", "status")
    assert [line.split()[0] for line in output.splitlines() if "0001_baseline.pre" in line] == ["bus", "accounts:sqlite"]
    assert " due " not in output


def test_migrating_next_to_a_server_is_refused(server, dyff):
    """The server has the directory, and migrated it when it started; nothing is waited for."""
    for command in ("pre", "post", "status"):
        result = dyff("migrate", command, "--data-dir", str(server.directory))
        assert (result.returncode, "in use by another Dyff server" in result.stderr) == (3, True)


@pytest.mark.parametrize("arguments", [["status"], ["pre", "--dry-run"], ["pre"], ["post"]], ids=" ".join)
def test_a_directory_that_is_not_there_is_not_made(tmp_path, arguments):
    """Only a server makes one; the message names it, so that a wrong path is noticed."""
    installation = Installation(tmp_path, {}, [])
    code, _, err = installation.run("migrate", *arguments)
    assert (code, str(tmp_path / "data") in err) == (2, True), err
    assert not os.path.exists(tmp_path / "data")
