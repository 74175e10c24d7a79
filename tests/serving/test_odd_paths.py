"""Paths that are not UTF-8 are refused in one line, and commands that messages print work for every path."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from dyff.accounts import embedded
from dyff.kernel import errors, settings
from dyff.serve import directory, protection

DYFF = Path(sys.executable).parent / "dyff"
ODD = os.fsdecode(b"not \xff utf-8")

COMMANDS = {
    "serve": ["serve", "--port", "0"],
    "verify": ["verify"],
    "replay": ["replay"],
    "migrate": ["migrate", "status"],
    "accounts": ["account", "list"],
    "config": ["config"],
    "check": ["config", "--check"],
    "doctor": ["doctor", "settings"],
}


def reason(line):
    """Why a command ended: a server's last line is one of its log, in JSON; that of another command is for people."""
    return json.loads(line)["reason"] if line.startswith("{") else line.removeprefix("dyff: ")


def ran(*arguments, **options):
    """The command at its end."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("DYFF_")}
    environment = plain | options.pop("env", {})
    return subprocess.run([DYFF, *arguments], capture_output=True, timeout=120, check=False, env=environment, **options)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_data_directory_that_is_not_utf_8_is_refused(tmp_path, command, by):
    """Before anything is made: SQLite could not open it. The message names the setting and where its value comes from."""
    place = tmp_path / ODD
    given = {"env": {"DYFF_DATA_DIR": str(place)}} if by == "variable" else {}
    done = ran(*command, *([] if given else ["--data-dir", str(place)]), **given)
    (line,) = done.stderr.decode().splitlines()
    assert reason(line).startswith("settings: data_dir is not UTF-8")
    assert ("variable DYFF_DATA_DIR" if given else "flag --data-dir") in line
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])


@pytest.mark.parametrize("command", ["serve", "verify", "accounts"])
def test_a_working_directory_that_is_not_utf_8_is_refused(tmp_path, command):
    """A relative data directory would be in it."""
    (tmp_path / ODD).mkdir()
    done = ran(*COMMANDS[command], cwd=tmp_path / ODD)
    (line,) = done.stderr.decode().splitlines()
    assert reason(line).startswith("the path of the data directory")
    assert (done.returncode, list((tmp_path / ODD).iterdir())) == (2, [])


def test_a_settings_file_below_such_a_directory_is_one_line(tmp_path):
    """`{here}` would put its path into a setting; without that, it may be anywhere."""
    (tmp_path / ODD).mkdir()
    file = tmp_path / ODD / "dyff.yaml"
    file.write_text('data_dir: "{here}/data"\n')
    done = ran("config", "--config", str(file))
    assert (done.returncode, done.stderr.count(b"\n"), b"data_dir is not UTF-8" in done.stderr) == (2, 1, True)
    file.write_text("log_level: debug\n")
    done = ran("config", "--config", str(file))
    assert (done.returncode, b"log_level: debug" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({"data_dir": "a\0b"}, "data_dir"),
        ({"api.host": "\udcff"}, "api.host"),
        ({"pods.images": {"i": {"command": ["x", "\udcff"]}}}, "pods.images.i.command"),
        ({"operator.fetch_env": {"\udcff": "x"}}, "operator.fetch_env"),
    ],
)
def test_no_setting_can_be_something_else_than_text(flags, name):
    """Lists and maps neither, and NUL is no text."""
    with pytest.raises(errors.Misconfigured, match=rf"settings: {name} is not UTF-8, or has a NUL"):
        settings.load(environment={}, flags=flags)


PATHS = ["with a space", "quote's", "$(touch x)", "a;b&c", '"']


@pytest.mark.parametrize("name", PATHS)
def test_the_command_that_starts_a_server_can_be_pasted(tmp_path, name):
    """A shell takes the path as one word."""
    place = directory.DataDirectory(tmp_path / name)
    with pytest.raises(errors.Misconfigured) as refused:
        place.require()
    assert shlex.split(refused.value.message.rpartition("first: ")[2]) == ["dyff", "serve", "--data-dir", str(tmp_path / name)]


@pytest.mark.parametrize("name", PATHS)
def test_the_command_that_restricts_access_can_be_pasted(tmp_path, name, monkeypatch):
    """Both commands in it name the directory."""
    (tmp_path / name).mkdir()
    (tmp_path / name).chmod(0o755)

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(errors.Misconfigured) as refused:
        protection.protect(tmp_path / name)
    command = refused.value.message.partition("run `")[2].rpartition("`, or")[0]
    assert shlex.split(command) == [
        "sudo",
        "chown",
        "-R",
        str(os.getuid()),
        str(tmp_path / name),
        "&&",
        "chmod",
        "-R",
        "go=",
        str(tmp_path / name),
    ]


@pytest.mark.parametrize(
    "command",
    [["account", "create", "--name"], ["account", "suspend"], ["token", "create", "--role", "Admin", "--account"], ["docs"]],
    ids=lambda command: " ".join(command),
)
def test_an_argument_that_is_not_utf_8_is_one_line(tmp_path, command):
    """Where there is data, so that the argument is really looked at."""
    anyio.run(_with_accounts, tmp_path)
    where = [] if command == ["docs"] else ["--data-dir", str(tmp_path)]
    done = ran(*command, ODD, *where)
    (line,) = done.stderr.decode().splitlines()
    assert reason(line)
    assert r"\udcff" in line
    assert done.returncode in (1, 2)


async def _with_accounts(place):
    async with embedded.EmbeddedAccounts.open(place / "accounts.sqlite"):
        pass


USERS = {
    "serve": ["serve", "--port", "0"],
    "verify": ["verify"],
    "accounts": ["account", "list"],
    "backup": ["backup", "copy"],
    "audit": ["audit-log"],
}


@pytest.mark.parametrize("command", USERS.values(), ids=USERS)
@pytest.mark.parametrize("what", ["file", "below a file", "link to nothing"])
def test_a_data_directory_that_is_none_is_refused(tmp_path, command, what):
    """One sentence says which part of the path is what; nothing is made."""
    path = tmp_path / "data"
    if what == "link to nothing":
        path.symlink_to(tmp_path / "nothing")
    else:
        path.touch()
    chosen = path / "deeper" / "there" if what == "below a file" else path
    done = ran(*command, "--data-dir", str(chosen), cwd=tmp_path)
    reported = done.stdout.decode() + done.stderr.decode()
    assert f"{path} is {'a symbolic link that leads nowhere' if path.is_symlink() else 'a file, not a directory'}" in reported
    assert "Traceback" not in reported
    assert done.returncode in (1, 2)
    assert list(tmp_path.iterdir()) == [path]
