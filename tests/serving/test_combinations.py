"""Combinations of settings that a server refuses, or starts with and warns."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from dyff.kernel import engines, errors, settings
from dyff.serve import cli, combinations, judging, process, roles

STORE = {"url": "s3://bucket/dyff?endpoint=https://s3.example.org"}
KUBERNETES = {"kubernetes": {"kubeconfig": "/k"}}
INSIDE = {"kubernetes": {"in_cluster": True}}
KAFKA = {"kafka": {"bootstrap_servers": "kafka:9092"}}
MONGODB = {"mongodb": {"uri": "mongodb://db/"}}
ENGINES = {"bus": KAFKA, "query": MONGODB, "accounts": {"mongodb": {"uri": "mongodb://db/"}}, "objects": STORE}
ON_KUBERNETES = {
    **ENGINES,
    "cluster": INSIDE,
    "operator": {"steps_image": "registry/dyff:1", "storage_secret": "storage"},
    "api": {"host": "0.0.0.0", "public_url": "https://api.example.org"},
}


def merged(base, change):
    """`base` with `change` in it, group by group; None removes."""
    made = dict(base)
    for key, value in change.items():
        made[key] = merged(made.get(key) or {}, value) if isinstance(value, dict) else value
        if value is None:
            del made[key]
    return made


def examined(tree, role="all", *, here=False):
    """What is reported for these settings: the rules' findings."""
    loaded = settings.load(None, {}, tree)
    return combinations.examine(loaded, roles.parse(role), here=here)


REFUSED = [
    # S3 without a Secret, and the Secrets of the local cluster
    ("S3, no Secret", {"objects": STORE}, "all", "operator.storage_secret"),
    ("S3, no Secret, Kubernetes", merged(ON_KUBERNETES, {"operator": {"storage_secret": None}}), "all", "operator.storage_secret"),
    ("S3, no Secret, operator alone", merged(ON_KUBERNETES, {"operator": {"storage_secret": None}}), "operator", "operator.storage_secret"),
    ("gs, no Secret", {"objects": {"url": "gs://bucket"}}, "all", "operator.storage_secret"),
    ("az, no Secret", {"objects": {"url": "az://bucket?account=me"}}, "all", "operator.storage_secret"),
    ("Secret, no directory", {"objects": STORE, "operator": {"storage_secret": "s"}}, "all", "pods.secrets_dir"),
    ("Secret for models, no directory", {"operator": {"fetch_secret": "hub"}}, "all", "pods.secrets_dir"),
    # engines that do not fit the roles
    ("api alone", {}, "api", "bus.kafka.bootstrap_servers"),
    ("no sink", {}, "api,aggregator,orchestrator,informer,operator", "query.mongodb.uri"),
    ("embedded cluster, api alone", ENGINES, "api", "cluster.kubernetes.kubeconfig"),
    ("embedded cluster, operator alone", ENGINES, "operator", "cluster.kubernetes.kubeconfig"),
    ("embedded log, aggregator alone", {"query": MONGODB}, "aggregator", "bus.kafka.bootstrap_servers"),
    ("embedded accounts", merged(ON_KUBERNETES, {"accounts": None}), "api", "accounts.mongodb.uri"),
    ("embedded objects", merged(ON_KUBERNETES, {"objects": None}), "api", "objects.url"),
    # settings of engines that are not chosen
    ("prefix, no Kafka", {"bus": {"kafka": {"prefix": "x."}}}, "all", "bus.kafka.bootstrap_servers"),
    ("TLS, no Kafka", {"bus": {"kafka": {"tls": True}}}, "all", "bus.kafka.bootstrap_servers"),
    ("database, no URI", {"query": {"mongodb": {"database": "x"}}}, "all", "query.mongodb.uri"),
    ("user, no URI", {"accounts": {"mongodb": {"username": "x"}}}, "all", "accounts.mongodb.uri"),
    ("steps' endpoint, no store", {"objects": {"steps_endpoint": "http://s3"}}, "all", "objects.url"),
    ("context, no kubeconfig", {"cluster": {"kubernetes": {"context": "x"}}}, "all", "cluster.kubernetes.kubeconfig"),
    # connections
    ("CA, no TLS", {"bus": {"kafka": {**KAFKA["kafka"], "tls_ca_file": "/ca"}}}, "aggregator", "bus.kafka.tls"),
    ("password, no mechanism", {"bus": {"kafka": {**KAFKA["kafka"], "sasl_username": "me"}}}, "sink", "bus.kafka.sasl_mechanism"),
    ("mechanism, no password", {"bus": {"kafka": {**KAFKA["kafka"], "sasl_mechanism": "PLAIN"}}}, "sink", "bus.kafka.sasl_password_file"),
    ("one database", {"query": {"mongodb": {"uri": "mongodb://db/", "database": "x"}},
                      "accounts": {"mongodb": {"uri": "mongodb://db/", "database": "x"}}}, "all", "query.mongodb.database"),
    # Kubernetes
    ("no store", {"cluster": KUBERNETES, "operator": {"steps_image": "dyff:1"}}, "all", "objects.url"),
    ("no image", merged(ON_KUBERNETES, {"operator": {"steps_image": None}}), "operator", "operator.steps_image"),
    ("an image on the local cluster", {"operator": {"steps_image": "dyff:1"}}, "all", "operator.steps_image"),
    *(
        (f"store at {host}", merged(ON_KUBERNETES, {"objects": {"url": f"s3://b?endpoint=http://{host}:9000"}}), "operator",
         "objects.steps_endpoint")
        for host in ("127.0.0.1", "localhost", "127.1.2.3", "[::1]", "0.0.0.0", "x.localhost", "LOCALHOST")
    ),
    ("steps' endpoint is local", merged(ON_KUBERNETES, {"objects": {"steps_endpoint": "http://127.0.0.1:9"}}), "operator",
     "objects.steps_endpoint"),
    ("steps' endpoint is no URL", merged(ON_KUBERNETES, {"objects": {"steps_endpoint": "minio:9000"}}), "operator",
     "objects.steps_endpoint"),
    # addresses, and single settings that are no choices
    ("public URL is no URL", {"api": {"public_url": "api.example.org"}}, "all", "api.public_url"),
    ("public URL has no host", {"api": {"public_url": "http://"}}, "all", "api.public_url"),
    ("public URL with /v0", {"api": {"public_url": "https://api.example.org/v0/"}}, "all", "api.public_url"),
    ("public URL with a query", {"api": {"public_url": "https://api.example.org/?x"}}, "all", "api.public_url"),
    ("public URL with a login", {"api": {"public_url": "https://me:x@api.example.org"}}, "all", "api.public_url"),
    ("public URL with a path of ours", {"api": {"public_url": "https://api.example.org/objects/dyff"}}, "all", "api.public_url"),
    ("log level", {"log_level": "verbose"}, "all", "log_level"),
    ("quota", {"quotas": {"cpu": "four"}}, "all", "quotas"),
]  # fmt: skip

