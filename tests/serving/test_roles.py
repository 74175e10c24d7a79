"""How roles are put together."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
import pytest
import yaml
from click.testing import CliRunner

from dyff.accounts import embedded, port
from dyff.cluster import port as cluster
from dyff.kernel import clock, liveness, settings
from dyff.serve import assembling, cli, directory, roles, wiring
from dyff.serve.permissions import of_kind


async def test_the_orchestrator_learns_of_a_suspension_from_the_accounts(tmp_path):
    """As it is now, each time it asks; an owner that is only a name is never suspended."""
    async with embedded.EmbeddedAccounts.open(tmp_path / "accounts") as database:
        account = port.Account(id="a" * 32, name="lab", created=datetime.now(UTC))
        await database.create(account)
        suspended = roles._suspended(database)
        reported = []
        for status in (port.ACTIVE, port.SUSPENDED, port.ACTIVE):
            await database.set_status(account.id, status, None)
            reported.append(await suspended(account.id))
        assert reported == [False, True, False]
        assert not await suspended("lab")


@pytest.fixture
def toy(monkeypatch):
    """A row more in the table; `seen`: what its coroutine was given."""
    seen = []

    async def run(process, task_status, signs):
        seen.append(process.adapters)
        task_status.started()
        await anyio.sleep_forever()

    row = roles.Row(name="toy", ports=frozenset({"bus", "cluster"}), stage=1, run=run, permissions=(of_kind(cluster.POD, "get"),))
    monkeypatch.setattr(roles, "TABLE", (*roles.TABLE, row))
    return seen


def _printed(*arguments):
    result = CliRunner().invoke(cli.main, ["manifests", *arguments])
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def test_a_new_row_is_a_role_that_can_be_chosen_and_deployed(toy, tmp_path):
    """Without another change it is among all, has what its row grants and a Deployment, and its settings are checked."""
    assert roles.parse("all")[-1].name == roles.parse("toy")[0].name == "toy"
    (account, role, _) = _printed("rbac", "--role", "toy")
    assert account["metadata"]["name"] == "dyff-toy"
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    file = tmp_path / "settings.yaml"
    file.write_text("bus: {kafka: {bootstrap_servers: 'kafka:9092'}}\n")
    (deployment,) = [each for each in _printed("deploy", "--role", "toy", "--config", str(file)) if each["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"] == ["serve", "--role", "toy"]
    file.write_text("{}")
    assert CliRunner().invoke(cli.main, ["manifests", "deploy", "--role", "toy", "--config", str(file)]).exit_code == 2


async def test_a_new_row_is_given_the_ports_that_it_names(toy, tmp_path):
    """It runs with these and no others, next to the background of what is embedded."""
    place, rows = directory.DataDirectory(tmp_path / "data"), roles.parse("toy")
    place.create()
    loaded = settings.Settings(data_dir=str(place.root))
    async with wiring.open_adapters(loaded, place, clock.SystemClock(), rows) as adapters, anyio.create_task_group() as group:
        built = {each.name: each for each in assembling.build(rows, loaded, adapters, dict)}
        assert built.keys() == {"log-maintenance", "local-controllers", "kubelet", "toy"}

        async def run(*, task_status):
            await built["toy"].run(task_status, liveness.Signs())

        await group.start(run)
        group.cancel_scope.cancel()
    (given,) = toy
    assert (given.query, given.accounts, given.objects, given.listener) == (None, None, None, None)
    assert given.cluster is adapters.cluster


@pytest.mark.parametrize("row", roles.TABLE, ids=lambda row: row.name)
def test_a_role_has_permissions_if_it_can_reach_the_cluster(row):
    """The port and what is granted behind it go together."""
    assert bool(row.granted) == ("cluster" in row.ports)
