"""Names of settings in variables and files: what is refused, what is suggested, what is left alone; and where values come from."""

from __future__ import annotations

import pytest
import yaml

from dyff.kernel import errors, settings, settings_names, settings_printing

LEAVES = settings_names.leaves(settings.Settings)


def refused(tmp_path, text="", environment=None):
    """The message with which these sources are refused."""
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(errors.Misconfigured) as found:
        settings.load(str(file) if text else None, environment or {})
    return found.value.message


@pytest.mark.parametrize("path", LEAVES)
def test_every_setting_has_a_variable_and_no_rule_for_others_hides_it(path):
    """The name of a setting's variable is accepted, and no value makes it look like a variable of something else."""
    name = settings_names.variable(path)
    assert settings_names.variable_problem(settings.Settings, name) is None
    assert not settings_names.is_foreign(name, "10")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DYFF_TEST_KAFKA", "127.0.0.1:9092"),
        ("DYFF_TEST_ANYTHING", ""),
        ("DYFF_BENCH_ROUNDS", "3"),
        ("DYFF_ENGINES", "native"),
        ("DYFF_ENGINES_DIR", "/x"),
        ("DYFF_API_TOKEN", "s3cret"),
        ("DYFF_API_ENDPOINT", "http://127.0.0.1:8000/v0"),
        ("DYFF_API_INSECURE", "1"),
        ("DYFF_REGISTRY_URL", "https://registry"),
        ("DYFF_PORT", "tcp://10.96.0.7:80"),
        ("DYFF_SERVICE_HOST", "10.96.0.7"),
        ("DYFF_SERVICE_HOST", "fd00::7"),
        ("DYFF_SERVICE_PORT", "80"),
        ("DYFF_SERVICE_PORT_HTTP", "80"),
        ("DYFF_SERVICE_PORT_HTTP_METRICS", "80"),
        ("DYFF_PORT_80_TCP", "tcp://10.96.0.7:80"),
        ("DYFF_PORT_80_TCP_PROTO", "tcp"),
        ("DYFF_PORT_80_TCP_PORT", "80"),
        ("DYFF_PORT_80_TCP_ADDR", "10.96.0.7"),
        ("DYFF_PORT_53_UDP", "udp://10.96.0.7:53"),
        ("DYFF_API_PORT", "tcp://10.96.0.7:80"),
        ("DYFF_API_PORT_8080_TCP_ADDR", "10.96.0.7"),
        ("DYFF_API__PORT", "tcp://10.96.0.7:80"),
        ("DYFF_MONGO_1_SERVICE_PORT_MONGODB", "27017"),
    ],
)
def test_a_variable_of_something_else_stops_nothing(name, value):
    """Test tools, clients and Kubernetes have variables with our prefix. They are no settings and change none."""
    assert settings.load(None, {name: value}) == settings.Settings()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("DYFF_QOUTAS__ADMITTED", "DYFF_QUOTAS__ADMITTED?"),
        ("DYFF_QUOTAS_ADMITTED", "DYFF_QUOTAS__ADMITTED?"),
        ("DYFF_DATADIR", "DYFF_DATA_DIR?"),
        ("DYFF_API_PORT", "DYFF_API__PORT?"),
        ("DYFF_FETCH_ALLOWED_HOSTS", "DYFF_OPERATOR__FETCH_ALLOWED_HOSTS?"),
        ("DYFF_API__PORT_", "DYFF_API__PORT?"),
        ("DYFF_api__port", "DYFF_api__port is not the variable"),
        ("DYFF_API", "its variables are DYFF_API__"),
        ("DYFF_GIT_HOSTS", "operator.fetch_env"),
        ("DYFF_OPERATOR__FETCH_ENV__HF_TOKEN_PATH", "settings file"),
        ("DYFF_ZZZZZZZZ", "DYFF_ZZZZZZZZ is not the variable of a setting"),
        ("DYFF_", "DYFF_ is not the variable of a setting"),
    ],
)
def test_an_unknown_variable_is_named_with_what_was_meant(tmp_path, name, said):
    """A misspelt setting is never ignored: the message has the variable's own name, and the nearest."""
    message = refused(tmp_path, environment={name: "7"})
    assert name in message
    assert said in message


def test_all_unknown_names_are_in_one_message(tmp_path):
    """Of variables and of the file together, so that one correction is enough."""
    message = refused(tmp_path, "api: {prot: 1}\nqouta: {}\n", {"DYFF_ZZZ": "1", "DYFF_DATADIR": "x", "DYFF_TEST_X": "1"})
    for each in ("api.prot", "qouta", "DYFF_ZZZ", "DYFF_DATADIR", "dyff docs settings"):
        assert each in message
    assert "DYFF_TEST_X" not in message


