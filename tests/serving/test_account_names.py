"""`dyff account` and `dyff token`: accounts by ID or name, and never in a directory where no server has stored anything."""

from __future__ import annotations

import json
import os

import jwt
import pytest
from click.testing import CliRunner

from dyff.kernel import settings
from dyff.serve import cli
from tests.serving.furnished import furnish


@pytest.fixture(autouse=True)
def only_these_settings(monkeypatch):
    """Variables of the person who runs the tests are settings to a command."""
    for name in os.environ:
        if name.startswith(settings.PREFIX):
            monkeypatch.delenv(name)


def run(*arguments, code=0):
    """What a command prints, on both streams."""
    result = CliRunner().invoke(cli.main, list(arguments))
    assert result.exit_code == code, result.output
    return result.output.strip()


@pytest.fixture
def place(tmp_path):
    """A furnished data directory, as the flag that names it."""
    return ("--data-dir", str(furnish(tmp_path / "data").root))


ON_DATA = [
    ["account", "create", "--name", "me"],
    ["account", "list"],
    ["account", "show", "me"],
    ["account", "suspend", "me"],
    ["account", "reactivate", "me"],
    ["account", "delete", "me", "--yes"],
    ["token", "list"],
    ["token", "create", "--account", "me"],
    ["token", "revoke", "--account", "me", "x"],
    ["migrate", "pre"],
    ["migrate", "pre", "--dry-run"],
    ["migrate", "post"],
    ["migrate", "status"],
    ["verify"],
    ["verify", "--objects"],
    ["replay"],
    ["audit-log"],
    ["backup", "target"],
    ["token", "invalidate-all"],
]


@pytest.mark.parametrize("arguments", ON_DATA, ids=" ".join)
@pytest.mark.parametrize("exists", [False, True], ids=["no directory", "a directory of something else"])
def test_a_command_makes_no_data_directory(tmp_path, arguments, exists):
    """Where no server has stored anything, a command makes nothing, names the path, and says how to proceed."""
    root = tmp_path / "on/the/way"
    if exists:
        root.mkdir(parents=True)
        root.chmod(0o755)
    message = run(*arguments, "--data-dir", str(root), code=2)
    assert f"there is no data of a Dyff server in {root}" in message
    assert f"dyff serve --data-dir {root}" in message
    assert "Traceback" not in message
    assert [path for path in tmp_path.rglob("*") if path not in (root, root.parent, root.parent.parent)] == []
    assert not exists or root.stat().st_mode & 0o777 == 0o755


def test_every_command_that_takes_a_data_directory_is_examined():
    """A new command with `--data-dir` is in the list above, unless it is one of those that need no data."""

    def leaves(command, path):
        if hasattr(command, "commands"):
            for name, each in command.commands.items():
                yield from leaves(each, [*path, name])
        elif any(option.name == "data_dir" for option in command.params):
            yield tuple(path)

    needs_none = {("serve",), ("restore",), ("config",), ("doctor", "settings"), ("doctor", "isolation")}
    listed = {tuple(word for word in each if not word.startswith("-")) for each in ON_DATA}
    for path in set(leaves(cli.main, [])) - needs_none:
        assert any(each[: len(path)] == path for each in listed), path


@pytest.mark.parametrize("command", [["config"], ["config", "--check"], ["doctor", "settings"], ["docs"]], ids=" ".join)
def test_a_command_that_needs_no_data_leaves_nothing(tmp_path, monkeypatch, command):
    """Not even in the working directory, where the default data directory would be."""
    monkeypatch.chdir(tmp_path)
    run(*command)
    assert list(tmp_path.iterdir()) == []


def test_an_examination_of_the_machine_leaves_nothing(tmp_path, monkeypatch):
    """`dyff doctor isolation` needs a folder while it attacks its sandboxes. It is gone afterwards."""
    seen = []

    def report(loaded):
        from dyff.serve import directory

        with directory.DataDirectory(loaded.data_dir).for_trial() as place:
            seen.append((place.root.is_dir(), place.root.parent))
            (place.root / "pods").mkdir()
        yield "examined"

    monkeypatch.setattr("dyff.serve.isolation.doctor", report)
    assert run("doctor", "isolation", "--data-dir", str(tmp_path / "a/b")) == "examined"
    assert seen == [(True, tmp_path)]
    assert list(tmp_path.iterdir()) == []


