"""The commands other than `dyff serve`, in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from dyff.entities import definitions
from dyff.kernel import settings
from dyff.serve import cli, proving, roles
from tests.serving.furnished import furnish


@pytest.fixture(autouse=True)
def nobody_elses_settings(monkeypatch):
    """Variables of the person who runs the tests are settings to a command."""
    for name in os.environ:
        if name.startswith(settings.PREFIX):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("name", ["", " \t"])
def test_an_account_needs_a_name(tmp_path, name):
    """An empty name is refused, naming the option, and nothing is created."""
    folder = str(furnish(tmp_path / "data").root)
    result = CliRunner().invoke(cli.main, ["account", "create", "--name", name, "--data-dir", folder])
    assert (result.exit_code, "--name" in result.stderr) == (2, True), result.output
    assert CliRunner().invoke(cli.main, ["account", "list", "--data-dir", folder]).stdout == ""


@pytest.mark.parametrize("command", ["verify", "replay"])
def test_an_interrupted_command_gives_no_answer(tmp_path, monkeypatch, command):
    """Ctrl-C is the code 130: the code 1 of `dyff verify` would say that something differs."""

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(proving, command, interrupted)
    result = CliRunner().invoke(cli.main, [command, "--data-dir", str(furnish(tmp_path / "data").root)])
    assert (result.exit_code, result.output) == (130, "")


SETTINGS = """
bus: {kafka: {bootstrap_servers: "kafka:9092"}}
operator: {storage_secret: dyff-storage}
api: {public_url: "https://api.example.org"}
query: {mongodb: {uri: "mongodb://database/"}}
accounts: {mongodb: {uri: "mongodb://database/"}}
objects: {url: "s3://bucket/dyff"}
"""


def manifests(*arguments):
    result = CliRunner().invoke(cli.main, ["manifests", *arguments])
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def test_the_definitions_are_printed_whole():
    """`dyff manifests crds` prints every kind, without anchors, which only some readers follow."""
    assert manifests("crds") == definitions.all_()
    assert "&id" not in CliRunner().invoke(cli.main, ["manifests", "crds"]).stdout


def test_every_role_has_an_account_and_only_those_with_permissions_a_token():
    """The roles that never speak with the cluster have no Role and no token for it; nothing is granted beyond the namespace."""
    found = manifests("rbac", "--namespace", "audits")
    named = {(each["kind"], each["metadata"]["name"]) for each in found}
    assert {name for kind, name in named if kind == "ServiceAccount"} == {f"dyff-{row.name}" for row in roles.TABLE}
    assert {name for kind, name in named if kind == "RoleBinding"} == {f"dyff-{row.name}" for row in roles.TABLE if "cluster" in row.ports}
    assert {each["metadata"]["namespace"] for each in found} == {"audits"}
    rules = [rule for each in found for rule in each.get("rules", ())]
    assert not [rule for rule in rules if "*" in (*rule["verbs"], *rule["resources"], *rule["apiGroups"]) or "secrets" in rule["resources"]]


def test_a_role_can_be_deployed_alone(tmp_path):
    """Of the operator alone there is nothing but its Deployment and settings, and it needs no log and no database."""
    (tmp_path / "settings.yaml").write_text("objects: {url: 's3://bucket/dyff'}\noperator: {storage_secret: dyff-storage}\n")
    found = manifests("deploy", "--role", "operator", "--config", str(tmp_path / "settings.yaml"))
    assert [(each["kind"], each["metadata"]["name"]) for each in found] == [("ConfigMap", "dyff-settings"), ("Deployment", "dyff-operator")]


def test_deployments_start_what_the_settings_say(tmp_path):
    """Each pod has the settings file, its probes' port and its own role; its variables are settings that exist."""
    file = tmp_path / "settings.yaml"
    file.write_text(SETTINGS)
    found = manifests("deploy", "--config", str(file))
    assert found[0]["data"]["settings.yaml"] == SETTINGS
    deployments = [each for each in found if each["kind"] == "Deployment"]
    assert [each["metadata"]["name"] for each in deployments] == [f"dyff-{row.name}" for row in roles.TABLE]
    for each in deployments:
        annotations = each["spec"]["template"]["metadata"]["annotations"]
        assert annotations == {"prometheus.io/scrape": "true", "prometheus.io/port": "8081", "prometheus.io/path": "/metrics"}
        container = each["spec"]["template"]["spec"]["containers"][0]
        environment = {variable["name"]: variable.get("value", "audits") for variable in container["env"]}
        loaded = settings.load(str(file), environment={k: v for k, v in environment.items() if k != "DYFF_CONFIG_FILE"})
        assert loaded.probes.port == next(port["containerPort"] for port in container["ports"] if port["name"] == "probes")
        assert roles.names(roles.parse(container["args"][-1])) == (each["metadata"]["name"].removeprefix("dyff-"),)
        assert each["spec"]["template"]["metadata"]["labels"] == each["spec"]["selector"]["matchLabels"]


def test_what_is_embedded_cannot_be_deployed(tmp_path):
    """Settings that leave a port to this machine are refused, with the names of those that are missing."""
    (tmp_path / "settings.yaml").write_text("{}")
    result = CliRunner().invoke(cli.main, ["manifests", "deploy", "--role", "sink", "--config", str(tmp_path / "settings.yaml")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "bus.kafka.bootstrap_servers, query.mongodb.uri must be set" in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full: not Linux")
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["docs", "backup"], ["account", "list"], ["account", "create", "--name", "b"]]
)
def test_output_that_cannot_be_written_is_an_error_of_one_line(tmp_path, arguments, buffered):
    """On a full disk a command says so, with an exit code of its own, and without a traceback."""
    folder = str(furnish(tmp_path / "data").root)
    assert CliRunner().invoke(cli.main, ["account", "create", "--name", "a", "--data-dir", folder]).exit_code == 0
    given = [*arguments, "--data-dir", folder] if arguments[0] == "account" else arguments
    environment = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    command = [str(Path(sys.executable).parent / "dyff"), *given]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (cli.UNWRITTEN, "dyff: the output cannot be written: No space left on device\n")
