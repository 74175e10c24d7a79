"""Engines whose client is an extra of the package: without it, each command says in one line which one to install."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dyff.kernel import extras, settings
from dyff.serve import combinations, engine_clients, roles
from tests.serving import furnished

ROOT = Path(__file__).parents[2]

ENGINES = {
    "bus": {"DYFF_BUS__KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"},
    "query": {"DYFF_QUERY__MONGODB__URI": "mongodb://127.0.0.1:1/"},
    "accounts": {"DYFF_ACCOUNTS__MONGODB__URI": "mongodb://127.0.0.1:1/"},
    "objects": {
        "DYFF_OBJECTS__URL": "s3://bucket",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "DYFF_OPERATOR__STORAGE_SECRET": "s",
    },
    "cluster": {"DYFF_CLUSTER__KUBERNETES__KUBECONFIG": "/k", "DYFF_OPERATOR__STEPS_IMAGE": "dyff:1"},
}
"""By port: variables that choose its engine."""

COMMANDS = {
    "config": (["config", "--check"], set(ENGINES)),
    "doctor": (["doctor", "settings"], set(ENGINES)),
    "migrate pre": (["migrate", "pre"], {"bus", "query", "accounts"}),
    "migrate post": (["migrate", "post"], {"bus", "query", "accounts"}),
    "migrate status": (["migrate", "status"], {"bus", "query", "accounts"}),
    "verify": (["verify"], {"bus", "query"}),
    "verify objects": (["verify", "--objects"], {"bus", "query", "objects"}),
    "replay": (["replay"], {"bus", "query"}),
    "account create": (["account", "create", "--name", "me"], {"accounts"}),
    "account list": (["account", "list"], {"accounts"}),
    "token create": (["token", "create", "--account", "me"], {"accounts"}),
}
"""Commands, and the ports that they open."""

SCRIPT = """
import json, os, sys
hidden, commands, place = json.loads(sys.argv[1])
for name in hidden:
    sys.modules[name] = None  # as if it were not installed
from click.testing import CliRunner
from dyff.serve import cli
reported = {}
for name, command in commands.items():
    done = CliRunner().invoke(cli.main, [*command, "--data-dir", place])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        reported[name] = [repr(done.exception), ""]
    else:
        reported[name] = [done.exit_code, done.output]
sys.__stdout__.write(json.dumps(reported))
"""
HIDDEN = sorted({name for names in extras.MODULES.values() for name in names})


def run(tmp_path, variables, commands, hidden=HIDDEN):
    """What the commands end with and print, in a process that lacks the modules of all extras."""
    given = json.dumps([hidden, commands, str(tmp_path / "data")])
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **variables}
    done = subprocess.run([sys.executable, "-c", SCRIPT, given], capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


SERVE = """
import json, sys
for name in json.loads(sys.argv.pop(1)):
    sys.modules[name] = None