def test_an_account_is_found_by_its_name(place):
    """Wherever an ID is asked for; both forms do the same."""
    account = run("account", "create", "--name", "me", *place)
    for named in (account, "me"):
        token = run("token", "create", "--account", named, *place)
        claims = jwt.decode(token, options={"verify_signature": False})
        run("token", "revoke", claims["jti"], "--account", named, *place)
        run("account", "suspend", named, *place)
        assert json.loads(run("account", "list", *place))["status"] == "Suspended"
        run("account", "reactivate", named, *place)
        assert json.loads(run("account", "list", *place))["status"] == "Active"


def test_a_name_that_is_taken_leads_to_its_account(place):
    """The error has the ID, for anyone who follows a guide a second time; no second account is made."""
    account = run("account", "create", "--name", "me", *place)
    result = CliRunner().invoke(cli.main, ["account", "create", "--name", "me", *place])
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"there is an account 'me' already, with the ID {account}; use it" in result.stderr
    assert len(run("account", "list", *place).splitlines()) == 1


def test_a_token_made_by_name_is_for_the_accounts_id(place):
    """The grant names the ID, as entities do, not the name that was typed."""
    account = run("account", "create", "--name", "me", *place)
    token = run("token", "create", "--account", "me", *place)
    assert account in json.dumps(jwt.decode(token, options={"verify_signature": False}))


def test_an_id_wins_over_a_name(place):
    """A name that is the ID of another account does not take its place."""
    first = run("account", "create", "--name", "first", *place)
    run("account", "create", "--name", first, *place)
    run("account", "suspend", first, *place)
    found = {each["name"]: each["status"] for each in map(json.loads, run("account", "list", *place).splitlines())}
    assert found == {"first": "Suspended", first: "Active"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["account", "show", "auditr"],
        ["account", "suspend", "auditr"],
        ["account", "reactivate", "auditr"],
        ["token", "create", "--account", "auditr"],
        ["token", "revoke", "x", "--account", "auditr"],
    ],
    ids=" ".join,
)
def test_an_unknown_account_is_named_with_the_nearest(place, arguments):
    """And with the command that lists all."""
    run("account", "create", "--name", "auditor", *place)
    message = run(*arguments, *place, code=1)
    assert "there is no account 'auditr'; did you mean 'auditor'?" in message
    assert "dyff account list" in message


@pytest.mark.parametrize(("role", "code"), [("Admin", 0), ("admin", 0), ("Amdin", 2), ("api", 2), ("", 2)])
def test_a_token_has_the_one_role(place, role, code):
    """In any case of letters; another one is refused with its name."""
    run("account", "create", "--name", "me", *place)
    message = run("token", "create", "--account", "me", "--role", role, *place, code=code)
    assert code == 0 or "the only one is 'Admin'" in message


@pytest.mark.parametrize("command", ["serve", "config", "manifests deploy", "manifests rbac", "doctor settings"])
def test_the_help_names_the_roles(command):
    """`--role` of every command says which roles exist."""
    text = " ".join(run(*command.split(), "--help").split())
    for each in ("all, or", "api", "aggregator", "sink", "orchestrator", "informer", "operator"):
        assert each in text


@pytest.mark.parametrize(
    ("given", "said"),
    [("apj", "did you mean api?"), ("API", "did you mean api?"), ("sink,opertor", "opertor is not a role; did you mean operator?"),
     ("zzzz", "Choose all, or some of api"), ("", "names no role"), (" , ", "names no role"), ("alll", "did you mean all?")],
)  # fmt: skip
def test_a_misspelt_role_gets_the_nearest(given, said):
    """The one that was meant, or all of them."""
    assert said in run("config", "--check", "--role", given, code=2)


def test_all_may_stand_among_roles():
    """`all,api` is all."""
    assert "nothing is wrong" in run("config", "--check", "--role", "all,api")


def test_a_variable_and_a_flag_are_different_origins(monkeypatch):
    """`dyff config` shows which of them a value is from, for the flags that a variable can replace, too."""
    monkeypatch.setenv("DYFF_API__HOST", "h")
    monkeypatch.setenv("DYFF_LOG_LEVEL", "debug")
    printed = run("config", "--port", "7", "--log-level", "error")
    assert "host: h  # variable DYFF_API__HOST" in printed
    assert "port: 7  # flag --port" in printed
    assert "log_level: error  # flag --log-level" in printed


@pytest.mark.parametrize(
    "arguments", [["accuont", "list"], ["serve", "--rol", "api"], ["config", "--chek"], ["token", "creat"]], ids=" ".join
)
def test_a_misspelt_command_or_flag_gets_the_nearest(arguments):
    """In the usual form of a usage error."""
    assert "did you mean" in run(*arguments, code=2).lower()