@pytest.mark.parametrize(
    ("text", "named", "meant"),
    [
        ("api: {prot: 1}", "api.prot", "'api.port'"),
        ("quota: {admitted: 1}", "quota is not a setting", "'quotas'"),
        ("bootstrap_servers: x", "bootstrap_servers", "'bus.kafka.bootstrap_servers'"),
        ("kafka: {prefix: x}", "kafka", "kafka is not a setting"),
        ("pods: {images: {x: {comand: [a]}}}", "pods.images.x.comand", "'pods.images.x.command'"),
        ("operator: {programs: {tmp_limits: 1Gi}}", "operator.programs.tmp_limits", "'operator.programs.tmp_limit'"),
        ("1: 2", "1 is not a setting", "known are data_dir"),
        ("api: {zzzzzz: 2}", "api.zzzzzz", "known in api are host"),
    ],
)
def test_an_unknown_key_of_a_file_is_named_with_what_was_meant(tmp_path, text, named, meant):
    """The whole path, the file, and the nearest name: next to it, or elsewhere."""
    message = refused(tmp_path, text)
    assert named in message
    assert meant in message
    assert str(tmp_path / "settings.yaml") in message


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        ("", {"DYFF_API__PORT": "abc"}, ["api.port", "variable DYFF_API__PORT"]),
        ("", {"DYFF_API__PORT": ""}, ["api.port", "variable DYFF_API__PORT"]),
        ("", {"DYFF_DATA_DIR": ""}, ["data_dir", "variable DYFF_DATA_DIR"]),
        ("", {"DYFF_PODS__ISOLATION": "bublewrap"}, ["pods.isolation", "'bubblewrap'"]),
        ("", {"DYFF_OPERATOR__FETCH_ALLOWED_HOSTS": "a,b"}, ["operator.fetch_allowed_hosts", "settings file"]),
        ("", {"DYFF_BUS__PARTITIONS": "0"}, ["bus.partitions", ">= 1"]),
        ("api: {port: 70000}", {}, ["api.port", "settings.yaml", "<= 65535"]),
        ("api: {port: 1, port: 2}", {}, ["'port' is there twice", "line 1"]),
        ("pods: {images: {x: {command: [a], network: outsid}}}", {}, ["pods.images", "settings.yaml"]),
    ],
)
def test_a_wrong_value_is_named_with_its_origin(tmp_path, text, environment, said):
    """The setting, what is wrong, and where the value comes from."""
    message = refused(tmp_path, text, environment)
    assert [each for each in said if each not in message] == []


def test_a_file_that_is_not_text_is_refused(tmp_path):
    """Bytes that are not UTF-8, or a file that is not there, are an error that names the file and who named it."""
    file = tmp_path / "settings.yaml"
    file.write_bytes(b"log_level: \xff\xfe")
    for environment in ({"DYFF_CONFIG_FILE": str(file)}, {"DYFF_CONFIG_FILE": str(tmp_path / "none")}):
        with pytest.raises(errors.Misconfigured, match=r"DYFF_CONFIG_FILE") as found:
            settings.load(None, environment)
        assert str(tmp_path) in found.value.message


def test_a_group_of_comments_only_is_empty(tmp_path):
    """A group whose lines are all commented out changes nothing."""
    file = tmp_path / "settings.yaml"
    file.write_text("api:\n  # host: 0.0.0.0\nbus:\n  kafka:\n")
    assert settings.load(str(file), {}) == settings.Settings()


def test_the_origin_of_every_value_is_known(tmp_path):
    """Flags win over variables, variables over the file, and each value names its source; the rest are defaults."""
    file = tmp_path / "settings.yaml"
    file.write_text("api: {port: 1, host: a, public_url: 'http://x'}\noperator: {fetch_env: {A: b}}\n")
    environment = {"DYFF_API__HOST": "b", "DYFF_API__PORT": "2", "HF_ENDPOINT": "http://hub"}
    loaded, origins = settings.load_with_origins(str(file), environment, {"api.port": 3, "log_level": None})
    assert (loaded.api.port, loaded.api.host) == (3, "b")
    printed = "\n".join(settings_printing.lines(loaded, origins))
    assert "  port: 3  # flag --port\n" in printed
    assert "  host: b  # variable DYFF_API__HOST\n" in printed
    assert f"  public_url: http://x  # file {file}\n" in printed
    assert f"  fetch_env:  # file {file}, variable HF_ENDPOINT\n" in printed
    assert "log_level: info  # default\n" in printed
    assert settings.load(None, {}, yaml.safe_load(printed)) == loaded


SECRETS = """
query: {mongodb: {uri: "mongodb://me:s3cret@db/?authSource=admin"}}
objects: {url: "s3://bucket?endpoint=https://store"}
operator: {fetch_env: {HTTPS_PROXY: "http://me:s3cret@proxy:80"}}
pods:
  images:
    x:
      command: ["serve", "--api-key=s3cret", "--token", "s3cret", "--port", "{port}", "two\\nlines"]
      env: {HF_TOKEN: s3cret, LANG: C}
"""


def test_secrets_are_not_printed(tmp_path):
    """Passwords in addresses, variables and arguments with the name of a secret are hidden; what is next to them is not."""
    file = tmp_path / "settings.yaml"
    file.write_text(SECRETS)
    loaded, origins = settings.load_with_origins(str(file), {})
    printed = "\n".join(settings_printing.lines(loaded, origins))
    assert "s3cret" not in printed
    read = yaml.safe_load(printed)
    assert read["query"]["mongodb"]["uri"] == "mongodb://me:***@db/?authSource=admin"
    assert read["pods"]["images"]["x"]["command"] == ["serve", "--api-key=***", "--token", "***", "--port", "{port}", "two\nlines"]
    assert read["pods"]["images"]["x"]["env"] == {"HF_TOKEN": "***", "LANG": "C"}
    assert read["objects"]["url"] == "s3://bucket?endpoint=https://store"


@pytest.mark.parametrize(
    "value", ["a # b", "a: b", "- x", "two\nlines", "tab\there", "", "null", "1", "{x}", "ünï", "x" * 500, "'\"", " a "]
)
def test_what_is_printed_can_be_read_again(value):
    """Whatever a text has in it: the comment with its origin is not part of it."""
    loaded = settings.Settings(data_dir=value)
    assert yaml.safe_load("\n".join(settings_printing.lines(loaded, {"data_dir": "file a # b"})))["data_dir"] == value