WARNED = [
    ("no public URL", {"api": {"host": "0.0.0.0"}}, "api.public_url"),
    ("no public URL, IPv6", {"api": {"host": "::"}}, "api.public_url"),
    ("public URL is local", {"api": {"host": "0.0.0.0", "public_url": "http://127.0.0.1:8000"}}, "api.public_url"),
    ("every proxy is trusted", {"api": {"trusted_proxies": ["10.0.0.0/8", "::/0"]}}, "api.trusted_proxies"),
    ("data in a pod", {**ON_KUBERNETES, "bus": {}}, "data_dir"),
    ("PLAIN, no TLS", {"bus": {"kafka": {**KAFKA["kafka"], "sasl_mechanism": "PLAIN", "sasl_username": "a", "sasl_password_file": "/p"}}},
     "bus.kafka.tls"),
    ("namespace only", {"cluster": {"kubernetes": {"namespace": "x"}}}, "cluster.kubernetes.kubeconfig"),
    ("Secrets of the local cluster", merged(ON_KUBERNETES, {"pods": {"secrets_dir": "/s"}}), "pods.secrets_dir"),
    ("environments of the local cluster", merged(ON_KUBERNETES, {"analyses": {"environments": {"a": "/usr/bin/env"}}}),
     "analyses.environments"),
    ("outside the cluster", {**ON_KUBERNETES, "cluster": KUBERNETES}, "operator.programs.callers"),
    ("internal hub", {"operator": {"fetch_env": {"HF_ENDPOINT": "http://10.1.2.3:80"}}}, "operator.fetch_allowed_hosts"),
    ("local hub", {"operator": {"fetch_env": {"HF_ENDPOINT": "http://localhost:80"}}}, "operator.fetch_allowed_hosts"),
    ("token file on Kubernetes", merged(ON_KUBERNETES, {"operator": {"fetch_env": {"HF_TOKEN_PATH": "/t"}}}), "operator.fetch_env"),
    ("nothing is admitted", {"quotas": {"admitted": 0}}, "quotas.admitted"),
    ("no CPU", {"quotas": {"cpu": "0"}}, "quotas.cpu"),
    ("store is local", merged(ON_KUBERNETES, {"objects": {"url": "s3://b?endpoint=http://127.0.0.1:9", "steps_endpoint": "http://s3"}}),
     "objects.url"),
    ("store is in the cluster", merged(ON_KUBERNETES, {"objects": {"url": "s3://b?endpoint=http://minio.minio.svc:9000"}}), "objects.url"),
]  # fmt: skip