from dyff.serve import cli
cli.main()
"""


@pytest.fixture
def used(tmp_path):
    """A folder with a data directory that a server has used: commands that only read look into it."""
    furnished.furnish(tmp_path / "data")
    return tmp_path


@pytest.mark.parametrize("port", ENGINES)
def test_each_command_names_the_extra(used, port):
    """Exit code 2, one line, the setting and the command, whichever command opens the engine first."""
    commands = {name: command for name, (command, ports) in COMMANDS.items() if port in ports}
    reported = run(used, ENGINES[port], commands)
    want = f"pip install 'dyff-platform[{engine_clients.EXTRA[port]}]'"
    setting = engine_clients.CHOICE[port]
    wrong = {
        name: (code, text)
        for name, (code, text) in reported.items()
        if code != 2 or "Traceback" in text or not any(want in line and setting in line for line in text.splitlines())
    }
    assert wrong == {}


@pytest.mark.parametrize("port", ENGINES)
def test_the_server_names_the_extra(tmp_path, port):
    """Before it makes a data directory; the last line of its log has the reason."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **ENGINES[port]}
    command = [sys.executable, "-c", SERVE, json.dumps(HIDDEN), "serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    reason = json.loads(done.stderr.splitlines()[-1])["reason"]
    assert (done.returncode, "Traceback" in done.stderr, (tmp_path / "data").exists()) == (2, False, False), done.stderr
    assert f"pip install 'dyff-platform[{engine_clients.EXTRA[port]}]'" in reason
    assert engine_clients.CHOICE[port] in reason


COLLECTORS = [
    ("DYFF_TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:1"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces"),
]


@pytest.mark.parametrize(("variable", "address"), COLLECTORS)
def test_what_exports_traces_names_its_extra(used, variable, address):
    """The settings can be checked before a server starts with them, whichever variable has the address."""
    commands = {name: COMMANDS[name][0] for name in ("config", "doctor")}
    for name, (code, text) in run(used, {variable: address}, commands).items():
        assert (code, "Traceback" in text) == (2, False), name
        assert "pip install 'dyff-platform[otlp]'" in text
        assert "telemetry.otlp_endpoint" in text


def test_nothing_is_reported_for_a_laptop(used):
    """The embedded adapters need no extra, and no command imports a client of an engine."""
    reported = run(used, {}, {"config": ["config", "--check"], "account": ["account", "create", "--name", "me"], "verify": ["verify"]})
    assert [code for code, _ in reported.values()] == [0, 0, 0], reported
    assert "dyff-platform[" not in "".join(text for _, text in reported.values())


def test_the_report_has_all_extras_at_once(monkeypatch):
    """One start reports everything that is missing, each extra once with all settings that need it."""
    monkeypatch.setattr(extras, "lacking", lambda name: list(extras.MODULES[name]))
    tree = {
        "bus": {"kafka": {"bootstrap_servers": "k:1"}},
        "query": {"mongodb": {"uri": "mongodb://q/"}},
        "accounts": {"mongodb": {"uri": "mongodb://a/"}},
        "cluster": {"kubernetes": {"in_cluster": True}},
    }
    found = combinations.examine(settings.load(None, {}, tree), roles.parse("all"))
    got = {each.fix: each.settings for each in found if "dyff-platform[" in each.fix}
    assert got == {
        "install it: pip install 'dyff-platform[kafka]'": ("bus.kafka.bootstrap_servers",),
        "install it: pip install 'dyff-platform[mongodb]'": ("query.mongodb.uri", "accounts.mongodb.uri"),
        "install it: pip install 'dyff-platform[kubernetes]'": ("cluster.kubernetes.in_cluster",),
    }


def test_a_role_needs_the_clients_of_its_own_ports_only(monkeypatch):
    """An aggregator sees the log and nothing else."""
    monkeypatch.setattr(extras, "lacking", lambda name: list(extras.MODULES[name]))
    tree = {"bus": {"kafka": {"bootstrap_servers": "k:1"}}, "query": {"mongodb": {"uri": "mongodb://q/"}}}
    found = combinations.examine(settings.load(None, {}, tree), roles.parse("aggregator"))
    assert [each.fix for each in found if "dyff-platform[" in each.fix] == ["install it: pip install 'dyff-platform[kafka]'"]


def test_the_extras_are_those_of_the_package():
    """`extras.MODULES` and pyproject.toml have the same names, every port with an engine has one, and `all` has all of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    assert extras.MODULES.keys() <= declared.keys()
    assert set(engine_clients.EXTRA.values()) <= extras.MODULES.keys()
    assert declared["all"] == [f"dyff-platform[{','.join(sorted(declared.keys() - {'all'}))}]"]


def test_each_extra_declares_what_it_is_checked_for():
    """A module of an extra is in a package that the extra names, not in one that another package happens to bring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, modules in extras.MODULES.items():
        declared = {each.split(">")[0].split("=")[0].replace("-", "_") for each in project["optional-dependencies"][name]}
        assert {each.replace(".", "_") for each in modules} <= declared, name
    base = {each.split(">")[0].replace("-", "_") for each in project["dependencies"]}
    assert not base & set(HIDDEN)


def test_manifests_can_be_made_without_most_clients(monkeypatch):
    """Who makes manifests on a laptop needs only what reads a store's address: the pods have an image with everything."""
    monkeypatch.setattr(extras, "lacking", lambda name: list(extras.MODULES[name]))
    tree = {"bus": {"kafka": {"bootstrap_servers": "k:1"}}, "objects": {"url": "s3://bucket"}}
    found = combinations.examine(settings.load(None, {}, tree), roles.parse("api"), here=False)
    assert [each.fix for each in found if "dyff-platform[" in each.fix] == ["install it: pip install 'dyff-platform[cloud]'"]