ACCEPTED = [
    ("defaults", {}, "all"),
    ("all engines on Kubernetes", ON_KUBERNETES, "all"),
    *((f"{row.name} on Kubernetes", ON_KUBERNETES, row.name) for row in roles.TABLE),
    ("the log alone", {"bus": KAFKA}, "aggregator"),
    ("roles that share the local cluster", {**ENGINES, "operator": {"storage_secret": "s"}, "pods": {"secrets_dir": "/s"}},
     "api,orchestrator,informer,operator"),
    ("a role of the machine", {"objects": {"url": "s3://b?ambient=true"}}, "all"),
    ("an internal hub that is allowed",
     {"operator": {"fetch_env": {"HF_ENDPOINT": "http://10.1.2.3"}, "fetch_allowed_hosts": ["10.1.2.3"]}}, "all"),
    ("trusted proxies", {"api": {"trusted_proxies": ["10.0.0.0/8", "::1"]}}, "all"),
    ("an open API with its URL", {"api": {"host": "0.0.0.0", "public_url": "https://api.example.org/dyff"}}, "all"),
    ("a store with an address for clients", merged(ON_KUBERNETES, {"objects": {
        "url": "s3://b?endpoint=http://127.0.0.1:9&public_endpoint=https://files", "steps_endpoint": "http://s3"}}), "all"),
    ("no steps, no Secret", merged(ON_KUBERNETES, {"operator": {"storage_secret": None}}), "api"),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "role", "named"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_could_never_work_is_refused(tree, role, named):
    """Each setting to change is named; what would happen and what to do are said."""
    found = [each for each in examined(tree, role) if each.refused]
    assert named in [name for each in found for name in each.settings]
    with pytest.raises(errors.Misconfigured) as refused:
        combinations.require(found)
    assert all(each.problem in refused.value.message and each.fix in refused.value.message for each in found)


@pytest.mark.parametrize(("tree", "named"), [row[1:] for row in WARNED], ids=[row[0] for row in WARNED])
def test_what_may_not_work_is_warned_about(tree, named):
    """The server starts, and the warning names the setting."""
    found = examined(tree, "all" if "bus" not in tree or "query" in tree else "aggregator")
    assert [each.text() for each in found if each.refused] == []
    assert named in [each.settings[0] for each in found]
    seen: list[Any] = []
    combinations.require(found, seen.append)
    assert seen == found


def test_an_environment_that_is_not_on_this_machine_is_warned_about():
    """Only the server that would run methods in it can see that."""
    loaded = msgspec.convert({"analyses": {"environments": {"a": "/no/such/python", "b": "/usr/bin/env"}}}, settings.Settings)
    found = [each for each in combinations.examine(loaded, roles.TABLE) if each.settings == ("analyses.environments",)]
    assert [each.refused for each in found] == [False]
    assert "/no/such/python" in found[0].text()
    assert not [each for each in combinations.examine(loaded, roles.TABLE, here=False) if each.settings == ("analyses.environments",)]


@pytest.mark.parametrize(("tree", "role"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_what_works_is_not_mentioned(tree, role):
    """Neither refused nor warned about."""
    assert [each.text() for each in examined(tree, role)] == []


def test_every_rule_has_a_case():
    """No rule of the table is without settings that it objects to."""
    trees = [(tree, role) for _, tree, role, _ in REFUSED] + [(tree, "all") for _, tree, _ in WARNED]
    cases = [judging.Case(settings.load(None, {}, tree), roles.parse(role), False) for tree, role in trees]
    here = {"files", "clients"}  # they look at this machine: below, and test_extras.py
    for rule in combinations.TABLE:
        objected = any(list(rule(case)) for case in cases)
        assert objected or rule.__name__ in here, rule.__name__


@pytest.mark.parametrize(
    ("tree", "role", "named"),
    [
        ({"bus": {"kafka": {"bootstrap_servers": "k:9", "tls": True, "tls_ca_file": "{here}/none"}}}, "aggregator",
         "bus.kafka.tls_ca_file"),
        ({"bus": {"kafka": {"bootstrap_servers": "k:9", "sasl_mechanism": "SCRAM-SHA-256", "sasl_username": "a",
                            "sasl_password_file": "{here}/none"}}},
         "aggregator", "bus.kafka.sasl_password_file"),
        ({**ON_KUBERNETES, "cluster": {"kubernetes": {"kubeconfig": "{here}/none"}}}, "informer", "cluster.kubernetes.kubeconfig"),
        ({**ENGINES, "query": {"mongodb": {"uri": "mongodb://db/", "password_file": "{here}/none"}}}, "sink",
         "query.mongodb.password_file"),
        ({"pods": {"secrets_dir": "{here}/none"}}, "all", "pods.secrets_dir"),
        ({"pods": {"secrets_dir": "{here}"}, "operator": {"fetch_secret": "none"}}, "all", "operator.fetch_secret"),
        ({"objects": STORE, "pods": {"secrets_dir": "{here}"}, "operator": {"storage_secret": "none"}}, "all", "operator.storage_secret"),
        ({"objects": STORE, "pods": {"secrets_dir": "{here}"}, "operator": {"storage_secret": "empty"}}, "all", "operator.storage_secret"),
    ],
)  # fmt: skip
def test_files_that_settings_name_are_looked_for(tmp_path, tree, role, named):
    """A file or a Secret that is missing on this machine is named; for another machine it is not."""
    (tmp_path / "empty").mkdir()
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(tree))
    loaded = settings.load(str(file), {})
    assert named in [each.settings[0] for each in combinations.examine(loaded, roles.parse(role)) if each.refused]
    assert combinations.examine(loaded, roles.parse(role), here=False) == []


def test_a_secret_of_the_local_cluster_is_enough(tmp_path):
    """A folder with the store's key."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s/AWS_ACCESS_KEY_ID").write_text("x")
    tree = {"objects": STORE, "pods": {"secrets_dir": str(tmp_path)}, "operator": {"storage_secret": "s"}}
    assert examined(tree, here=True) == []


@pytest.fixture
def only_these_settings(monkeypatch):
    """Variables of the person who runs the tests are settings to a command."""
    for name in os.environ:
        if name.startswith(settings.PREFIX):
            monkeypatch.delenv(name)


def test_a_server_does_not_start_and_makes_nothing(tmp_path):
    """The refusal comes before the data directory is made, and has all reasons."""
    loaded = settings.Settings(data_dir=str(tmp_path / "data"), objects=engines.Objects(**STORE), log_level="info")
    loaded = msgspec.structs.replace(loaded, api=settings.Api(public_url="nowhere"))
    with pytest.raises(errors.Misconfigured) as refused:
        process.serve(loaded, "all")
    assert "operator.storage_secret" in refused.value.message
    assert "api.public_url" in refused.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["config", "--check"], ["doctor", "settings"]], ids=" ".join)
@pytest.mark.parametrize(
    ("tree", "code"), [({"objects": STORE, "api": {"host": "0.0.0.0"}}, 2), ({"api": {"host": "0.0.0.0"}}, 0), ({}, 0)]
)
def test_both_commands_report_what_a_start_would(tmp_path, only_these_settings, command, tree, code):
    """One line for each finding; exit code 2 if a server would not start."""
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(tree))
    result = CliRunner().invoke(cli.main, [*command, "--config", str(file)])
    found = examined(tree, here=True)
    lines = [f"{'refused' if each.refused else 'warning'}  {each.text()}" for each in found] or ["nothing is wrong with the settings"]
    assert (result.exit_code, result.output.splitlines()) == (code, lines)


def test_manifests_are_not_printed_for_settings_that_cannot_work(tmp_path, only_these_settings):
    """What the pods would refuse is refused before; what they would warn about is on standard error."""
    file = tmp_path / "settings.yaml"

    def deploy(tree):
        file.write_text(yaml.safe_dump(tree))
        return CliRunner().invoke(cli.main, ["manifests", "deploy", "--config", str(file)])

    refused = deploy(ENGINES)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "operator.storage_secret" in refused.stderr
    warned = deploy({**ENGINES, "operator": {"storage_secret": "s"}})
    assert warned.exit_code == 0
    assert warned.stderr.count("warning: api.public_url") == 1
    quiet = deploy({**ENGINES, "operator": {"storage_secret": "s"}, "api": {"public_url": "https://x"}})
    assert (quiet.exit_code, quiet.stderr) == (0, "")
